-- stats: counts what waits and runs, and what ended so far.
-- KEYS: 1 index  2 stats  3 dead
-- ARGV: 1 queues
-- Returns: {delayed, dead, {running, ready, ... of each queue}, {counter, value, ...}}
local counts = {}
for k = 0, tonumber(ARGV[1]) - 1 do
  counts[#counts + 1] = redis.call('ZCOUNT', KEYS[1], score_of(k, 0), '(' .. score_of(k + 1, 0))
  counts[#counts + 1] = redis.call('ZCOUNT', KEYS[1], score_of(READY + k, 0), '(' .. score_of(READY + k + 1, 0))
end
local delayed = redis.call('ZCOUNT', KEYS[1], score_of(DELAYED, 0), '(' .. score_of(DELAYED + 1, 0))
return {delayed, redis.call('ZCARD', KEYS[3]), counts, redis.call('HGETALL', KEYS[2])}
