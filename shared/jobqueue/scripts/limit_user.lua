-- limit_user: gives a user a concurrency of his own, or the deployment's again; 0 pauses him.
-- With: outbox, ending, seats
-- KEYS: index, user, stats, root
-- ARGV: now: moment, ttl: seconds, user_limit: count, concurrency: count?
-- Returns: {set}
-- concurrency: '' for the deployment's.
local ending = ending_of(key.index, key.stats, key.root, arg.now, arg.ttl, arg.user_limit)
if arg.concurrency == '' then
  redis.call('ZREM', key.user, '=')
else
  redis.call('ZADD', key.user, text(SPECIAL + tonumber(arg.concurrency)), '=')
end
reseat(ending, key.user)
return {'set'}
