-- outbox_undelivered: the events that were given up before a moment, the last first.
-- KEYS: 1 undelivered
-- ARGV: 1 before  2 most
-- Returns: {event|id, ms, ...}
return redis.call('ZREVRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '-inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
