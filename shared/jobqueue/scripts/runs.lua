-- How runs of a model at a provider went, m:<provider>:<model>: a HASH that the jobs of all users share.
--   r0 to r31          ms that recent runs took
--   since              names the row of failures: it changes with each success
--   opened open_until  how often in this row the model's circuit has opened, and until when it is open
--   pair:<share>       of a user with failures: the row, how many jobs failed, and the same two of its own circuit
--   at                 when the last run ended
local KNOWN_RUNS = 32
local MAX_DOUBLINGS = 4 -- of a circuit's pause
local MAX_OLD_PAIRS = 20 -- users of earlier rows that a model's record keeps
local MAX_DROPPED = 500 -- of them that one failure removes

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
  local run = { since = text(now), opened = '0', open_until = '0', at = text(now) } -- mutant: success
  -- Chance chooses the field that is overwritten: figures of about the last 32 runs, at the price of one write.
  run['r' .. text(now % KNOWN_RUNS)] = text(math.max(0, now - tonumber(f.submitted_at)))
  write_fields(runs_key(tonumber(f.lane), f.model), run)
end

-- The field of a job's user.
local function pair_of(f) return 'pair:' .. (f.share or '') end

-- What a model's record says of a user's failures in the row that goes on; nil if there are none.
local function failures_of(known, pair)
  local row, count, opened, open_until = string.match(known[pair] or '', '^(%d+)|(%d+)|(%d+)|(%d+)$')
  if not row or row ~= (known.since or '0') then return nil end -- mutant: row of failures
  return { count = tonumber(count), opened = tonumber(opened), open_until = tonumber(open_until) }
end

-- Removes what is left of earlier rows, when it has become much. Returns how many users have failures in this row.
local function count_failing(runs, known)
  local failing, old = 0, {}
  for name in pairs(known) do
    if string.sub(name, 1, 5) == 'pair:' then
      if failures_of(known, name) then
        failing = failing + 1
      elseif #old < MAX_DROPPED then -- mutant: many old pairs
        add(old, name)
      end
    end
  end
  if #old > MAX_OLD_PAIRS then redis.call('HDEL', runs, unpack(old)) end
  return failing
end

-- Opens a circuit, for longer each time, unless it is open: failures of jobs that were under way do not count twice. A
-- user's own circuits leave room for those of models.
local function open_circuit(gate, circuit, now, pause, max_gates)
  if now < circuit.open_until then return end
  circuit.open_until = now + pause * 2 ^ math.min(circuit.opened, MAX_DOUBLINGS) -- mutant: longer pause
  circuit.opened = circuit.opened + 1
  if redis.call('ZCOUNT', key.index, '-inf', '(0') < max_gates or redis.call('ZSCORE', key.index, gate) then
    redis.call('ZADD', key.index, gate_score(circuit.open_until), gate)
  end
end

-- What a model's record says, for a failure of its job. Notes in the job's `fields` in which row that is: a job counts
-- once in a row of failures, however often it is tried.
local function read_row(f, fields)
  local known = read_all(runs_key(tonumber(f.lane), f.model))
  fields.failed_in = known.since or '0'
  return known
end

-- The failures of a job's user in the row that goes on, with this job; `is_first` if the user had none.
local function count_own(f, known)
  local own = failures_of(known, pair_of(f)) or { count = 0, opened = 0, open_until = 0 }
  own.is_first = own.count == 0
  local is_counted = not own.is_first and f.failed_in == (known.since or '0') -- mutant: each job once
  own.count = own.count + (is_counted and 0 or 1)
  return own
end

-- Notes that a job of a model has failed. Jobs of `threshold` users that fail in a row open the model's circuit, for
-- `pause` ms at first, and each time for twice as long. So many jobs of one user open it for that user alone.
local function count_failure(f, known, now, threshold, pause)
  local runs, provider = runs_key(tonumber(f.lane), f.model), provider_of(tonumber(f.lane))
  local own, fields = count_own(f, known), { at = text(now) }
  local failing = count_failing(runs, known) + (own.is_first and 1 or 0)
  if failing >= threshold then -- mutant: circuit opens
    local all = { opened = tonumber(known.opened or '0'), open_until = tonumber(known.open_until or '0') }
    open_circuit(circuit_gate(provider, f.model), all, now, pause, MAX_CIRCUITS)
    fields.opened, fields.open_until = text(all.opened), text(all.open_until)
  elseif own.count >= threshold then -- mutant: own circuit opens
    open_circuit(own_circuit_gate(provider, f.model, f.share), own, now, pause, MAX_CIRCUITS / 2)
  end
  local parts = { known.since or '0', text(own.count), text(own.opened), text(own.open_until) }
  fields[pair_of(f)] = table.concat(parts, '|')
  write_fields(runs, fields)
end
