-- limit_user: gives a user a concurrency of his own, or the deployment's again; 0 pauses him.
-- With: outbox, ending, seats
-- KEYS: 1 index  2 user  3 stats  4 prefix
-- ARGV: 1 now  2 ttl  3 user_limit  4 concurrency
-- Returns: {set}
-- concurrency: '' for the deployment's.
local ending = ending_of(KEYS[1], KEYS[3], KEYS[4], ARGV[1], ARGV[2], ARGV[3])
if ARGV[4] == '' then
  redis.call('ZREM', KEYS[2], '=')
else
  redis.call('ZADD', KEYS[2], text(SPECIAL + tonumber(ARGV[4])), '=')
end
reseat(ending, KEYS[2])
return {'set'}
