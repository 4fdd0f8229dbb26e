-- progress: notes how far the current attempt's prediction has come.
-- KEYS: 1 job
-- ARGV: 1 attempt  2 prediction  3 progress
-- Returns: {noted} | {stale}
local f = read(KEYS[1], 'attempt', 'state', 'prediction')
if f.attempt ~= ARGV[1] or f.state ~= 'running' or f.prediction ~= ARGV[2] then return {'stale'} end
redis.call('HSET', KEYS[1], 'progress', ARGV[3])
return {'noted'}
