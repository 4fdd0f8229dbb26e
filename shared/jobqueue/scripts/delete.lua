-- delete: forgets an ended job: its record, its dead letter, its entry in the history, its events.
-- With: keys, spending
-- KEYS: index, job, dead, root, outbox
-- ARGV: id: name, now: moment, owner: name, hold_until: moment?, batch_too: flag
-- Returns: {deleted} | {held, user: name, ended_at: moment} | {not_found} | {not_terminal} | {belongs_to_batch}
-- hold_until: a job that has files stays until then, and only the caller, who removes them first, writes any. ''
-- deletes the job with or without files.
-- batch_too: its batch is forgotten with it, if that has ended.
local f = read(
  key.job,
  'owner',
  'user',
  'state',
  'batch',
  'storing',
  'hook_lane',
  'files',
  'ended_at',
  'hold_until',
  'ledger',
  'charged'
)
local batch, b = batch_key(f.batch or ''), {}

-- Keeps a job that has files until the caller has removed them: no other caller writes any. A repeat changes nothing.
local function hold()
  if f.storing == '1' and f.hold_until ~= arg.hold_until then -- mutant: repeated hold
    -- A caller at work on them loses its turn: its notes are refused, and it removes what it made.
    redis.call('HINCRBY', key.job, 'turn', 1)
    redis.call('ZADD', key.outbox, storing_score(tonumber(arg.hold_until)), arg.id)
    redis.call('HSET', key.job, 'hold_until', arg.hold_until)
  end
  return { 'held', f.user, f.ended_at }
end

-- Drops events of a delivery lane, whether they are still due or were given up; a batch has one for each retry.
local function drop_events(lane, rows)
  write_parts('ZREM', rows_key(lane), rows)
  write_parts('ZREM', undelivered_key(), rows)
end

-- Drops the events of the job and, if it is forgotten too, of its batch.
local function drop_all_events()
  if f.hook_lane then
    local rows = {}
    for _, event in ipairs({ 'processing', 'completed', 'files', 'failed', 'canceled' }) do
      add(rows, event .. '|' .. arg.id)
    end
    drop_events(f.hook_lane, rows) -- mutant: events
  end
  if b.hook_lane then
    local rows = { 'batch|' .. f.batch }
    for round = 1, tonumber(b.rounds or '0') do
      add(rows, 'batch' .. text(round) .. '|' .. f.batch)
    end
    drop_events(b.hook_lane, rows)
  end
end

-- The refusal, if the job cannot be deleted; else nil.
local function refusal()
  if not f.state or f.owner ~= arg.owner then return { 'not_found' } end
  if f.batch then b = read(batch, 'owner', 'ended_at', 'rounds', 'hook_lane') end
  -- A batch goes on reporting its jobs, and may retry them, for as long as it exists.
  if b.owner and not (arg.batch_too == '1' and b.ended_at) then return { 'belongs_to_batch' } end
  if f.state ~= 'done' then return { 'not_terminal' } end
  return nil
end

local refused = refusal()
if refused then return refused end
if arg.hold_until ~= '' and (f.files or '') ~= '' then return hold() end

-- The script that ended it may have stopped before it did this, and then only the record says what it has cost.
settle_reservation(arg.id, f, f.charged) -- mutant: settlement before a deletion
redis.call('ZREM', key.dead, arg.id)
if f.storing == '1' then redis.call('ZREM', key.outbox, arg.id) end -- mutant: outbox
drop_all_events()
if b.owner then redis.call('DEL', batch) end
redis.call('DEL', key.job)
-- The history comes last: by it an erasure finds what a stop half-way has left. The other entries are left where a
-- script stopped while it ended the job.
local entry = history_of(user_key(f.owner, f.user), arg.id)
redis.call('ZREM', key.index, entry, arg.id, companions(arg.id)) -- mutant: entries
return { 'deleted' }
