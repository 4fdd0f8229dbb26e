-- outbox_undelivered: the events that were given up before a moment, the last first.
-- KEYS: undelivered
-- ARGV: before: number, most: count
-- Returns: events: counts
-- events: each event and its holder, as event|id, and when it was given up.
return redis.call('ZREVRANGEBYSCORE', key.undelivered, '(' .. arg.before, '-inf', 'WITHSCORES', 'LIMIT', 0, arg.most)
