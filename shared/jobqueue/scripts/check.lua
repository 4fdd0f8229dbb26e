-- check: lets one caller of all ask the provider about an overdue job, and no other for a while.
-- KEYS: index, job
-- ARGV: id: name, now: moment, gap: milliseconds, check_interval: milliseconds
-- Returns: {ask, id: name, attempt: count, provider: provider, state: name, prediction: text,
--       submitted_at: moment, cancel_requested: flag, deadline: seconds, incarnation: text} | {wait}
local f = read(
  key.job,
  'attempt',
  'state',
  'prediction',
  'lane',
  'overdue_at',
  'checked_at',
  'submitted_at',
  'cancel_requested',
  'deadline',
  'incarnation'
)
local now = tonumber(arg.now)
if f.state ~= 'running' or now < tonumber(f.overdue_at) then return { 'wait' } end
if now < tonumber(f.checked_at or '0') + tonumber(arg.gap) then return { 'wait' } end
redis.call('HSET', key.job, 'checked_at', arg.now) -- mutant: checked
redis.call(
  'ZADD',
  key.index,
  slot_score('running', tonumber(f.lane), whole_seconds(now + tonumber(arg.check_interval))),
  arg.id
)
local asked_to_end = f.cancel_requested or '0'
local life = f.incarnation or ''
return { 'ask', arg.id, f.attempt, f.lane, f.state, f.prediction, f.submitted_at, asked_to_end, f.deadline, life }
