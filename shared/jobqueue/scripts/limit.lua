-- limit: sets or lifts live limits and pauses of the whole deployment.
-- KEYS: 1 index
-- ARGV: 1.. gates
-- Returns: {gate, value, ...} of all gates that stand now
-- gates: pairs of a gate's name and its value, '' to lift it; see read_head for the names.
local settings = {unpack(ARGV, 1)}
for i = 1, #settings, 2 do
  if settings[i + 1] == '' then
    redis.call('ZREM', KEYS[1], settings[i])
  else
    redis.call('ZADD', KEYS[1], text(-BAND + tonumber(settings[i + 1])), settings[i])
  end
end
return standing_gates(KEYS[1])
