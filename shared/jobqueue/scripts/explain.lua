-- explain: a job, why it waits and for how long. At most four commands, five of a job in a backlog, however long the
-- queue is.
-- With: keys, room, users, runs
-- KEYS: index, job, root
-- ARGV: id: name, slot_limit: count, user_limit: count, names: names...
-- Returns: {values: values, outlook: row}
--   outlook: {position: count?, p50: count, p90: count, slots: count?, of_queue: count?, of_provider: count?,
--       at_provider: count?, in_all: count?, seats: count?, cap: count?, gates: counts}
-- values: of the job's fields `names`, in their order.
-- outlook: as far as it is known; {} for a job that has ended.
-- position: among the ready jobs of its queue; in a backlog among the user's own, or the batch's; '' for other jobs.
-- at_provider, in_all: how many ready jobs of its provider, and of all, come before it, itself included; as far as the
-- head of the index goes.
local MAX_SEEN = 200 -- of the next jobs are looked at one by one; those behind them are counted
local NO_LOAD = { '', '', '', '', '' } -- where the head is not read
local NEEDED = { 'state', 'lane', 'score', 'owner', 'user', 'model', 'p50', 'p90', 'batch' }

-- The values of the fields that the caller names, and the fields that are needed here.
local function read_job()
  local names, values = rest.names, {}
  local asked = #names
  add(names, unpack(NEEDED))
  local found, f = redis.call('HMGET', key.job, unpack(names)), {}
  for i, name in ipairs(names) do
    if i <= asked then values[i] = found[i] or false end
    if found[i] then f[name] = found[i] end
  end
  return values, f
end

-- How many jobs of a part come before this one, itself included; and whether it is one of them.
local function count_before(part, score)
  local before = count_to(part, score - 1)
  local place = part.first + 2 * before
  while place <= part.last do
    local row = row_at(part, place)
    if row.ms > score or row.id > arg.id then break end
    before, place = before + 1, place + 2
    if row.id == arg.id then return before, true end
  end
  return before, false
end

-- How many ready jobs come before this one, itself included: of its lane, its queue, its provider, and of all. Also
-- whether the head reaches it.
local function places_in_head(head, f)
  local lane, score = tonumber(f.lane), tonumber(f.score)
  local places = { lane = 0, queue = 0, provider = 0, all = 0, is_seen = false }
  for _, part in ipairs(head.parts) do
    if part.band >= READY and part.band < DELAYED then
      local other, before, is_seen = part.band - READY, count_before(part, score)
      places.all, places.is_seen = places.all + before, places.is_seen or is_seen
      if other == lane then places.lane = places.lane + before end
      if queue_of(other) == queue_of(lane) then places.queue = places.queue + before end
      if provider_of(other) == provider_of(lane) then places.provider = places.provider + before end
    end
  end
  return places
end

-- What a head says of all that may hold a job up: slots, those of its queue and its provider, places, and the gates.
local function load_of(head, places, f)
  local lane, gates = tonumber(f.lane), {}
  for name, value in pairs(head.gates) do
    add(gates, name, text(value))
  end
  local of_queue, of_provider = head.by_queue[queue_of(lane)] or 0, head.by_provider[provider_of(lane)] or 0
  return { text(head.slots), text(of_queue), text(of_provider), text(places.provider), text(places.all) }, gates
end

-- A job's outlook, in the order of the header.
local function outlook(position, p50, p90, load, seats, gates)
  local row = { position, p50, p90 }
  add(row, unpack(load))
  add(row, unpack(seats))
  add(row, gates)
  return row
end

-- The position of a job in the backlog: among those of its user, or of its batch.
local function place_in_backlog(f, user, set)
  local score, position = tonumber(f.score), 1
  if f.batch or not user.complete then
    return redis.call('ZCOUNT', f.batch and batch_queue_key(f.batch) or set, 0, text(score))
  end
  for _, job in ipairs(user.waiting) do
    if job.id ~= arg.id and job.score <= score then position = position + 1 end
  end
  return position
end

-- The outlook of a job in the backlog. The times are those that were noted at submit, if any were. Where the place was
-- counted and the times were not noted, the head is left out, and only the user's own jobs count.
local function outlook_in_backlog(f)
  local set, p50, p90 = user_key(f.owner, f.user), f.p50 or '0', f.p90 or '0'
  local user = read_user(set, tonumber(arg.user_limit))
  local position = place_in_backlog(f, user, set)
  local seats = { text(#user.seated), text(user.cap) }
  if p50 == '0' then
    p50, p90 = usual_times(runs_key(tonumber(f.lane), f.model))
    if f.batch or not user.complete then return outlook(text(position), p50, p90, NO_LOAD, seats, {}) end
  end
  local head = read_head(tonumber(arg.slot_limit), MAX_SEEN)
  local load, gates = load_of(head, places_in_head(head, f), f)
  return outlook(text(position), p50, p90, load, seats, gates)
end

-- The outlook of a ready job, with all that may hold it up.
local function outlook_of_ready(f)
  local lane, score, p50, p90 = tonumber(f.lane), tonumber(f.score), f.p50 or '0', f.p90 or '0'
  local head = read_head(tonumber(arg.slot_limit), MAX_SEEN)
  local places = places_in_head(head, f)
  if places.is_seen or head.complete then
    p50, p90 = usual_times(runs_key(lane, f.model))
  else
    -- Jobs of the queue at other providers are left out here.
    local exact = redis.call('ZCOUNT', key.index, score_of(READY + lane, 0), score_of(READY + lane, score))
    local more = exact - places.lane
    places.queue, places.provider, places.all = exact, places.provider + more, places.all + more
  end
  local load, gates = load_of(head, places, f)
  return outlook(text(places.queue), p50, p90, load, { '', '' }, gates)
end

local values, f = read_job()
if not f.state or f.state == 'done' then return { values, {} } end
if f.state == 'backlog' then return { values, outlook_in_backlog(f) } end
if f.state == 'queued' then return { values, outlook_of_ready(f) } end
local p50, p90 = usual_times(runs_key(tonumber(f.lane), f.model))
return { values, outlook('', p50, p90, NO_LOAD, { '', '' }, {}) }
