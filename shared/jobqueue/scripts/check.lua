-- check: lets one caller in the whole fleet ask the provider about an overdue job, and no other for a while.
-- KEYS: 1 index  2 job
-- ARGV: 1 id  2 now  3 gap  4 check_interval
-- Returns: {ask, attempt, lane, state, prediction, submitted_at, cancel_requested, deadline} | {wait}
local f = read(KEYS[2], 'attempt', 'state', 'prediction', 'lane', 'overdue_at', 'checked_at', 'submitted_at',
  'cancel_requested', 'deadline')
local now = tonumber(ARGV[2])
if f.state ~= 'running' or now < tonumber(f.overdue_at) or now < tonumber(f.checked_at or '0') + tonumber(ARGV[3]) then
  return {'wait'}
end
redis.call('HSET', KEYS[2], 'checked_at', ARGV[2])
redis.call('ZADD', KEYS[1], score_of(tonumber(f.lane), math.floor((now + tonumber(ARGV[4])) / 1000) * 1000), ARGV[1])
return {'ask', f.attempt, f.lane, f.state, f.prediction, f.submitted_at, f.cancel_requested or '0', f.deadline}
