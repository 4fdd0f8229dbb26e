-- claim: takes the best jobs that the limits allow, and hands overdue slots to this caller alone.
-- KEYS: index, stats, root, outbox
-- ARGV: token: name, now: moment, lease_now: moment?, lease: milliseconds, mark: count, want: count,
--       slot_limit: count, queue_limits: numbers, provider_limits: numbers, lanes: numbers,
--       check_interval: milliseconds, is_tick: flag, is_fair: flag
-- Returns: {{started ...}, {overdue ...}, missing, {expired ...}, parked, follow_ups}
--   started: {id, attempt, lane, model, input, owner, user, queue, deadline, probe}
--   overdue: {id, attempt, lane, state, prediction, submitted_at, cancel_requested, deadline}
--   expired: ids of jobs that have waited too long; they are left where they are
--   follow_ups: how much the outbox holds; told to a tick alone
-- probe: the gate that this submission tries, the provider's if it tries its model's circuit too; '' if none. The provider's
-- is removed when it was accepted, a circuit's when a run has succeeded.
-- A repeat with the same token answers the same started jobs: their slots end in the caller's `mark` (ms % 1000), which
-- picks the few whose token is worth reading.
local index, stats, jobs = key.index, key.stats, key.root .. 'j:'
local token, mark, want = arg.token, tonumber(arg.mark), tonumber(arg.want)
local concurrency, providers, lanes = numbers(arg.queue_limits), numbers(arg.provider_limits), numbers(arg.lanes)
local interval, is_tick = tonumber(arg.check_interval), arg.is_tick == '1'
local time = lease_time(arg.lease_now)
local MAX_EXPIRED = 100 -- of a tick
-- Slots of the same second and another mark belong to other claims.
local lease_until = math.floor((time + tonumber(arg.lease)) / 1000) * 1000 + mark

local head = read_head(index, tonumber(arg.slot_limit), want)
local replay, overdue, visible, due, alarms = {}, {}, {}, {}, {}
for _, row in ipairs(head.rows) do
  if row.band < READY then
    if row.ms % 1000 == mark and redis.call('HGET', jobs .. row.id, 'token') == token then
      replay[#replay + 1] = row
    elseif row.ms <= time and #overdue < want then
      overdue[#overdue + 1] = row
    end
  elseif row.band < DELAYED then
    local lane = row.band - READY
    visible[lane] = visible[lane] or {}
    table.insert(visible[lane], row)
  elseif row.band == DELAYED and row.ms <= time then
    due[#due + 1] = row
  elseif row.band == ALARMS and row.ms <= time then
    alarms[#alarms + 1] = row.id
  end
end

local START = {'attempt', 'lane', 'model', 'input', 'owner', 'user', 'queue', 'deadline', 'probe', 'state', 'adoption',
  'expire_at', 'score'}
local function start_row(id, attempt, f, probe)
  return {id, attempt, f.lane, f.model, f.input, f.owner, f.user, f.queue, f.deadline, probe}
end

if #replay > 0 then
  local started = {}
  for _, row in ipairs(replay) do
    local f = read(jobs .. row.id, unpack(START))
    if f.state == 'submitting' then started[#started + 1] = start_row(row.id, f.attempt, f, f.probe or '') end
  end
  return {started, {}, '0', {}, '0', '0'}
end

local moves, lost, expired = {}, {}, {}
local function lose(id)
  lost[#lost + 1] = id
  lost[#lost + 1] = '!' .. id
end
local function move(id, score)
  moves[#moves + 1] = score
  moves[#moves + 1] = id
end

local handed = {}
for _, row in ipairs(overdue) do
  local f = read(jobs .. row.id, 'attempt', 'state', 'prediction', 'submitted_at', 'cancel_requested', 'deadline')
  if f.attempt then
    handed[#handed + 1] = {row.id, f.attempt, text(row.band), f.state, f.prediction or '', f.submitted_at or '0',
      f.cancel_requested or '0', f.deadline}
    move(row.id, score_of(row.band, math.floor((time + interval) / 1000) * 1000))
  else
    lose(row.id)
  end
end

-- What has waited too long, whoever's turn it is.
if is_tick and not head.complete then
  alarms = redis.call('ZRANGEBYSCORE', index, score_of(ALARMS, 0), score_of(ALARMS, time), 'LIMIT', 0, MAX_EXPIRED)
end
local is_expired = {}
for _, alarm in ipairs(alarms) do
  local id = string.sub(alarm, 2)
  expired[#expired + 1], is_expired[id] = id, true
end

-- Candidates: the heads of each lane with room, and what is due again.
local room = read_room(head, tonumber(arg.slot_limit), concurrency, providers, time)
room.all = math.min(room.all, want)
local candidates = {}
if room.all > 0 then
  if not head.complete then
    due = {}
    local flat = redis.call('ZRANGEBYSCORE', index, score_of(DELAYED, 0), score_of(DELAYED, time), 'LIMIT', 0, want)
    for _, id in ipairs(flat) do due[#due + 1] = {id = id} end
  end
  for _, row in ipairs(due) do
    local f = read(jobs .. row.id, 'score', 'lane')
    if f.score then
      candidates[#candidates + 1] = {id = row.id, ms = tonumber(f.score), lane = tonumber(f.lane), due = true}
    else
      lose(row.id)
    end
  end
  for _, lane in ipairs(lanes) do
    if has_room(room, lane) then
      local need = math.min(room.all, room.queue[queue_of(lane)], room.provider[provider_of(lane)])
      local rows = visible[lane] or {}
      if #rows < need and not head.complete and head.last_band <= READY + lane then
        rows = {}
        local flat = redis.call('ZRANGEBYSCORE', index, score_of(READY + lane, 0), '(' .. score_of(READY + lane + 1, 0),
          'WITHSCORES', 'LIMIT', 0, need)
        for i = 1, #flat, 2 do rows[#rows + 1] = {id = flat[i], ms = ms_of(tonumber(flat[i + 1]))} end
      end
      for _, row in ipairs(rows) do candidates[#candidates + 1] = {id = row.id, ms = row.ms, lane = lane} end
    end
  end
end
table.sort(candidates, function(a, b) if a.ms ~= b.ms then return a.ms < b.ms end return a.id < b.id end)

-- Why a job may not start now although there is room: the circuit of its model is open, or another job is its probe.
local probed = {}
local function blocked_until(provider, model)
  local gate = circuit_of(provider, model)
  local open_until = head.gates[gate]
  if probed[gate] then return time + interval end
  if open_until and open_until > time then return open_until end
  return nil, open_until and gate or ''
end

local started, writes, requeued, parked, granted = {}, {}, {}, {}, {}
local tag = head.gates['~v'] or FIRST_TAG
for _, job in ipairs(candidates) do
  local provider = provider_of(job.lane)
  if has_room(room, job.lane) and not is_expired[job.id] then
    local f = read(jobs .. job.id, unpack(START))
    local open_until, probe = blocked_until(provider, f.model or '')
    if not f.attempt then
      lose(job.id)
    elseif tonumber(f.expire_at) <= time then
      expired[#expired + 1] = job.id
    elseif open_until then
      parked[#parked + 1] = {job.id, text(open_until)}
      move(job.id, score_of(DELAYED, open_until))
    else
      -- Until the probe has told, or could not tell any more, it is the only one; it may try a model and its provider.
      for _, gate in ipairs({probe, room.probe[provider] and '~p' .. text(provider) or ''}) do
        if gate ~= '' then
          probe, probed[gate] = gate, true
          move(gate, text(-BAND + lease_until))
        end
      end
      local attempt = text(tonumber(f.attempt) + 1)
      started[#started + 1] = start_row(job.id, attempt, f, probe)
      writes[#writes + 1] = {job.id, attempt, probe, text(lease_until + tonumber(f.adoption))}
      room.all = room.all - 1
      room.queue[queue_of(job.lane)] = room.queue[queue_of(job.lane)] - 1
      room.provider[provider] = room.provider[provider] - 1
      granted[provider] = (granted[provider] or 0) + 1
      tag = math.max(tag, job.ms)
      move(job.id, score_of(job.lane, lease_until))
    end
  elseif job.due then
    move(job.id, score_of(READY + job.lane, job.ms))
    requeued[#requeued + 1] = job.id
  end
end
for provider, count in pairs(granted) do
  move('~r' .. text(provider), bucket_after(head, providers, provider, count, time))
end
if #started > 0 and arg.is_fair == '1' then
  move('~v', text(-BAND + tag))
  move('~w', text(-BAND + time))
end

for _, write in ipairs(writes) do
  redis.call('HSET', jobs .. write[1], 'state', 'submitting', 'attempt', write[2], 'token', token, 'prediction', '',
    'lease_until', text(lease_until), 'adopt_until', write[4], 'submitted_at', arg.now, 'progress', '', 'probe', write[3])
end
for _, row in ipairs(handed) do redis.call('HSET', jobs .. row[1], 'checked_at', arg.now) end
for _, id in ipairs(requeued) do redis.call('HSET', jobs .. id, 'state', 'queued') end
for _, job in ipairs(parked) do
  redis.call('HSET', jobs .. job[1], 'state', 'delayed', 'due_at', job[2], 'snooze_code', 'circuit_open')
end
if #moves > 0 then redis.call('ZADD', index, unpack(moves)) end
if #lost > 0 then
  redis.call('ZREM', index, unpack(lost))
  redis.call('HINCRBY', stats, 'missing', #lost / 2)
end
if is_tick then
  redis.call('HSET', stats, 'tick_at', text(time))
  -- A circuit that nobody has tried for an hour is no news any more.
  local old = {}
  for gate, open_until in pairs(head.gates) do
    if string.sub(gate, 1, 2) == '~o' and open_until < time - 3600000 then old[#old + 1] = gate end
  end
  if #old > 0 then redis.call('ZREM', index, unpack(old)) end
end
local follow_ups = is_tick and redis.call('ZCARD', key.outbox) or 0
return {started, handed, text(#lost / 2), expired, text(#parked), text(follow_ups)}
