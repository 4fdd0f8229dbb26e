-- check: lets one caller in the whole fleet ask the provider about an overdue job, and no other for a while.
-- KEYS: 1 index  2 job
-- ARGV: 1 id  2 now  3 gap  4 check_interval
-- Returns: {ask, attempt, provider, state, prediction, submitted_at, cancel_requested} | {wait}
local f = redis.call('HMGET', KEYS[2], 'attempt', 'state', 'prediction', 'provider', 'overdue_at', 'checked_at', 'queue_number',
  'submitted_at', 'cancel_requested')
local now = tonumber(ARGV[2])
if f[2] ~= 'running' or now < tonumber(f[5]) or now < tonumber(f[6] or '0') + tonumber(ARGV[3]) then return {'wait'} end
redis.call('HSET', KEYS[2], 'checked_at', ARGV[2])
redis.call('ZADD', KEYS[1], score_of(tonumber(f[7]), math.floor((now + tonumber(ARGV[4])) / 1000) * 1000), ARGV[1])
return {'ask', f[1], f[4], f[2], f[3], f[8], f[9] or '0'}
