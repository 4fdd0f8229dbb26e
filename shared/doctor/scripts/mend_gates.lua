-- mend_gates: ends automatic pauses and circuits that would last longer than any refusal may make them: one job tries.
-- With: room
-- KEYS: index
-- ARGV: now: moment, max_gate: milliseconds, gates: names...
-- Returns: mended: count
local now, mended = tonumber(arg.now), 0
for _, gate in ipairs(rest.gates) do
  local score = redis.call('ZSCORE', key.index, gate)
  local is_automatic = string.match(gate, '^~[po]') -- mutant: automatic gate
  if score and is_automatic and number_of(tonumber(score)) > now + tonumber(arg.max_gate) then -- mutant: forgotten gate
    redis.call('ZADD', key.index, gate_score(now), gate)
    mended = mended + 1
  end
end
return mended
