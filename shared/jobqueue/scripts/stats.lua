-- stats: counts what waits and runs, and what ended so far.
-- KEYS: 1 index  2 stats  3 dead
-- ARGV: 1 queues
-- Returns: {delayed, dead, {running, ready, ... of each queue}, {counter, value, ...}, backlog, {gate, value, ...}}
local counts = {}
for k = 0, tonumber(ARGV[1]) - 1 do
  local first, last = k * PROVIDERS, (k + 1) * PROVIDERS
  counts[#counts + 1] = redis.call('ZCOUNT', KEYS[1], score_of(first, 0), '(' .. score_of(last, 0))
  counts[#counts + 1] = redis.call('ZCOUNT', KEYS[1], score_of(READY + first, 0), '(' .. score_of(READY + last, 0))
end
local delayed = redis.call('ZCOUNT', KEYS[1], score_of(DELAYED, 0), '(' .. score_of(DELAYED + 1, 0))
local backlog = redis.call('ZCOUNT', KEYS[1], score_of(BACKLOG, 0), '(' .. score_of(BACKLOG + 1, 0))
return {delayed, redis.call('ZCARD', KEYS[3]), counts, redis.call('HGETALL', KEYS[2]), backlog, standing_gates(KEYS[1])}
