-- limit: sets or lifts live limits and pauses of the whole deployment.
-- KEYS: index
-- ARGV: gates: pairs...
-- Returns: {gate, value, ...} of all gates that stand now
-- gates: pairs of a gate's name and its value, '' to lift it; see read_head for the names.
local settings = rest.gates
for i = 1, #settings, 2 do
  if settings[i + 1] == '' then
    redis.call('ZREM', key.index, settings[i])
  else
    redis.call('ZADD', key.index, text(-BAND + tonumber(settings[i + 1])), settings[i])
  end
end
return standing_gates(key.index)
