-- How much room there is: the head of the index, its gates, and what they leave for new submissions.
--
-- Gates are members of the index below zero, so that a claim reads them for nothing with the head:
--   =s =q<queue> =p<provider>   live limits
--   ~p<provider>                the provider is paused until then; after that, one submission is the probe
--   ~r<provider>                the token bucket, as the moment when it will be full
--   ~o<provider>:<model>        the model's circuit is open until then; after that, one job is the probe
--   ~o<provider>:<model>|<share>  the same for the jobs of one user
--   ~s<policy>                  jobs may wait with scores of this policy: 0 while the deployment has it, and for some
--                               time after that, until then; see claim.lua
--   ~v ~w                       virtual time, which is the tag of the last grant, and when that was (fair policy)
local VIRTUAL_TIME, GRANTED_AT = '~v', '~w'

local function pause_gate(provider) return '~p' .. text(provider) end
local function scale_gate(policy) return '~s' .. policy end
local function bucket_gate(provider) return '~r' .. text(provider) end
local function circuit_gate(provider, model) return '~o' .. text(provider) .. ':' .. run_of(model) end
local function own_circuit_gate(provider, model, share) return circuit_gate(provider, model) .. '|' .. (share or '') end

-- Whether a score was made by another policy, and is so high that all later jobs would go before it. `ceiling` is in
-- hundredths of the present moment.
local function is_foreign(score, now)
  return arg.ceiling ~= '' and score * 100 > tonumber(arg.ceiling) * now -- mutant: scale
end

-- Counts a slot in what a head knows.
local function note_slot(head, lane)
  local queue, provider = queue_of(lane), provider_of(lane)
  head.slots = head.slots + 1
  head.by_queue[queue] = (head.by_queue[queue] or 0) + 1
  head.by_provider[provider] = (head.by_provider[provider] or 0) + 1
end

-- The head of the index: gates, up to `limit` slots, and at least `more` of the next jobs. `complete` if no job is
-- behind it.
local function read_head(limit, more)
  local size = limit + more
  local flat = redis.call('ZRANGE', key.index, 0, size + MAX_GATES - 1, 'WITHSCORES')
  local head = { rows = {}, slots = 0, by_queue = {}, by_provider = {}, gates = {}, last_band = -1 }
  for i = 1, #flat, 2 do
    local score = tonumber(flat[i + 1])
    local band = band_of(score)
    head.last_band = band
    if band == HISTORY then break end -- the last band, and it can be long
    if band < 0 then
      head.gates[flat[i]] = score - band * BAND
    else
      head.rows[#head.rows + 1] = { id = flat[i], band = band, ms = score - band * BAND }
      if band < READY then note_slot(head, band) end
    end
  end
  head.complete = #flat / 2 < size + MAX_GATES or head.last_band >= ALARMS
  -- A live limit above the configured one has let more slots be taken than were read.
  if not head.complete and head.last_band < READY then return read_head(2 * limit + MAX_GATES, more) end
  return head
end

-- How many jobs a provider can take now, and whether the next one is the probe that may end its pause. `limits` has
-- three numbers for each provider: concurrency, ms a token, and burst.
local function provider_room(head, limits, provider, time)
  local concurrency, interval, burst = unpack(limits, 3 * provider + 1, 3 * provider + 3)
  local full_at = math.max(head.gates[bucket_gate(provider)] or 0, time)
  local tokens = math.max(0, math.floor((time + (burst - 1) * interval - full_at) / interval) + 1)
  local free = (head.gates['=p' .. text(provider)] or concurrency) - (head.by_provider[provider] or 0)
  local left = math.min(free, tokens)
  local paused_until = head.gates[pause_gate(provider)]
  if not paused_until then return left, false end -- mutant: pause
  if paused_until > time then return 0, false end
  return math.min(left, 1), true
end

-- How many more jobs may start now: in all, of each queue, at each provider; and where the next one would be a probe.
local function read_room(head, limits, time)
  local room = { queue = {}, provider = {}, probe = {} }
  room.all = (head.gates['=s'] or limits.slots) - head.slots -- mutant: system limit
  for queue = 0, #limits.queues - 1 do
    local limit = head.gates['=q' .. text(queue)] or limits.queues[queue + 1] -- mutant: live queue limit
    room.queue[queue] = limit - (head.by_queue[queue] or 0) -- mutant: queue limit
  end
  for provider = 0, #limits.providers / 3 - 1 do
    room.provider[provider], room.probe[provider] = provider_room(head, limits.providers, provider, time)
  end
  return room
end

-- A moment of the store's clock that has surely passed: a provider's token was taken then, or later. So a verb that
-- reads no TIME notices most copies that come late.
local function passed_moment(head, limits)
  local latest = 0
  for provider = 0, #limits.providers / 3 - 1 do
    local full_at = head.gates[bucket_gate(provider)] or 0
    local interval, burst = unpack(limits.providers, 3 * provider + 2, 3 * provider + 3)
    latest = math.max(latest, full_at - burst * interval)
  end
  return latest
end

-- Whether a job of a lane may start.
local function has_room(room, lane)
  local of_queue, of_provider = room.queue[queue_of(lane)] or 0, room.provider[provider_of(lane)] or 0
  return room.all > 0 and of_queue > 0 and of_provider > 0 -- mutant: room of the queue
end

-- The gate of a provider's token bucket after `count` more submissions.
local function bucket_after(head, limits, provider, count, time)
  local full_at = math.max(head.gates[bucket_gate(provider)] or 0, time)
  return gate_score(full_at + count * limits.providers[3 * provider + 2])
end

-- How many jobs wait: ready ones, delayed ones and all backlogs.
local function count_waiting()
  local first, last = score_of(READY, 0), '(' .. score_of(ALARMS, 0)
  return redis.call('ZCOUNT', key.index, first, last)
end

-- All gates, as a flat list of names and values.
local function all_gates()
  local gates = redis.call('ZRANGEBYSCORE', key.index, '-inf', '(0', 'WITHSCORES')
  for i = 2, #gates, 2 do
    gates[i] = text(tonumber(gates[i]) + BAND)
  end
  return gates
end
