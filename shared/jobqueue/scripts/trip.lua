-- trip: counts a submission with no usable answer as a failure of its model, which may open the model's circuit.
-- With: outbox, ending
-- KEYS: 1 index  2 job  3 stats  4 prefix
-- ARGV: 1 attempt  2 now  3 ttl  4 user_limit  5 circuit_failures  6 circuit_pause
-- Returns: {counted} | {stale}
local f = read(KEYS[2], 'attempt', 'tripped', unpack(ENDING))
if f.attempt ~= ARGV[1] or f.state ~= 'submitting' or f.tripped == ARGV[1] then return {'stale'} end
redis.call('HSET', KEYS[2], 'tripped', ARGV[1])
count_failure(ending_of(KEYS[1], KEYS[3], KEYS[4], ARGV[2], ARGV[3], ARGV[4]), f, tonumber(ARGV[5]), tonumber(ARGV[6]))
return {'counted'}
