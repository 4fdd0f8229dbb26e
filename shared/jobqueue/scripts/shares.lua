-- What an API key and a user may have: the shares in the index count how many of their jobs wait. A share is the
-- number of its key * USERS_OF_KEY + the number of its user; signing/shares.py makes it. A verb that uses this names
-- index, key_queued and user_waiting.

-- k:<owner>, the held jobs of an API key that has all its slots: a ZSET by score. A held job is `delayed` as any other;
-- when a slot of its key is free, the best one is ready at once. So a lost entry, or a lost set, only costs patience.

-- How many jobs have shares from `first` to `last`, and wait or are at a provider.
local function count_shares(first, last, is_at_provider)
  return redis.call('ZCOUNT', key.index, share_score(first, is_at_provider), share_score(last, is_at_provider))
end

-- The first and the last share of the API key that a share belongs to.
local function shares_of_key(share)
  local first = share - share % USERS_OF_KEY
  return first, first + USERS_OF_KEY - 1
end

-- The refusal if the user has no place for `count` more waiting jobs; else nil. Without batches they are `tasks` at
-- most, and need no count.
local function refuse_user(share, count, user, tasks)
  if arg.user_waiting == '' then return nil end
  local allowed = tonumber(arg.user_waiting)
  if tasks + count <= allowed and not has_batches(user) then return nil end
  local waiting = count_shares(share, share, false)
  if waiting + count <= allowed then return nil end -- mutant: waiting of a user
  return { 'user_queue_full', text(waiting), arg.user_waiting }
end

-- The refusal if the API key has no place for `count` more waiting jobs; else nil.
local function refuse_key(share, count)
  if arg.key_queued == '' then return nil end
  local first, last = shares_of_key(share)
  local waiting = count_shares(first, last, false)
  if waiting + count <= tonumber(arg.key_queued) then return nil end -- mutant: waiting of a key
  return { 'key_queue_full', text(waiting), arg.key_queued }
end

-- The refusal if the user, or else the API key, has no place for `count` more waiting jobs; else nil.
local function refuse_share(share, count, user, tasks)
  return refuse_user(share, count, user, tasks) or refuse_key(share, count)
end

-- What a job that starts notes for its end: 1 if other jobs of its key may be held until then. `own` is how many slots
-- its own key gives, if that says so; nil if it does not.
local function bounded(own) return flag(own or arg.key_tasks ~= '') end

-- Whether an API key has all the slots that it may have.
local function has_all_slots(share)
  if arg.key_tasks == '' then return false end
  local first, last = shares_of_key(share)
  return count_shares(first, last, true) >= tonumber(arg.key_tasks) -- mutant: slots of a key at submit
end

local key_slots -- how many slots each API key has, by its number; nil until it is asked for

-- How many slots each API key has, by its number.
local function read_key_slots()
  local first, last = share_score(0, true), '(' .. score_of(HISTORY, 0)
  local flat, slots = redis.call('ZRANGEBYSCORE', key.index, first, last, 'WITHSCORES'), {}
  for i = 2, #flat, 2 do
    local number = math.floor((number_of(tonumber(flat[i])) - SLOT_SHARES) / USERS_OF_KEY)
    slots[number] = (slots[number] or 0) + 1
  end
  return slots
end

-- Whether the API key of a job has all the slots that it may have, by what it said at the submit, or by the deployment.
-- If not, `count` adds one.
local function is_to_be_held(f, count)
  local allowed = tonumber(f.key_tasks or arg.key_tasks) -- mutant: slots of an own limit
  if not allowed or not f.share then return false end
  key_slots = key_slots or read_key_slots()
  local number = math.floor(tonumber(f.share) / USERS_OF_KEY)
  local taken = key_slots[number] or 0
  if taken >= allowed then return true end -- mutant: slots of a key
  key_slots[number] = taken + count
  return false
end
