-- Jobs that cannot start at the moment leave their seats to jobs of the same user that can, and the slots of their API
-- key to held jobs that can. Those cannot whose queue or provider is paused, or whose circuit is open. A verb that uses
-- this names index, stats, root, user_limit and now.
local MAX_LOOKED = 20 -- of a user's waiting tasks
local MAX_PASSED = 10 -- held jobs of a key that one look passes, since they have moved on or cannot start

-- Whether a job cannot start because of what the gates say.
local function is_shut(gates, f, now)
  local lane = tonumber(f.lane)
  local queue, provider = queue_of(lane), provider_of(lane)
  if gates['=q' .. text(queue)] == 0 or gates['=p' .. text(provider)] == 0 then return true end
  for _, gate in ipairs({ pause_gate(provider), circuit_gate(provider, f.model) }) do
    if (gates[gate] or 0) > now then return true end
  end
  return (gates[own_circuit_gate(provider, f.model, f.share)] or 0) > now -- mutant: own circuit is shut
end

-- Whether a gate may keep jobs of this user from starting; of any user without a `share`.
local function is_shutting(gate, value, now, share)
  local kind = string.sub(gate, 1, 2)
  if kind == '=q' or kind == '=p' then return value == 0 end
  if (kind ~= '~p' and kind ~= '~o') or value <= now then return false end
  local owner = string.match(gate, '|(.*)$')
  return not (owner and share) or owner == share
end

-- Whether there may be jobs of this user that cannot start; of any user without a `share`.
local function is_any_shut(gates, now, share)
  for gate, value in pairs(gates) do
    if is_shutting(gate, value, now, share) then return true end
  end
  return false
end

-- The gates, read alone.
local function read_gates()
  local gates = from_pairs(all_gates())
  for name, value in pairs(gates) do
    gates[name] = tonumber(value)
  end
  return gates
end

-- Whether a job is put aside until what stops it may be over, and not since it is at fault itself.
local function is_aside(f)
  local is_of_key = f.snooze_code == 'key_limit'
  return f.state == 'delayed' and (f.snooze_code or '') ~= '' and not is_of_key and (f.faults or '0') == '0'
end

-- The seated jobs of a user that cannot start, worst first. One that waits for a retry keeps its seat.
local function idle_of(user, gates, now)
  return seated_of(user, function(f)
    return (f.state == 'queued' or is_aside(f)) and is_shut(gates, f, now) -- mutant: may leave its seat
  end)
end

-- Up to MAX_LOOKED of a user's waiting tasks, best first, and others each time.
local function some_waiting(set, now)
  local pages = math.ceil(redis.call('ZCOUNT', set, 0, '+inf') / MAX_LOOKED)
  local offset = pages > 1 and MAX_LOOKED * (now % pages) or 0 -- mutant: page of what waits
  return redis.call('ZRANGEBYSCORE', set, 0, '+inf', 'LIMIT', text(offset), MAX_LOOKED)
end

-- The next job of a waiting task, if it could start.
local function next_able(member, gates, now)
  local id = member
  if string.sub(member, 1, 1) == '#' then
    id = redis.call('ZRANGEBYSCORE', batch_queue_key(string.sub(member, 2)), 0, '+inf', 'LIMIT', 0, 1)[1]
  end
  local f = id and read(job_key(id), 'state', 'lane', 'model', 'share') or {}
  return f.state == 'backlog' and not is_shut(gates, f, now) and id or nil
end

-- Gives a seat to the next job of a waiting task: a free one, or that of an idle job.
local function seat_next(set, user, member, id)
  -- First: the idle job may be of the same batch, and then is the next of it.
  if id ~= member then next_of_batch(set, member) end -- mutant: next of its batch
  if user.free == 0 then
    local idle = table.remove(user.idle, 1)
    demote(set, idle.id, idle.f) -- mutant: idle job
  else
    user.free = user.free - 1
  end
  take_seat(set, id)
end

-- Gives seats to those waiting jobs that could start, as far as seats are free or belong to jobs that cannot.
local function seat_able(set, user, gates, now)
  user.free = math.max(0, user.cap - #user.seated)
  user.idle = #user.seated <= user.cap and idle_of(user, gates, now) or {}
  for _, member in ipairs(user.free + #user.idle > 0 and some_waiting(set, now) or {}) do
    repeat -- a batch has further jobs, until it has none
      if user.free + #user.idle == 0 then return end
      local id = next_able(member, gates, now)
      if id then seat_next(set, user, member, id) end
    until not id or id == member
  end
end

-- Gives seats to the waiting jobs of a user that could start, also those of jobs that cannot. Returns the user as it
-- was read, if that still holds.
local function yield_seats(set)
  local now, user = tonumber(arg.now), read_user(set, tonumber(arg.user_limit))
  if #user.waiting == 0 then return user end
  local gates = read_gates()
  if not is_any_shut(gates, now) then return user end
  seat_able(set, user, gates, now)
  return nil
end

-- Whether a job waits for a slot of its API key.
local function is_held(f) return f.state == 'delayed' and f.snooze_code == 'key_limit' end

-- Whether a job that was held is ready for a free slot of its API key. If it does not start, another one may.
local function is_released(f) return f.state == 'queued' and f.snooze_code == 'key_limit' end

-- Makes the best held job of an API key ready that could start. Better ones that cannot start are ready too: they wait
-- for what stops them, and no longer for the key.
local function release_next(owner)
  local held, gates = held_key(owner), nil
  for _, id in ipairs(redis.call('ZRANGE', held, 0, MAX_PASSED - 1)) do
    local job, is_able = read(job_key(id), 'state', 'snooze_code', 'lane', 'score', 'model', 'share'), false
    if is_held(job) then
      gates = gates or read_gates()
      is_able = not is_shut(gates, job, tonumber(arg.now)) -- mutant: held job that can start
      redis.call('HSET', job_key(id), 'state', 'queued', 'snooze_code', is_able and 'key_limit' or '')
      redis.call('ZADD', key.index, score_of(READY + tonumber(job.lane), tonumber(job.score)), id)
    end
    redis.call('ZREM', held, id)
    if is_able then return end -- mutant: one held job
  end
end

-- Makes a held job ready, after another job `f` of its API key has left its slot. Only a job that was started while a
-- key might not have all slots is `bounded`.
local function release_held(f)
  if f.bounded == '1' then release_next(f.owner) end -- mutant: held job released
end
