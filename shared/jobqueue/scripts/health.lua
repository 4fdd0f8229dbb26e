-- health: what keeps jobs from their providers. It changes nothing, and costs the same however long the queue is.
-- With: keys, room
-- KEYS: index, stats, lost, root
-- ARGV: lease_now: moment?, slot_limit: count, queue_limits: numbers, provider_limits: numbers, lanes: numbers
-- Returns: {tick_at: moment?, job: text, since: moment?, gates: counts, unknown: count, webhook_refused_at: moment?}
-- job, since: the job that could have started the longest ago, and when; '' if none can start now.
-- unknown: how many submissions have an unknown outcome.
-- webhook_refused_at: when a webhook with a right nonce was last refused for its signature.
local limits = {
  slots = tonumber(arg.slot_limit),
  queues = numbers(arg.queue_limits),
  providers = numbers(arg.provider_limits),
}
local time = lease_time(arg.lease_now)

-- Since when a lane's provider could take a submission: the end of its pause, or its last missing token.
local function open_since(head, lane)
  local provider = provider_of(lane)
  local interval, burst = unpack(limits.providers, 3 * provider + 2, 3 * provider + 3)
  local full_at = head.gates[bucket_gate(provider)] or 0
  return math.max(full_at - (burst - 1) * interval, head.gates[pause_gate(provider)] or 0)
end

-- The first job of a band whose number is below `limit`; nil if there is none. A complete head needs no further read.
local function first_of(head, band, limit)
  if not head.complete then
    local first, last = score_of(band, 0), '(' .. score_of(band, limit)
    return redis.call('ZRANGEBYSCORE', key.index, first, last, 'LIMIT', 0, 1)[1]
  end
  local part = part_in(head, band)
  local row = part and row_at(part, part.first)
  return row and row.ms < limit and row.id or nil
end

-- The first ready job of each lane that has room, and the first retry that is due.
local function candidates(head, room)
  local found = {}
  if room.all <= 0 then return found end
  for _, lane in ipairs(numbers(arg.lanes)) do
    if has_room(room, lane) then found[#found + 1] = first_of(head, READY + lane, BAND) end
  end
  found[#found + 1] = first_of(head, DELAYED, time + 1)
  return found
end

-- Since when a job could have started; nil if it cannot start now.
local function startable_since(head, room, f)
  local lane = tonumber(f.lane)
  if not lane or not has_room(room, lane) then return nil end
  local open_until = head.gates[circuit_gate(provider_of(lane), f.model)] or 0
  open_until = math.max(open_until, head.gates[own_circuit_gate(provider_of(lane), f.model, f.share)] or 0)
  if open_until > time then return nil end -- mutant: could start
  local came_at = tonumber(f.state == 'delayed' and f.due_at or f.created_at)
  return math.max(came_at, open_until, open_since(head, lane))
end

-- The job that could have started the longest ago, and when.
local function oldest(head, room)
  local job, since = '', nil
  for _, id in ipairs(candidates(head, room)) do
    local moment =
      startable_since(head, room, read(job_key(id), 'lane', 'model', 'share', 'state', 'created_at', 'due_at'))
    if moment and moment < (since or math.huge) then
      job, since = id, moment
    end
  end
  return job, since and text(since) or ''
end

-- All gates, as a flat list of names and values.
local function gates_of(head)
  local flat = {}
  for name, value in pairs(head.gates) do
    add(flat, name, text(value))
  end
  return flat
end

local head = read_head(limits.slots, 1)
local job, since = oldest(head, read_room(head, limits, time))
local f = read(key.stats, 'tick_at', 'webhook_refused_at')
local unknown = redis.call('ZCOUNT', key.lost, 0, '+inf')
return { f.tick_at or '', job, since, gates_of(head), unknown, f.webhook_refused_at or '' }
