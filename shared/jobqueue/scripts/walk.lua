-- Walking down a ZSET page by page, highest scores first; sent behind the prelude to the verbs that list.

-- Whether `a` comes before `b` as a ZSET orders them: by bytes. Lua's own comparison goes by the locale.
local function is_below(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- At most `most` members with scores from `low` to `high`; of those with `high` itself only what comes below `bound`,
-- unless it is ''. So a page goes on exactly where another ended, even if what it ended with is gone. Says also whether
-- these are all.
local function walk_down(key, high, low, bound, most)
  local flat = redis.call('ZREVRANGEBYSCORE', key, high, low, 'WITHSCORES', 'LIMIT', 0, most)
  local first = 1
  while bound ~= '' and flat[first] and tonumber(flat[first + 1]) == tonumber(high) and not is_below(flat[first], bound) do
    first = first + 2
  end
  local complete = #flat / 2 < most
  if not complete and first > #flat then
    -- More members of one score than fit in here: halving finds the place among them.
    local above, below = most, redis.call('ZCOUNT', key, high, high)
    while above < below do
      local middle = math.floor((above + below) / 2)
      local member = redis.call('ZREVRANGEBYSCORE', key, high, high, 'LIMIT', middle, 1)[1]
      if is_below(member, bound) then below = middle else above = middle + 1 end
    end
    flat, first = redis.call('ZREVRANGEBYSCORE', key, high, low, 'WITHSCORES', 'LIMIT', text(above), most), 1
    complete = #flat / 2 < most
  end
  local rows = {}
  for i = first, #flat, 2 do rows[#rows + 1] = {member = flat[i], score = tonumber(flat[i + 1])} end
  return rows, complete
end

-- Whether each value is the one that is wanted at its place; '' is content with any.
local function fits(values, ...)
  for i, wanted in ipairs({...}) do
    if wanted ~= '' and values[i] ~= wanted then return false end
  end
  return true
end
