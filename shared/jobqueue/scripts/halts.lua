-- When an operator's pauses began and ended, p:halts: a HASH by gate of intervals in ms, `from-to,from-`. No waiting
-- job grows older in them. A verb that uses this names root.
local MAX_HALTS = 20 -- of a gate; older ones are forgotten
local MIN_EXTENSION = 3600000 -- ms for which a job of a lasting pause is not looked at again

-- Notes that a live limit begins or ends to be a pause; a repeat changes nothing.
local function note_halt(gate, value, now)
  local known = redis.call('HGET', halts_key(), gate) or ''
  local is_halt, is_halted = value == '0', string.sub(known, -1) == '-'
  if is_halt == is_halted then return end -- mutant: repeated pause
  local parts = {}
  for part in string.gmatch(known, '[^,]+') do
    add(parts, part)
  end
  if is_halt then
    add(parts, now .. '-')
  else
    parts[#parts] = parts[#parts] .. now
  end
  if #parts > MAX_HALTS then table.remove(parts, 1) end
  redis.call('HSET', halts_key(), gate, table.concat(parts, ','))
end

-- The pauses of what a job needs, in their order, from a moment on until now; and whether one goes on.
local function halts_of(f, since, now)
  local lane, halts, goes_on = tonumber(f.lane), {}, false
  local gates = { '=s', '=q' .. text(queue_of(lane)), '=p' .. text(provider_of(lane)) }
  for _, known in ipairs(redis.call('HMGET', halts_key(), unpack(gates))) do
    for first, last in string.gmatch(known or '', '(%d+)%-(%d*)') do
      if last == '' then goes_on = true end
      add(halts, { first = math.max(tonumber(first), since), last = tonumber(last) or now })
    end
  end
  table.sort(halts, function(a, b) return a.first < b.first end)
  return halts, goes_on
end

-- How long a job was paused since a moment, in ms; pauses that overlap count once. And whether it is paused now.
local function time_halted(f, since, now)
  local halted, seen_until = 0, since
  local halts, goes_on = halts_of(f, since, now)
  for _, halt in ipairs(halts) do
    local first = math.max(halt.first, seen_until)
    if halt.last > first then
      halted, seen_until = halted + halt.last - first, halt.last
    end
  end
  return halted, goes_on
end
