-- outbox_undelivered: the events that were given up before a moment, the last first.
-- KEYS: undelivered
-- ARGV: before: number, most: count
-- Returns: {event|id, ms, ...}
return redis.call('ZREVRANGEBYSCORE', key.undelivered, '(' .. arg.before, '-inf', 'WITHSCORES', 'LIMIT', 0, arg.most)
