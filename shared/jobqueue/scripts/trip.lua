-- trip: counts a submission with no usable answer as a failure of its model, which may open the model's circuit.
-- With: outbox, ending
-- KEYS: index, job, stats, root
-- ARGV: attempt: count, now: moment, ttl: seconds, user_limit: count, circuit_failures: count,
--       circuit_pause: milliseconds
-- Returns: {counted} | {stale}
local f = read(key.job, 'attempt', 'tripped', unpack(ENDING))
if f.attempt ~= arg.attempt or f.state ~= 'submitting' or f.tripped == arg.attempt then return {'stale'} end
redis.call('HSET', key.job, 'tripped', arg.attempt)
count_failure(ending_of(key.index, key.stats, key.root, arg.now, arg.ttl, arg.user_limit), f, tonumber(arg.circuit_failures), tonumber(arg.circuit_pause))
return {'counted'}
