-- The fair policy: where a job begins in virtual time, and what it costs. A verb that uses this names index.
--
-- With KEY_WEIGHTS, the active users of an API key share what the key has, by the weights of their tiers. A user is
-- active while virtual time is below their tag. w:<owner>: a ZSET of the users' shares, by weight * BAND + tag. A verb
-- that makes a tag names active, share, cost, weights and key_weight too.
local CLEANED_EVERY = 16 -- one submit in so many removes users who are active no longer

-- Where a user's next job begins: where their last one ended, or now, at the last grant of all.
local function begin_tag(user, gates) return math.max(gates[VIRTUAL_TIME] or FIRST_TAG, user.tag) end

-- The weight of the tier that a job is of, by what it costs alone.
local function own_weight() return math.floor(GRANT / tonumber(arg.cost)) end

-- The weight of a key's active users together, this one among them.
local function active_weight(user, virtual_time)
  local active = user.tag > virtual_time and 0 or own_weight()
  for _, weight in ipairs(numbers(arg.weights)) do
    local first, last = '(' .. text(weight * BAND + virtual_time), '(' .. text((weight + 1) * BAND)
    active = active + weight * redis.call('ZCOUNT', key.active, first, last)
  end
  return math.max(own_weight(), active)
end

-- How far the job moves its user's tag on: as the user's part of what the key has, if keys have weights.
local function cost_of(user, gates)
  local cost = tonumber(arg.cost)
  if arg.key_weight == '' then return cost end
  local active = active_weight(user, gates[VIRTUAL_TIME] or FIRST_TAG) -- mutant: users of a key
  return math.max(1, math.floor(cost * active / tonumber(arg.key_weight))) -- mutant: weight of a key
end

-- What the record keeps for a refund.
local function note_cost(fields, cost)
  fields.cost = text(cost)
  if arg.key_weight ~= '' then fields.weighed = '1' end
end

-- Notes that the job's user is active until virtual time has reached their tag, if keys have weights.
local function note_active(gates, tag, now)
  if arg.key_weight == '' or not tag then return end
  local first = own_weight() * BAND
  if now % CLEANED_EVERY == 0 then
    redis.call('ZREMRANGEBYSCORE', key.active, text(first), text(first + (gates[VIRTUAL_TIME] or FIRST_TAG)))
  end
  redis.call('ZADD', key.active, text(first + tag), arg.share)
end

-- Gives back to its user what a job cost, unless it was ever started: only service is paid for.
local function refund(f)
  if not f.cost or f.attempt ~= '0' then return end -- mutant: refund of a job that was started
  redis.call('ZADD', user_key(f.owner, f.user), 'XX', 'INCR', '-' .. f.cost, '~') -- mutant: refund
  if f.weighed then redis.call('ZADD', active_key(f.owner), 'XX', 'INCR', '-' .. f.cost, f.share) end
end
