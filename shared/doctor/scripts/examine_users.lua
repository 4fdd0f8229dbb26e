-- examine_users: looks at users' sets for what has no live job or batch, and for free seats. It changes nothing.
-- With: keys, looks
-- KEYS: root
-- ARGV: user_limit: count, users: names...
-- Returns: {faults: pairs, looked_at: count}
-- users: owner and user of each, as their keys have them.
-- faults: by user, separated by spaces; users without faults are left out.
-- looked_at: how many of the users; the rest are for another call, since these had many members.
local MAX_MEMBERS = 1000 -- of a set that are looked at
local members_seen = 0 -- of all sets
local MAX_NAMED = 3 -- jobs and batches without a live record that are named

-- Whether a member's job lives, or its batch.
local function is_alive(member)
  local kind = string.sub(member, 1, 1)
  if kind ~= '#' then
    local state = redis.pcall('HGET', job_key(member), 'state')
    return type(state) == 'table' or (state or 'done') ~= 'done' -- a key of another type is found by itself
  end
  local b = read(batch_key(string.sub(member, 2)), 'owner', 'ended_at')
  return b.owner ~= nil and not b.ended_at
end

-- Looks at one member; `seen` counts what the set has.
local function look_at(seen, member, score)
  local kind = string.sub(member, 1, 1)
  if kind == '=' then
    seen.cap = (score - SPECIAL) % LIMIT_SPAN
  elseif kind ~= '~' then
    if score >= 0 then
      seen.waiting = seen.waiting + 1
    elseif kind ~= '#' then
      seen.seated = seen.seated + 1
    end
    if not is_alive(member) then add(seen.dead, 'dead_member:' .. member) end -- mutant: dead member
  end
end

-- The faults of one user.
local function faults_of_user(user)
  local flat = redis.call('ZRANGE', key.root .. USERS .. user, 0, MAX_MEMBERS - 1, 'WITHSCORES')
  members_seen = members_seen + #flat / 2
  local seen = { cap = tonumber(arg.user_limit), seated = 0, waiting = 0, dead = {} }
  for i = 1, #flat, 2 do
    look_at(seen, flat[i], tonumber(flat[i + 1]))
  end
  local faults = { unpack(seen.dead, 1, MAX_NAMED) }
  if seen.waiting > 0 and seen.seated < seen.cap then
    add(faults, 'free_seats:' .. text(seen.cap - seen.seated)) -- mutant: free seats
  end
  return faults
end

local found, looked_at = {}, 0
for _, user in ipairs(rest.users) do
  if members_seen >= MAX_MEMBERS then break end -- mutant: large sets
  local faults = look_safely(faults_of_user, user)
  looked_at = looked_at + 1
  if #faults > 0 then add(found, user, table.concat(faults, ' ')) end
end
return { found, text(looked_at) }
