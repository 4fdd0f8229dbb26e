-- user_limits: which of some users have a concurrency of their own.
-- With: keys
-- KEYS: root
-- ARGV: users: names...
-- Returns: {limits: values}
-- users: each as `owner:user`.
-- limits: the concurrency of each user in their order; '' for one who has the deployment's. One command for each.
local limits = {}
for _, user in ipairs(rest.users) do
  local score = redis.call('ZSCORE', key.root .. USERS .. user, '=')
  add(limits, score and text((tonumber(score) - SPECIAL) % LIMIT_SPAN) or '') -- mutant: own limit
end
return { limits }
