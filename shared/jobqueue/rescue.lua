-- rescue: decides about a submission whose lease ran out and whose outcome nobody knows. Until its adoption window
-- closes a webhook may still bring its prediction; then it is surely over at the provider and counts as a used attempt.
-- KEYS: 1 index  2 job  3 stats  4 user prefix  5 dead
-- ARGV: 1 id  2 attempt  3 now  4 lease_now  5 ttl  6 max_attempts  7 max_rescues
-- Returns: {waiting, adopt_until} | {requeued} | {finished, outcome} | {stale}
local id = ARGV[1]
local f = redis.call('HMGET', KEYS[2], 'attempt', 'state', 'owner', 'user', 'cancel_requested', 'snoozes', 'rescues',
  'score', 'queue_number', 'adopt_until', 'closed_attempt', 'lease_until', 'outcome')
if not f[1] then return {'stale'} end
if f[1] ~= ARGV[2] then return {'stale'} end
if f[11] == ARGV[2] then
  if f[2] == 'done' then return {'finished', f[13]} end
  if f[2] == 'queued' then return {'requeued'} end
end
if f[2] ~= 'submitting' then return {'stale'} end
local time = lease_time(ARGV[4])
if time < tonumber(f[12]) or time < tonumber(f[10]) then return {'waiting', f[10]} end

local rescues = tonumber(f[7] or '0') + 1
local used = tonumber(f[1]) - tonumber(f[6] or '0')
local user_key = KEYS[4] .. f[3] .. ':' .. f[4]
redis.call('HINCRBY', KEYS[3], 'rescued', 1)
if f[5] == '1' then
  end_job(KEYS[1], KEYS[2], KEYS[3], user_key, id, 'canceled', ARGV[3], ARGV[5], {'closed_attempt', ARGV[2]})
  return {'finished', 'canceled'}
end
if rescues >= tonumber(ARGV[7]) or used >= tonumber(ARGV[6]) then
  end_job(KEYS[1], KEYS[2], KEYS[3], user_key, id, 'failed', ARGV[3], ARGV[5], {'closed_attempt', ARGV[2],
    'error_code', 'submission_unknown', 'error_retryable', '1',
    'error_detail', 'Nobody knows whether the provider took the job.', 'rescues', text(rescues)})
  bury(KEYS[5], id, ARGV[3], ARGV[5])
  return {'finished', 'failed'}
end
redis.call('ZADD', KEYS[1], score_of(READY + tonumber(f[9]), tonumber(f[8])), id)
redis.call('HSET', KEYS[2], 'state', 'queued', 'rescues', text(rescues), 'closed_attempt', ARGV[2])
return {'requeued'}
