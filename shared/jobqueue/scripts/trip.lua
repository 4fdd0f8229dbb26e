-- trip: counts a submission with no usable answer as a failure of its model, which may open the model's circuit.
-- With: keys, room, runs
-- KEYS: index, job, root
-- ARGV: attempt: count, incarnation: text, now: moment, circuit_failures: count,
--       circuit_pause: milliseconds
-- Returns: {counted} | {stale}
local f = read(key.job, 'attempt', 'incarnation', 'tripped', 'lane', 'model', 'state')
if f.attempt ~= arg.attempt or is_replaced(f) or f.state ~= 'submitting' then return { 'stale' } end
if f.tripped == arg.attempt then return { 'stale' } end -- mutant: once
redis.call('HSET', key.job, 'tripped', arg.attempt)
count_failure(f, tonumber(arg.now), tonumber(arg.circuit_failures), tonumber(arg.circuit_pause))
return { 'counted' }
