-- Walking down a ZSET page by page, highest scores first.
local PUBLIC_STATUS = {
  queued = 'pending',
  backlog = 'pending',
  delayed = 'pending',
  submitting = 'processing',
  running = 'processing',
}

-- The status that callers see of a job in this state, or with this outcome.
local function status_of(state, outcome) return PUBLIC_STATUS[state] or outcome end

-- Whether `a` comes before `b` as a ZSET orders them: by bytes. Lua's own comparison goes by the locale.
local function is_below(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- Where in a reply WITHSCORES the members begin that are not at `high`, or below `bound`.
local function first_below(flat, high, bound)
  local first = 1
  while flat[first] and tonumber(flat[first + 1]) == tonumber(high) and not is_below(flat[first], bound) do
    first = first + 2
  end
  return first
end

-- How many members with the score `high` are not below `bound`; found by halving.
local function count_above(zset, high, bound, known)
  local above, below = known, redis.call('ZCOUNT', zset, high, high)
  while above < below do
    local middle = math.floor((above + below) / 2)
    local member = redis.call('ZREVRANGEBYSCORE', zset, high, high, 'LIMIT', middle, 1)[1]
    if is_below(member, bound) then
      below = middle
    else
      above = middle + 1
    end
  end
  return above
end

-- Reads at most `most` members with scores from `low` to `high`; of those with `high` itself only members below
-- `bound`, unless it is ''. So a page begins exactly where another ended, even if its last member is gone. Returns also
-- whether these are all.
local function walk_down(zset, high, low, bound, most)
  local flat = redis.call('ZREVRANGEBYSCORE', zset, high, low, 'WITHSCORES', 'LIMIT', 0, most)
  local first = bound == '' and 1 or first_below(flat, high, bound)
  local complete = #flat / 2 < most
  if not complete and first > #flat then
    -- More members of one score than one page has.
    local above = count_above(zset, high, bound, most)
    flat = redis.call('ZREVRANGEBYSCORE', zset, high, low, 'WITHSCORES', 'LIMIT', text(above), most)
    first, complete = 1, #flat / 2 < most
  end
  local rows = {}
  for i = first, #flat, 2 do
    add(rows, { member = flat[i], score = tonumber(flat[i + 1]) })
  end
  return rows, complete
end

-- Whether each value is the one that is wanted; '' wants none in particular.
local function fits(values, ...)
  for i, wanted in ipairs({ ... }) do
    if wanted ~= '' and values[i] ~= wanted then return false end
  end
  return true
end
