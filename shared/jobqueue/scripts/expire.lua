-- expire: ends a job that has waited longer than its queue allows, as a dead letter. Of a job that is over but still in
-- the index it does what the script that ended it has left undone.
-- With: keys, spending, lost, room, pauses, halts, users, tags, shares, runs, seats, yielding, outbox, entries, ending
-- KEYS: index, job, stats, root
-- ARGV: id: name, now: moment, lease_now: moment?, ttl: seconds, user_limit: count, statistics: flag
-- Returns: {finished, outcome: name, follow: text} | {stale}
-- stale: it does not wait, or not for so long; the time of an operator's pauses does not count. A job at the provider
-- loses its alarm; a later claim looks at the time.

-- Gives a job the time back for which the operator has paused what it needs. Returns whether it may wait on.
local function extend(f, time)
  local halted, goes_on = time_halted(f, tonumber(f.created_at), time)
  local expire_at, given = tonumber(f.expire_at), tonumber(f.halted or '0')
  local until_at = expire_at + halted - given
  if goes_on then until_at = math.max(until_at, time + MIN_EXTENSION) end
  if until_at <= time then return false end
  local fields = { expire_at = text(until_at), halted = text(given + until_at - expire_at) }
  redis.call('ZADD', key.index, score_of(ALARMS, until_at), alarm_of(arg.id))
  write_fields(key.job, fields)
  return true
end

-- The reason for the job's owner.
local function reason(snooze_code)
  local said = 'The job waited longer than its queue allows.'
  if (snooze_code or '') == '' then return said end
  return said .. ' Its last submission was put off: ' .. snooze_code .. '.'
end

local f = read(key.job, 'expire_at', 'created_at', 'halted', unpack(ENDING))
if f.state == 'done' then
  if settle(arg.id, f) or f.error_code == 'expired' then return { 'finished', f.outcome, follow() } end
  return { 'stale' }
end
if not f.state then
  redis.call('ZREM', key.index, arg.id, companions(arg.id))
  return { 'stale' }
end
if not is_waiting(f.state) then -- mutant: waiting
  redis.call('ZREM', key.index, alarm_of(arg.id))
  return { 'stale' }
end
local time = lease_time(arg.lease_now)
if time < tonumber(f.expire_at) then return { 'stale' } end -- mutant: time
if extend(f, time) then return { 'stale' } end -- mutant: pause of what waits
local fields = { error_code = 'expired', error_detail = reason(f.snooze_code), error_retryable = '1' }
end_job(arg.id, f, 'failed', fields, { is_dead = true }) -- mutant: dead letter
return { 'finished', 'failed', follow() }
