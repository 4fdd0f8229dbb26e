-- progress: notes how far the current attempt's prediction has come.
-- KEYS: 1 job
-- ARGV: 1 attempt  2 prediction  3 progress
-- Returns: {noted} | {stale}
local f = redis.call('HMGET', KEYS[1], 'attempt', 'state', 'prediction')
if f[1] ~= ARGV[1] or f[2] ~= 'running' or f[3] ~= ARGV[2] then return {'stale'} end
redis.call('HSET', KEYS[1], 'progress', ARGV[3])
return {'noted'}
