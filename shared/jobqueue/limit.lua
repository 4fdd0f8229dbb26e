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
local flat, gates = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(0', 'WITHSCORES'), {}
for i = 1, #flat, 2 do
  gates[i], gates[i + 1] = flat[i], text(tonumber(flat[i + 1]) + BAND)
end
return gates
