-- limit: sets or lifts live limits and pauses of the whole deployment.
-- With: room
-- KEYS: index
-- ARGV: gates: pairs...
-- Returns: standing: counts
-- standing: all gates, each with its value.
-- gates: pairs of a gate's name and its value, '' to lift it; room.lua has the names.
local gates = rest.gates
for i = 1, #gates, 2 do
  local name, value = gates[i], gates[i + 1]
  if value == '' then
    redis.call('ZREM', key.index, name)
  else
    redis.call('ZADD', key.index, gate_score(tonumber(value)), name)
  end
end
return all_gates()
