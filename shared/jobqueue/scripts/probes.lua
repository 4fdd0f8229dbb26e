-- Which jobs try a provider whose pause is over, and a model whose circuit's time is over. A verb that uses this names
-- index, root, lanes, check_interval and key_tasks. It sets `head.time` to the present time of the store's clock.
local MAX_LOOKS = 50 -- ready jobs of a lane that may be a probe; then others of them, see next_page
local GOLDEN = 0.6180339887 -- its multiples, less their integers, lie evenly between 0 and 1
local START = { -- what must be read of a job to start it
  'attempt',
  'lane',
  'model',
  'input',
  'owner',
  'user',
  'queue',
  'deadline',
  'probe',
  'state',
  'adoption',
  'expire_at',
  'share',
  'incarnation',
  'refusals',
  'error_code',
  'heirs',
  'snooze_code',
  'cancel_requested',
  'key_tasks',
}
local probed = {} -- the gates that have their probe
local prober = {} -- the jobs that are to be the probes of providers, by number, and of circuits, by gate

-- Whether a candidate comes before another one.
local function is_before(a, b)
  if a.score ~= b.score then return a.score < b.score end -- mutant: best first
  return a.id < b.id
end

-- Sorts candidates, best first.
local function sort(list)
  table.sort(list, is_before)
  return list
end

-- The next job of a line; nil at its end, or where its lane has no room left.
local function first_of_line(room, line)
  if line.jobs then return line.jobs[line.next] end
  if not line.job and line.place <= line.part.last and has_room(room, line.lane) then
    local row = row_at(line.part, line.place)
    line.job = { id = row.id, score = row.ms, lane = line.lane }
  end
  return has_room(room, line.lane) and line.job or nil
end

-- Takes the next job from a line.
local function take(line)
  if line.jobs then
    line.next = line.next + 1
  else
    line.job, line.place = nil, line.place + 2
  end
end

-- Takes the best of the first jobs of all lines; nil when none is left.
local function take_best(room, lines)
  local best, of
  for _, line in ipairs(lines) do
    local job = first_of_line(room, line)
    if job and (not best or is_before(job, best)) then
      best, of = job, line
    end
  end
  if best then take(of) end
  return best
end

-- Walks over the jobs of all lines, best first. Ready jobs of lanes without room are left out.
local function best_first(room, lines)
  return function() return take_best(room, lines) end
end

-- Notes that a gate has its probe.
local function note_probe(gate) probed[gate] = true end

-- Whether any model's circuit, for all users, is open until a moment at most.
local function has_circuit(head, moment)
  for gate, open_until in pairs(head.gates) do
    local is_circuit = string.sub(gate, 1, 2) == '~o' and not string.find(gate, '|', 1, true)
    if is_circuit and open_until <= moment then return true end
  end
  return false
end

-- Whether the time of any model's circuit is over, so that one job has to be its probe.
local function has_half_open(head) return has_circuit(head, head.time) end

-- Until when circuits keep a job from starting, or nil; then also those that it probes.
local function judge_circuits(head, job, f)
  local provider, probes = provider_of(job.lane), {}
  for _, gate in ipairs({ circuit_gate(provider, f.model), own_circuit_gate(provider, f.model, f.share) }) do
    local open_until = head.gates[gate]
    if open_until and open_until > head.time then return open_until end -- mutant: circuit
    local is_behind = probed[gate] or (prober[gate] and prober[gate] ~= job.id) -- mutant: chosen probe of a model
    if open_until and is_behind then return head.time + tonumber(arg.check_interval) end
    if open_until then add(probes, gate) end
  end
  return nil, probes
end

-- Whether a job could be submitted now; its fields stay with it.
local function may_start(head, job)
  job.f = job.f or read(job_key(job.id), unpack(START))
  if not is_waiting(job.f.state) or tonumber(job.f.expire_at) <= head.time then return false end
  return not judge_circuits(head, job, job.f) and not is_to_be_held(job.f, 0)
end

-- Looks in a list for the job that is least likely to be refused as others were; the first one, if two are alike.
local function find_probe(head, known, list, best)
  for _, job in ipairs(list) do
    if best.suspicion == 0 then return end
    job.is_fit = may_start(head, job)
    local found = job.is_fit and suspicion(known, job.f) or best.suspicion
    if found < best.suspicion then
      best.suspicion, best.job = found, job
    end
  end
end

-- Further ready jobs of a provider's lanes, whose first ones are all like those that were refused. Time turns the
-- pages, also for claims as far apart as ticks are; so does each refusal.
local function next_page(head, room, provider, known)
  local list, refusals = {}, tonumber(known.refusals or '0')
  local turn = math.floor(head.time / 1000) * GOLDEN % 1 -- mutant: pages turn with time
  for _, lane in ipairs(numbers(arg.lanes)) do
    if provider_of(lane) == provider and has_room(room, lane) then
      local first, last = score_of(READY + lane, 0), '(' .. score_of(READY + lane + 1, 0)
      local pages = math.max(1, math.ceil(redis.call('ZCOUNT', key.index, first, last) / MAX_LOOKS) - 1)
      local page = (refusals + math.floor(turn * pages)) % pages
      local offset = text(MAX_LOOKS * (1 + page))
      local flat = redis.call('ZRANGEBYSCORE', key.index, first, last, 'WITHSCORES', 'LIMIT', offset, MAX_LOOKS)
      for i = 1, #flat, 2 do
        add(list, { id = flat[i], score = number_of(tonumber(flat[i + 1])), lane = lane })
      end
    end
  end
  return sort(list)
end

-- Those of the candidates that may start at a provider, and the set of their ids.
local function candidates_of(room, list, provider)
  local own, is_listed = {}, {}
  for _, job in ipairs(list) do
    if provider_of(job.lane) == provider and has_room(room, job.lane) then
      add(own, job)
      is_listed[job.id] = true
    end
  end
  return own, is_listed
end

-- Chooses the probe of a provider whose pause is over: a job unlike those that were refused, if there is one. All other
-- jobs of the provider wait for it. If something speaks against each job, none of them is the probe for a while.
local function choose_probe(head, room, list, provider)
  local known, best = read_refusals(provider), { suspicion = 16 }
  local own, is_listed = candidates_of(room, list, provider)
  find_probe(head, known, own, best)
  if best.suspicion > 0 and #own >= MAX_LOOKS then -- mutant: further probes
    find_probe(head, known, next_page(head, room, provider, known), best)
  end
  if best.suspicion > 0 and head.time < tonumber(known.suspects_until or '0') then -- mutant: suspects wait
    prober[provider] = ''
    return
  end
  if best.job and not is_listed[best.job.id] then
    add(list, best.job)
    sort(list)
  end
  prober[provider] = best.job and best.job.id
end

-- Chooses the probes of all providers whose pause is over.
local function choose_probes(head, room, list)
  for provider, is_due in pairs(room.probe) do
    if is_due and room.provider[provider] > 0 then choose_probe(head, room, list, provider) end
  end
end

-- Whether a job waits, since another one is the probe of its provider.
local function is_behind_probe(job)
  local probe = prober[provider_of(job.lane)]
  if not probe or probe == job.id then return false end -- mutant: chosen probe
  -- What cannot start at all is dealt with all the same.
  return not job.f or job.is_fit
end

-- How little a job is fit to be the probe of its model, from 0: its user's jobs have failed, or it has failed itself. A
-- head start counts for nothing.
local function unfitness(known, f)
  local is_of_failing = failures_of(known, pair_of(f)) -- mutant: probe of a failing user
  local has_failed = (f.error_code or '') ~= '' -- mutant: probe that has failed
  return (is_of_failing and 2 or 0) + (has_failed and 1 or 0)
end

-- The model's circuit that a job could probe now; nil if there is none, or the job cannot start.
local function half_open_for(head, room, job)
  if not has_room(room, job.lane) or is_behind_probe(job) or not may_start(head, job) then return nil end
  local gate = circuit_gate(provider_of(job.lane), job.f.model)
  return head.gates[gate] and gate
end

-- Chooses the probe of each model whose circuit's time is over: the first job that is the least unfit.
local function choose_circuit_probes(head, room, list)
  if not has_half_open(head) then return end
  local best, known = {}, {}
  for _, job in ipairs(list) do
    local gate = half_open_for(head, room, job)
    if gate then
      known[gate] = known[gate] or read_all(runs_key(job.lane, job.f.model))
      local found = { id = job.id, unfitness = unfitness(known[gate], job.f) }
      if not best[gate] or found.unfitness < best[gate].unfitness then best[gate] = found end
    end
  end
  for gate, found in pairs(best) do
    prober[gate] = found.id
  end
end

-- Chooses all probes, for which each candidate is looked at. Returns the lines to start from.
local function choose_all_probes(head, room, lines)
  local is_needed = has_half_open(head)
  for _, is_due in pairs(room.probe) do
    is_needed = is_needed or is_due
  end
  if not is_needed then return lines end
  local list = {}
  for job in best_first(room, lines) do
    add(list, job)
  end
  choose_probes(head, room, list)
  choose_circuit_probes(head, room, list)
  return { { jobs = list, next = 1 } }
end
