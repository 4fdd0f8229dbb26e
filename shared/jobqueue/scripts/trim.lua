-- trim: keeps the history young and short enough. What makes it too long moves into archives of the users, so that an
-- erasure finds it.
-- With: keys
-- KEYS: index, root
-- ARGV: oldest: number, most: count, kept_for: seconds
-- Returns: {removed: count, archived: count}
-- oldest: ms; below 0 where jobs are kept for very long.
local MAX_ARCHIVED = 1000 -- entries that one call moves
local first = score_of(HISTORY, 0)
local oldest = score_of(HISTORY, math.max(0, tonumber(arg.oldest)))

-- The oldest entries by user: for each, moments and ids in turns. Returns also their members in the index.
local function oldest_entries(count)
  local by_user, members = {}, {}
  local flat = redis.call('ZRANGEBYSCORE', key.index, first, '+inf', 'WITHSCORES', 'LIMIT', 0, count)
  for i = 1, #flat, 2 do
    -- Ids hold no bar; a user's may.
    local user, id = string.match(flat[i], '^@(.*)|([^|]*)$')
    by_user[user] = by_user[user] or {}
    add(by_user[user], text(number_of(tonumber(flat[i + 1]))), id)
    add(members, flat[i])
  end
  return by_user, members
end

-- Moves entries into the archives of their users, and drops from there what is too old. A stop half-way leaves some in
-- both places.
local function archive(count)
  local by_user, members = oldest_entries(count)
  for user, entries in pairs(by_user) do
    redis.call('ZADD', archive_key(user), unpack(entries))
    redis.call('ZREMRANGEBYSCORE', archive_key(user), '-inf', '(' .. arg.oldest) -- mutant: old archive
    redis.call('EXPIRE', archive_key(user), arg.kept_for)
  end
  redis.call('ZREM', key.index, unpack(members)) -- mutant: archived
  return #members
end

local removed = redis.call('ZREMRANGEBYSCORE', key.index, first, '(' .. oldest)
local over = redis.call('ZCOUNT', key.index, first, '+inf') - tonumber(arg.most)
if over <= 0 then return { removed, 0 } end
return { removed, archive(math.min(over, MAX_ARCHIVED)) }
