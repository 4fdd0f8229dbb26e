-- outbox_keep: notes what became of a job's files; with the last of them, the owner's event is due.
-- With: keys, outbox
-- KEYS: outbox, job, stats, root
-- ARGV: id: name, turn: count, incarnation: text, now: moment, files: json, retry_at: moment?, is_news: flag,
--       stored: count, given_up: count
-- Returns: {kept, follow: text} | {stale}
-- retry_at: when the rest is tried again; '' if nothing is left.
-- is_news: the owner is notified of the end although a file is still tried. What becomes of that one is an event of its
-- own.
-- stale: another caller's turn has begun, or the job was deleted and its id used again.

-- Counts files, unless there are none.
local function count(name, files)
  if files ~= '0' then redis.call('HINCRBY', key.stats, name, files) end
end

local f = read(key.job, 'storing', 'turn', 'incarnation', 'notified_at', unpack(HOOK))
local fields = { files = arg.files }

-- The answer if this note changes nothing; else nil.
local function replay()
  if is_replaced(f) then return { 'stale' } end
  -- The same note once more: what was kept must not be taken for refused.
  local is_repeat = f.storing == '0' and f.turn == arg.turn and arg.retry_at == ''
  if is_repeat then return { 'kept', '' } end -- mutant: repeat
  if f.storing ~= '1' then return { 'stale' } end
  if f.turn ~= arg.turn then return { 'stale' } end -- mutant: turn
  return nil
end

-- Plans an event, and writes it with the fields. Returns what the caller has to do.
local function announce(event)
  local plan = plan_event(f, arg.id, event, true)
  note_event(fields, plan)
  local to_do = post(plan)
  write_fields(key.job, fields)
  return to_do
end

-- Notes that a file is tried again; with `is_news` the owner is notified of the others.
local function keep_trying()
  local is_first, to_do = not f.notified_at, '' -- mutant: notified once
  if arg.is_news == '1' and is_first then
    fields.notified_at = arg.now
    to_do = announce('completed')
  else
    write_fields(key.job, fields)
  end
  redis.call('ZADD', key.outbox, storing_score(tonumber(arg.retry_at)), arg.id) -- mutant: retry
  return { 'kept', to_do }
end

local answer = replay()
if answer then return answer end
if arg.retry_at ~= '' then return keep_trying() end
fields.storing, fields.kept_at = '0', arg.now
local to_do = announce(f.notified_at and 'files' or 'completed') -- mutant: event
redis.call('ZREM', key.outbox, arg.id) -- mutant: outbox
count('files_stored', arg.stored)
count('files_given_up', arg.given_up)
return { 'kept', to_do }
