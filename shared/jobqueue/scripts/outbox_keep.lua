-- outbox_keep: notes what became of a job's files; with the last of them, the owner's event is due.
-- With: keys, outbox
-- KEYS: outbox, job, stats, root
-- ARGV: id: name, turn: count, incarnation: text, now: moment, files: json, retry_at: moment?, stored: count,
--       given_up: count
-- Returns: {kept, follow: text} | {stale}
-- retry_at: when the rest is tried again; '' if nothing is left.
-- stale: another caller's turn has begun, or the job was deleted and its id used again.

-- Counts files, unless there are none.
local function count(name, files)
  if files ~= '0' then redis.call('HINCRBY', key.stats, name, files) end
end

local f = read(key.job, 'storing', 'turn', 'incarnation', unpack(HOOK))
if is_replaced(f) then return { 'stale' } end
-- The same note once more: what was kept must not be taken for refused.
local is_repeat = f.storing == '0' and f.turn == arg.turn and arg.retry_at == ''
if is_repeat then return { 'kept', '' } end -- mutant: repeat
if f.storing ~= '1' then return { 'stale' } end
if f.turn ~= arg.turn then return { 'stale' } end -- mutant: turn
if arg.retry_at ~= '' then
  redis.call('HSET', key.job, 'files', arg.files)
  redis.call('ZADD', key.outbox, storing_score(tonumber(arg.retry_at)), arg.id) -- mutant: retry
  return { 'kept', '' }
end
local plan = plan_event(f, arg.id, 'completed', true) -- mutant: event
local fields = { files = arg.files, storing = '0', kept_at = arg.now }
note_event(fields, plan)
local to_do = post(plan)
write_fields(key.job, fields)
redis.call('ZREM', key.outbox, arg.id) -- mutant: outbox
count('files_stored', arg.stored)
count('files_given_up', arg.given_up)
return { 'kept', to_do }
