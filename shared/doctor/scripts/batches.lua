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

-- The jobs of a batch that it must know the end of, or have in its queue, and does not.
local function unknown_members(id, b, queue)
  local unknown = {}
  for number = 0, tonumber(b.expected) - 1 do
    local job = b['i' .. text(number)] or id .. '_' .. text(number)
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

-- All faults of a batch, and its record.
local function faults_of_batch(id)
  local b, queue, gone, live = read_all(batch_key(id)), queue_of_batch(id)
  if not b.owner then return live > 0 and { 'no_batch:' .. id } or {}, b end
  local faults = {}
  for _, job in ipairs(lost_members(id, b, queue, gone)) do
    add(faults, 'lost_member:' .. job)
  end
  local is_over = live == 0 and #faults == 0
  if is_over and not b.ended_at then add(faults, 'not_ended:' .. id) end -- mutant: not ended
  local lifetime = lifetime_fault(id, b)
  if lifetime then add(faults, lifetime) end
  return faults, b
end
