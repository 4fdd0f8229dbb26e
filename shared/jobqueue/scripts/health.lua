-- health: what keeps jobs from their providers. It changes nothing, and costs the same however long the queue is.
-- With: keys, room, startable
-- KEYS: index, stats, lost, root
-- ARGV: lease_now: moment?, slot_limit: count, queue_limits: numbers, provider_limits: numbers, lanes: numbers
-- Returns: {tick_at: moment?, job: text, since: moment?, gates: counts, unknown: count, webhook_refused_at: moment?}
-- job, since: the job that could have started the longest ago, and when; '' if none can start now.
-- unknown: how many submissions have an unknown outcome.
-- webhook_refused_at: when a webhook with a right nonce was last refused for its signature.
local limits = {
  slots = tonumber(arg.slot_limit),
  queues = numbers(arg.queue_limits),
  providers = numbers(arg.provider_limits),
}
local time = lease_time(arg.lease_now)

local head = read_head(limits.slots, 1)
local job, since = oldest_startable(head, limits, time)
local f = read(key.stats, 'tick_at', 'webhook_refused_at')
local unknown = redis.call('ZCOUNT', key.lost, 0, '+inf')
return { f.tick_at or '', job, since, gates_of(head), unknown, f.webhook_refused_at or '' }
