-- How runs of a model at a provider went, m:<provider>:<model>: a HASH that the jobs of all users share.
--   r0 to r31          ms that recent runs took
--   failures           failures in a row; a success ends the row
--   opened open_until  how often in a row the model's circuit has opened, and until when it is open
--   at                 when the last run ended
local KNOWN_RUNS = 32
local MAX_DOUBLINGS = 4 -- of a circuit's pause

-- How long runs of a model took: ms that half and nine tenths of the recent ones stayed below; 0 if none is known.
local function usual_times(runs)
  local times = {}
  for name, value in pairs(read_all(runs)) do
    if string.sub(name, 1, 1) == 'r' then add(times, tonumber(value)) end
  end
  table.sort(times)
  if #times == 0 then return '0', '0' end
  return text(times[math.ceil(#times * 0.5)]), text(times[math.ceil(#times * 0.9)])
end

-- Notes how long a successful run took; the failures before it no longer count.
local function count_success(f, now)
  local run = { failures = '0', opened = '0', open_until = '0', at = text(now) } -- mutant: success
  -- Chance chooses the field that is overwritten: figures of about the last 32 runs, at the price of one write.
  run['r' .. text(now % KNOWN_RUNS)] = text(math.max(0, now - tonumber(f.submitted_at)))
  write_fields(runs_key(tonumber(f.lane), f.model), run)
end

-- Notes that a model has failed once more. `threshold` failures in a row open its circuit: for `pause` ms at first, and
-- each time for twice as long.
local function count_failure(f, now, threshold, pause)
  local runs = runs_key(tonumber(f.lane), f.model)
  local known = read(runs, 'failures', 'opened', 'open_until')
  local failures, opened = tonumber(known.failures or '0') + 1, tonumber(known.opened or '0')
  write_fields(runs, { failures = text(failures), at = text(now) })
  if failures < threshold then return end -- mutant: circuit opens
  -- Failures of jobs that were under way when it opened do not make it stay open for longer.
  if now < tonumber(known.open_until or '0') then return end
  local open_until = now + pause * 2 ^ math.min(opened, MAX_DOUBLINGS) -- mutant: longer pause
  write_fields(runs, { opened = text(opened + 1), open_until = text(open_until) })
  local gate = circuit_gate(provider_of(tonumber(f.lane)), f.model)
  if redis.call('ZCOUNT', key.index, '-inf', '(0') < MAX_CIRCUITS or redis.call('ZSCORE', key.index, gate) then
    redis.call('ZADD', key.index, gate_score(open_until), gate)
  end
end
