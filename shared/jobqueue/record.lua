-- record: notes the prediction that an attempt's submission created; from here on the job runs.
-- KEYS: 1 index  2 job  3 owner
-- ARGV: 1 id  2 attempt  3 prediction  4 now  5 first_check  6 owner_ttl
-- Returns: {recorded, cancel_requested} | {already} | {stale}
-- already: a webhook of this very prediction came first. stale: this prediction is nobody's; cancel it.
local f = redis.call('HMGET', KEYS[2], 'attempt', 'state', 'prediction', 'queue_number', 'cancel_requested')
if not f[1] then return {'stale'} end
if f[3] == ARGV[3] then
  if f[1] == ARGV[2] and f[2] == 'running' then return {'recorded', f[5] or '0'} end
  return {'already'}
end
-- Owned all the same: what comes too late and is cancelled must not be adopted by a submission that is searched for.
if f[1] ~= ARGV[2] or f[2] ~= 'submitting' then
  redis.call('SET', KEYS[3], ARGV[1] .. ':' .. ARGV[2], 'EX', ARGV[6])
  return {'stale'}
end
local check_at = tonumber(ARGV[4]) + tonumber(ARGV[5])
redis.call('HSET', KEYS[2], 'state', 'running', 'prediction', ARGV[3], 'started_at', ARGV[4], 'overdue_at', text(check_at))
redis.call('SET', KEYS[3], ARGV[1] .. ':' .. ARGV[2], 'EX', ARGV[6])
redis.call('ZADD', KEYS[1], score_of(tonumber(f[4]), math.floor(check_at / 1000) * 1000), ARGV[1])
return {'recorded', f[5] or '0'}
