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
local MIN_PAGE = 50 -- rows of a further page, besides those of the next jobs

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

-- Counts slots of a lane in what a head knows.
local function note_slots(head, lane, count)
  local queue, provider = queue_of(lane), provider_of(lane)
  head.slots, head.by_lane[lane] = head.slots + count, (head.by_lane[lane] or 0) + count
  head.by_queue[queue] = (head.by_queue[queue] or 0) + count
  head.by_provider[provider] = (head.by_provider[provider] or 0) + count
end

-- Where in a sorted reply WITHSCORES the last member below a score is, from `first` to `last`; before `first` if there
-- is none.
local function last_below(flat, first, last, score)
  if last < first or tonumber(flat[last + 1]) < score then return last end
  local below = first - 2
  while last - below > 2 do
    local middle = below + 2 * math.floor((last - below) / 4)
    if tonumber(flat[middle + 1]) < score then
      below = middle
    else
      last = middle
    end
  end
  return below
end

-- How many members a part of a head has.
local function count_of(part) return (part.last - part.first) / 2 + 1 end

-- Sorts a page of the index into what a head knows: gates, and the part of each band, none of whose rows is looked at.
local function note_page(head, flat)
  local first = 1
  while flat[first] do
    local score = tonumber(flat[first + 1])
    local band, last = band_of(score), first
    head.last_band = band
    if band == HISTORY then return end -- the last band, and it can be long
    if band < 0 then
      head.gates[flat[first]] = score - band * BAND
    else
      last = last_below(flat, first, #flat - 1, (band + 1) * BAND)
      head.parts[#head.parts + 1] = { band = band, flat = flat, first = first, last = last }
      if band < READY then note_slots(head, band, count_of(head.parts[#head.parts])) end
    end
    first = last + 2
  end
end

-- The number behind those slots of a lane that are not worth reading, if a page ends with the number `last`; nil if
-- the next one is.
local function number_behind(last, kept)
  if last < kept.first then return kept.first end
  return last > kept.last and BAND or nil
end

-- The rank behind a page that ends among the slots of a lane, and behind those of its slots that are not worth reading:
-- they are counted.
local function rank_behind(head, rank, kept)
  local part, lane = head.parts[#head.parts], head.last_band
  if lane < 0 then return rank end
  local behind = number_behind(tonumber(part.flat[part.last + 1]) - lane * BAND, kept)
  if not behind then return rank end
  local below = redis.call('ZCOUNT', key.index, score_of(lane, 0), '(' .. score_of(lane, behind))
  local skipped = below - head.by_lane[lane]
  note_slots(head, lane, skipped) -- mutant: slots between pages
  return rank + skipped
end

-- No number of a lane's slots is worth reading, and each of them.
local function none() return { first = BAND, last = BAND } end
local function all() return { first = 0, last = BAND } end

-- The head of the index: gates, slots, and at least `more` of the next jobs. `parts` has its bands, as places of a
-- reply; `complete` if no job is behind it. A page has up to MAX_HEAD rows. Where more slots are taken, the others are
-- counted and not read, except for those of a lane with the numbers that `kept` returns, from `first` to `last`.
local function read_head(limit, more, kept)
  local head = { parts = {}, slots = 0, by_lane = {}, by_queue = {}, by_provider = {}, gates = {}, last_band = -1 }
  local rank, size = 0, limit + more + MAX_GATES
  if kept ~= all then size = math.min(size, MAX_HEAD) end
  local is_amid_slots
  repeat
    local flat = redis.call('ZRANGE', key.index, rank, rank + size - 1, 'WITHSCORES')
    note_page(head, flat)
    head.complete = #flat / 2 < size or head.last_band >= ALARMS
    is_amid_slots = not head.complete and head.last_band < READY
    if is_amid_slots then
      rank = rank_behind(head, rank + size, (kept or none)())
      size = math.min(MAX_HEAD, math.max(limit - head.slots, MIN_PAGE) + more)
    end
  until not is_amid_slots
  return head
end

-- The part of a head in a band; nil if it has none. A lane with many slots may have two parts; this is the first.
local function part_in(head, band)
  for _, part in ipairs(head.parts) do
    if part.band == band then return part end
  end
  return nil
end

-- How many members a part has whose numbers are up to a limit.
local function count_to(part, limit)
  return (last_below(part.flat, part.first, part.last, part.band * BAND + limit + 1) - part.first) / 2 + 1
end

-- A row of a part: id, band and number.
local function row_at(part, place)
  return { id = part.flat[place], band = part.band, ms = tonumber(part.flat[place + 1]) - part.band * BAND }
end

-- The first rows of a part whose numbers are up to a limit, at most `count`.
local function first_rows(part, limit, count)
  local rows, place = {}, part.first
  while place <= part.last and #rows < count do
    local row = row_at(part, place)
    if row.ms > limit then break end
    rows[#rows + 1], place = row, place + 2
  end
  return rows
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
