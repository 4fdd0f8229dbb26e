-- trim: keeps the history young and short enough.
-- KEYS: index
-- ARGV: oldest: moment, most: count
-- Returns: how many entries went
local first = score_of(HISTORY, 0)
local gone = redis.call('ZREMRANGEBYSCORE', key.index, first, '(' .. score_of(HISTORY, math.max(0, tonumber(arg.oldest))))
local over = redis.call('ZCOUNT', key.index, first, '+inf') - tonumber(arg.most)
if over > 0 then
  -- The history is the last band, so its ranks are counted from the end.
  gone = gone + redis.call('ZREMRANGEBYRANK', key.index, -over - tonumber(arg.most), -1 - tonumber(arg.most))
end
return gone
