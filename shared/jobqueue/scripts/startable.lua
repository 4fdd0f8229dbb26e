-- Which job could have started the longest ago. A verb that uses this names index and root, and the argument lanes.
-- `limits` are those of the deployment, as read_room takes them; `time` is the store's.

-- Since when a lane's provider could take a submission: the end of its pause, or its last missing token.
local function open_since(head, limits, lane)
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
local function first_jobs(head, room, time)
  local found = {}
  if room.all <= 0 then return found end
  for _, lane in ipairs(numbers(arg.lanes)) do
    if has_room(room, lane) then found[#found + 1] = first_of(head, READY + lane, BAND) end
  end
  found[#found + 1] = first_of(head, DELAYED, time + 1)
  return found
end

-- Since when a job could have started; nil if it cannot start now.
local function startable_since(head, room, limits, f, time)
  local lane = tonumber(f.lane)
  if not lane or not has_room(room, lane) then return nil end
  local open_until = head.gates[circuit_gate(provider_of(lane), f.model)] or 0
  open_until = math.max(open_until, head.gates[own_circuit_gate(provider_of(lane), f.model, f.share)] or 0)
  if open_until > time then return nil end -- mutant: could start
  local came_at = tonumber(f.state == 'delayed' and f.due_at or f.created_at)
  return math.max(came_at, open_until, open_since(head, limits, lane))
end

-- The job that could have started the longest ago, and when; '' for both if none can start now.
local function oldest_startable(head, limits, time)
  local room, job, since = read_room(head, limits, time), '', nil
  for _, id in ipairs(first_jobs(head, room, time)) do
    local f = read(job_key(id), 'lane', 'model', 'share', 'state', 'created_at', 'due_at')
    local moment = startable_since(head, room, limits, f, time)
    if moment and moment < (since or math.huge) then
      job, since = id, moment
    end
  end
  return job, since and text(since) or ''
end

-- All gates that a head has, as a flat list of names and values.
local function gates_of(head)
  local flat = {}
  for name, value in pairs(head.gates) do
    add(flat, name, text(value))
  end
  return flat
end
