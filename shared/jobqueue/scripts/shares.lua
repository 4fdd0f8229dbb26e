-- What an API key and a user may have: the shares in the index count how many of their jobs wait. A share is the
-- number of its key * USERS_OF_KEY + the number of its user; signing/shares.py makes it. A verb that uses this names
-- index, key_queued and user_waiting.

-- How many jobs wait with shares from `first` to `last`.
local function count_shares(first, last)
  return redis.call('ZCOUNT', key.index, share_score(first, false), share_score(last, false))
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
  local waiting = count_shares(share, share)
  if waiting + count <= allowed then return nil end -- mutant: waiting of a user
  return { 'user_queue_full', text(waiting), arg.user_waiting }
end

-- The refusal if the API key has no place for `count` more waiting jobs; else nil.
local function refuse_key(share, count)
  if arg.key_queued == '' then return nil end
  local waiting = count_shares(shares_of_key(share))
  if waiting + count <= tonumber(arg.key_queued) then return nil end -- mutant: waiting of a key
  return { 'key_queue_full', text(waiting), arg.key_queued }
end

-- The refusal if the user, or else the API key, has no place for `count` more waiting jobs; else nil.
local function refuse_share(share, count, user, tasks)
  return refuse_user(share, count, user, tasks) or refuse_key(share, count)
end
