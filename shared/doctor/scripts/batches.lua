-- What contradicts the record of a batch. A verb that uses this names root. Faults are written as in faults.lua.
local MAX_LOST = 20 -- members of a batch that are named

-- The jobs that a batch's queue names as live, by id, those of them without a record, and their number.
local function queue_of_batch(id)
  local queue, gone, keys = {}, {}, {}
  for _, job in ipairs(redis.call('ZRANGE', batch_queue_key(id), 0, -1)) do
    queue[job] = true
    add(keys, job_key(job))
  end
  if #keys == 0 or redis.call('EXISTS', unpack(keys)) == #keys then return queue, gone, #keys end
  for job in pairs(queue) do
    if redis.call('EXISTS', job_key(job)) == 0 then add(gone, job) end -- mutant: member without a record
  end
  return queue, gone, #keys
end

-- The current job of a number of a batch.
local function member_of(id, b, number) return b['i' .. text(number)] or id .. '_' .. text(number) end

-- The jobs of a batch that it must know the end of, or have in its queue, and does not.
local function unknown_members(id, b, queue)
  local unknown = {}
  for number = 0, tonumber(b.expected) - 1 do
    local job = member_of(id, b, number)
    if not b['s' .. text(number)] and not queue[job] then add(unknown, job) end -- mutant: unknown member
  end
  return unknown
end

-- The time to live of a batch: one that has ended has one, and no other.
local function lifetime_fault(id, b)
  local left = redis.call('TTL', batch_key(id))
  if b.ended_at and left == -1 then return 'no_ttl:batch' end -- mutant: ended batch
  if not b.ended_at and left >= 0 then return 'ttl_on_live:' .. text(left) end -- mutant: live batch
  return nil
end

-- The jobs that a batch has lost.
local function lost_members(id, b, queue, gone)
  local lost = { unpack(gone, 1, MAX_LOST) }
  if b.ended_at then return lost end
  for _, job in ipairs(unknown_members(id, b, queue)) do
    if #lost < MAX_LOST then add(lost, job) end
  end
  return lost
end

-- A job of a batch that has a record, or the first one: by it the sweep's verb ends the batch.
local function job_to_end_by(id, b)
  for number = 0, tonumber(b.expected) - 1 do
    local job = member_of(id, b, number)
    if redis.call('EXISTS', job_key(job)) == 1 then return job end -- mutant: a job that is there
  end
  return member_of(id, b, 0)
end

-- The first waiting job of a live batch that its user's set has lost, or the first job; nil if the set has it.
local function unmarked_job(id, b)
  if redis.call('ZSCORE', user_key(b.owner, b.user), '#' .. id) then return nil end -- mutant: marker of a batch
  local queue = batch_queue_key(id)
  return redis.call('ZRANGEBYSCORE', queue, 0, '+inf', 'LIMIT', 0, 1)[1] or redis.call('ZRANGE', queue, 0, 0)[1]
end

-- The pending events of a batch that no delivery lane has; each end is an event of its own.
local function lost_events_of_batch(id, b)
  local lost = {}
  for name in pairs(b) do
    local event = string.match(name, '^s:(batch%d*)$')
    if event and is_event_lost(b, event, id) then add(lost, event) end -- mutant: lost event of a batch
  end
  table.sort(lost)
  return lost
end

-- The fault of a batch that has no end: it should have one, or its user's set has lost it.
local function fault_without_end(id, b, live, has_lost)
  if b.ended_at then return nil end
  if live == 0 and not has_lost then return 'not_ended:' .. job_to_end_by(id, b) end -- mutant: not ended
  local unmarked = live > 0 and unmarked_job(id, b)
  return unmarked and 'unmarked_batch:' .. unmarked or nil
end

-- All faults of a batch, and its record.
local function faults_of_batch(id)
  local b, queue, gone, live = read_all(batch_key(id)), queue_of_batch(id)
  if not b.owner then return live > 0 and { 'no_batch:' .. id } or {}, b end
  local faults = {}
  for _, job in ipairs(lost_members(id, b, queue, gone)) do
    add(faults, 'lost_member:' .. job)
  end
  local endless = fault_without_end(id, b, live, #faults > 0)
  if endless then add(faults, endless) end
  local lifetime = lifetime_fault(id, b)
  if lifetime then add(faults, lifetime) end
  for _, event in ipairs(lost_events_of_batch(id, b)) do
    add(faults, 'lost_event:' .. event)
  end
  return faults, b
end
