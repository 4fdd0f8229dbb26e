-- progress: notes how far the current attempt's prediction has come.
-- KEYS: job
-- ARGV: attempt: count, incarnation: text, prediction: text, progress: number
-- Returns: {noted} | {stale} | {replaced}
local f = read(key.job, 'attempt', 'incarnation', 'state', 'prediction')
if f.attempt and is_replaced(f) then return { 'replaced' } end
if f.attempt ~= arg.attempt or f.state ~= 'running' then return { 'stale' } end
if f.prediction ~= arg.prediction then return { 'stale' } end -- mutant: prediction
redis.call('HSET', key.job, 'progress', arg.progress)
return { 'noted' }
