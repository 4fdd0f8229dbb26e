-- trim: keeps the history young and short enough.
-- KEYS: index
-- ARGV: oldest: number, most: count
-- Returns: removed: count
-- oldest: ms; below 0 where jobs are kept for very long.
local first, most = score_of(HISTORY, 0), tonumber(arg.most)
local oldest = score_of(HISTORY, math.max(0, tonumber(arg.oldest)))
local removed = redis.call('ZREMRANGEBYSCORE', key.index, first, '(' .. oldest)
local over = redis.call('ZCOUNT', key.index, first, '+inf') - most
if over > 0 then
  -- The history is the last band, so its ranks are counted from the end.
  removed = removed + redis.call('ZREMRANGEBYRANK', key.index, -over - most, -1 - most)
end
return removed
