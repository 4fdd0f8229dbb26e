-- stats: counts what waits and runs, and what ended so far.
-- With: room
-- KEYS: index, stats, dead
-- ARGV: queues: count
-- Returns: {delayed: count, dead: count, counts: numbers, counters: counts, backlog: count, gates: counts}
-- counts: running and ready, one queue after the other.

-- How many jobs are in the bands from the first one up to the last one, which is left out.
local function count(first, last)
  local low, high = score_of(first, 0), '(' .. score_of(last, 0)
  return redis.call('ZCOUNT', key.index, low, high)
end

local counts = {}
for queue = 0, tonumber(arg.queues) - 1 do
  local first, last = queue * PROVIDERS, (queue + 1) * PROVIDERS
  add(counts, count(first, last))
  add(counts, count(READY + first, READY + last))
end
local delayed, backlog = count(DELAYED, DELAYED + 1), count(BACKLOG, BACKLOG + 1)
return { delayed, redis.call('ZCARD', key.dead), counts, redis.call('HGETALL', key.stats), backlog, all_gates() }
