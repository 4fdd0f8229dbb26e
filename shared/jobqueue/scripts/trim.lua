-- trim: keeps the history young and short enough.
-- KEYS: 1 index
-- ARGV: 1 oldest  2 most
-- Returns: how many entries went
local first = score_of(HISTORY, 0)
local gone = redis.call('ZREMRANGEBYSCORE', KEYS[1], first, '(' .. score_of(HISTORY, math.max(0, tonumber(ARGV[1]))))
local over = redis.call('ZCOUNT', KEYS[1], first, '+inf') - tonumber(ARGV[2])
if over > 0 then
  -- The history is the last band, so its ranks are counted from the end.
  gone = gone + redis.call('ZREMRANGEBYRANK', KEYS[1], -over - tonumber(ARGV[2]), -1 - tonumber(ARGV[2]))
end
return gone
