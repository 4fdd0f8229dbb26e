-- progress: notes how far the current attempt's prediction has come.
-- KEYS: job
-- ARGV: attempt: count, prediction: text, progress: number
-- Returns: {noted} | {stale}
local f = read(key.job, 'attempt', 'state', 'prediction')
if f.attempt ~= arg.attempt or f.state ~= 'running' then return { 'stale' } end
if f.prediction ~= arg.prediction then return { 'stale' } end -- mutant: prediction
redis.call('HSET', key.job, 'progress', arg.progress)
return { 'noted' }
