-- progress: notes how far the current attempt's prediction has come. Within an attempt it never falls.
-- KEYS: job
-- ARGV: attempt: count, incarnation: text, prediction: text, progress: number
-- Returns: {noted} | {stale} | {replaced}
local f = read(key.job, 'attempt', 'incarnation', 'state', 'prediction', 'progress')
if f.attempt and is_replaced(f) then return { 'replaced' } end
if f.attempt ~= arg.attempt or f.state ~= 'running' then return { 'stale' } end
if f.prediction ~= arg.prediction then return { 'stale' } end -- mutant: prediction
if tonumber(arg.progress) <= (tonumber(f.progress) or -1) then return { 'noted' } end -- mutant: falling progress
redis.call('HSET', key.job, 'progress', arg.progress)
return { 'noted' }
