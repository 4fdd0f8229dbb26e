-- stats: counts what waits and runs, and what ended so far.
-- With: keys, room, pauses, users, shares
-- KEYS: index, stats, dead, lost, root
-- ARGV: queues: count, key_shares: numbers
-- Returns: {delayed: count, dead: count, counts: numbers, counters: counts, backlog: count, gates: counts,
--       unknown: count, lost: counts, of_keys: numbers, pauses: rows}
--   pauses: {provider: provider, since: moment, at: moment, code: name, status: count, refusals: count, models: names}
-- counts: running and ready, one queue after the other.
-- of_keys: running and waiting, one API key after the other; key_shares are the first shares of each.
-- unknown, lost: how many submissions have an unknown outcome, and since when the oldest ones have.
local MAX_LOST = 100

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
local of_keys = {}
for _, share in ipairs(numbers(arg.key_shares)) do
  local first, last = shares_of_key(share)
  add(of_keys, count_shares(first, last, true), count_shares(first, last, false))
end
local delayed, backlog = count(DELAYED, DELAYED + 1), count(BACKLOG, BACKLOG + 1)
local unknown = redis.call('ZCOUNT', key.lost, 0, '+inf')
local lost = redis.call('ZRANGEBYSCORE', key.lost, 0, '+inf', 'WITHSCORES', 'LIMIT', 0, MAX_LOST)
local dead, counters, gates = redis.call('ZCARD', key.dead), redis.call('HGETALL', key.stats), all_gates()
return { delayed, dead, counts, counters, backlog, gates, unknown, lost, of_keys, pauses_in(gates) }
