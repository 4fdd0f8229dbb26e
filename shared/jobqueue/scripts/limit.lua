-- limit: sets or lifts live limits and pauses of the whole deployment.
-- With: keys, room, pauses, halts
-- KEYS: index, root, stats
-- ARGV: now: moment, seen: count, mark: count, gates: pairs...
-- Returns: {is_late: flag, standing: counts, pauses: rows}
--   pauses: {provider: provider, since: moment, at: moment, code: name, status: count, refusals: count, models: names}
-- is_late: another change came after the one that the caller had seen, and this one changes nothing; see prelude.lua.
-- standing: all gates, each with its value.
-- gates: pairs of a gate's name and its value, '' to lift it; room.lua has the names. With a provider's pause goes what
-- is known of its refusals.
local gates = rest.gates
local is_late = #gates > 0 and is_late_change()
for i = 1, is_late and 0 or #gates, 2 do
  local name, value = gates[i], gates[i + 1]
  if string.sub(name, 1, 1) == '=' then note_halt(name, value, arg.now) end
  if value == '' then
    redis.call('ZREM', key.index, name)
    if is_pause(name) then redis.call('DEL', pause_key(tonumber(string.sub(name, 3)))) end -- mutant: lifted pause
  else
    redis.call('ZADD', key.index, gate_score(tonumber(value)), name)
  end
end
local standing = all_gates()
return { flag(is_late), standing, pauses_in(standing) }
