-- stats: counts what waits and runs, and what ended so far.
-- KEYS: index, stats, dead
-- ARGV: queues: count
-- Returns: {delayed, dead, {running, ready, ... of each queue}, {counter, value, ...}, backlog, {gate, value, ...}}
local counts = {}
for k = 0, tonumber(arg.queues) - 1 do
  local first, last = k * PROVIDERS, (k + 1) * PROVIDERS
  counts[#counts + 1] = redis.call('ZCOUNT', key.index, score_of(first, 0), '(' .. score_of(last, 0))
  counts[#counts + 1] = redis.call('ZCOUNT', key.index, score_of(READY + first, 0), '(' .. score_of(READY + last, 0))
end
local delayed = redis.call('ZCOUNT', key.index, score_of(DELAYED, 0), '(' .. score_of(DELAYED + 1, 0))
local backlog = redis.call('ZCOUNT', key.index, score_of(BACKLOG, 0), '(' .. score_of(BACKLOG + 1, 0))
return {delayed, redis.call('ZCARD', key.dead), counts, redis.call('HGETALL', key.stats), backlog, standing_gates(key.index)}
