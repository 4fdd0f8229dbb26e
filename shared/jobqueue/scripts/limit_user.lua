-- limit_user: gives a user their own concurrency, or the deployment's again; 0 pauses the user.
-- With: keys, users, seats
-- KEYS: index, user, stats, root
-- ARGV: now: moment, user_limit: count, seen: count, mark: count, concurrency: count?
-- Returns: {set} | {stale}
-- stale: another change came after the one that the caller had seen; see prelude.lua.
-- concurrency: '' for the deployment's.
if is_late_change() then return { 'stale' } end
if arg.concurrency == '' then
  redis.call('ZREM', key.user, '=')
else
  local today = math.floor(tonumber(arg.now) / DAY)
  redis.call('ZADD', key.user, user_limit_score(tonumber(arg.concurrency), today), '=')
end
reseat(key.user) -- mutant: reseat
return { 'set' }
