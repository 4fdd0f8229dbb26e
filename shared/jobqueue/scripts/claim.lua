-- claim: takes the best jobs that the limits allow, and hands overdue slots to this caller alone.
-- With: keys, room, pauses, users, shares, runs, probes, seats, yielding
-- KEYS: index, stats, root, outbox
-- ARGV: token: name, now: moment, lease_now: moment?, sent_at: moment, patience: milliseconds,
--       ticket_age: milliseconds, lease: milliseconds, mark: count, want: count, slot_limit: count,
--       queue_limits: numbers, provider_limits: numbers, lanes: numbers, check_interval: milliseconds,
--       key_tasks: count?, is_tick: flag, is_fair: flag, scale: text, ceiling: count?
-- Returns: {started: rows, overdue: rows, missing: count, expired: names, parked: count, follow_ups: count,
--       stuck: names, foreign: names, late_at: moment?}
--   started: {id: name, attempt: count, provider: provider, model: name, input: text, owner: name, user: name,
--       queue: name, deadline: seconds, probe: text, incarnation: text}
--   overdue: {id: name, attempt: count, provider: provider, state: name, prediction: text, submitted_at: moment,
--       cancel_requested: flag, deadline: seconds, incarnation: text}
-- expired: ids of jobs that have waited too long, or are over although the index has them; they stay where they are.
-- follow_ups: how many rows the outbox holds; 0 unless a tick asks.
-- stuck: users, as `owner:user`, whose seats some jobs hold that cannot start now, while others wait for them.
-- foreign: waiting jobs, as `owner:user|id`, whose scores another policy made; a rehome gives them scores of this one.
-- late_at: the store's time, if its caller has given this claim up; it takes nothing.
-- scale: the policy, if its scores may be above those of another one; ceiling: see is_foreign.
-- probe: the gate that this submission tries, '' if none; the provider's if it tries its model's circuit too. The
-- caller removes the provider's gate when the submission was accepted, and the end of a successful run removes the
-- circuit's.
-- ticket_age: how long ago the caller first claimed with this token; 0 for a new one.
-- A repeat with the same token answers the same started jobs. Their slots end in the caller's `mark` (ms % 1000), which
-- picks the few whose token is worth reading.
local MAX_EXPIRED = 100 -- alarms that one tick looks at
local MAX_STUCK = 10 -- ready jobs of a lane that is shut, of which a tick finds the users
local MAX_FOREIGN = 10 -- jobs of a lane, and of the backlogs, whose scores another policy made
local FOREIGN_AGE = 172800000 -- ms after which such a job no longer comes back from a retry or its provider
-- ms after which a job that waits for a slot of its key is looked at in any case: the more jobs the key has that wait,
-- the longer. So six of them are looked at in a minute, or more above 90 of them, and a free slot of the key is found.
local MIN_HELD, HELD_GAP, MAX_HELD = 60000, 10000, 900000
local LOOK = { -- what must be read of a job that is overdue
  'attempt',
  'state',
  'prediction',
  'submitted_at',
  'cancel_requested',
  'deadline',
  'incarnation',
  'score',
  'due_at',
  'expire_at',
  'share',
}
local want, mark, check_interval = tonumber(arg.want), tonumber(arg.mark), tonumber(arg.check_interval)
local is_tick = arg.is_tick == '1'
local limits = {
  slots = tonumber(arg.slot_limit),
  queues = numbers(arg.queue_limits),
  providers = numbers(arg.provider_limits),
}
local time, lease_until -- by the store's clock; see read_time

-- What this claim will write, all of it behind its last read; `moves` are scores and members of the index.
local plan =
  { moves = {}, lost = {}, submissions = {}, handed = {}, requeued = {}, parked = {}, held = {}, passed_on = {} }
local granted = {} -- how many jobs of each provider start
-- What this claim answers.
local started, expired, stuck, foreign = {}, {}, {}, {}

-- Plans a member's new score in the index.
local function move(member, score) add(plan.moves, score, member) end

-- Plans to drop a member whose job was lost with its hash.
local function lose(id) add(plan.lost, id, companions(id)) end

-- Reads the time once, and notes when the leases of this claim end.
local function read_time()
  if time then return end
  time = lease_time(arg.lease_now)
  -- Slots of the same second and another mark belong to other claims.
  lease_until = whole_seconds(time + tonumber(arg.lease)) + mark -- mutant: lease
end

-- The leases that a repeat of this claim may ask for.
local function own_leases()
  read_time()
  local age = tonumber(arg.ticket_age) + tonumber(arg.patience) -- mutant: old ticket
  local first = whole_seconds(time + tonumber(arg.lease) - age)
  return { first = first, last = whole_seconds(lease_until) + 999 }
end

-- The slots of this very claim, if its first answer was lost. Its first call was sent when the caller made the ticket,
-- and took a job no later than a late copy may, so only the leases since then are looked at.
local function replayed_slots(head)
  local slots, leases = {}, own_leases()
  for _, part in ipairs(head.parts) do
    if part.band >= READY then break end
    for n = count_to(part, leases.first - 1), count_to(part, leases.last) - 1 do
      local row = row_at(part, part.first + 2 * n)
      if row.ms % 1000 == mark then
        if redis.call('HGET', job_key(row.id), 'token') == arg.token then add(slots, row) end -- mutant: replay
      end
    end
  end
  return slots
end

-- The slots of the head that are overdue.
local function overdue_slots(head)
  local slots = {}
  for _, part in ipairs(head.parts) do
    if part.band >= READY or #slots >= want then break end
    for _, row in ipairs(first_rows(part, time, want - #slots)) do
      add(slots, row)
    end
  end
  return slots
end

-- The answer's row for a started job.
local function start_row(id, attempt, f, probe)
  local incarnation = f.incarnation or ''
  return { id, attempt, f.lane, f.model, f.input, f.owner, f.user, f.queue, f.deadline, probe, incarnation }
end

-- The answer of a claim that takes nothing: the jobs that it started before, the size of the outbox, and `late_at`.
local function answer_nothing(rows, outbox_size, late_at)
  return { rows, {}, '0', {}, '0', text(outbox_size), {}, {}, late_at }
end

-- The answer to a repeat: the jobs that this very claim has started.
local function replay(slots)
  local rows = {}
  for _, row in ipairs(slots) do
    local f = read(job_key(row.id), unpack(START))
    if f.state == 'submitting' and f.cancel_requested ~= '1' then -- mutant: replay of a cancelled job
      add(rows, start_row(row.id, f.attempt, f, f.probe or ''))
    end
  end
  return answer_nothing(rows, 0, '')
end

-- Plans to move a job from its slot to where its record says that it waits: a script stopped between the two.
local function put_back(row, f)
  local score = score_of(READY + row.band, tonumber(f.score))
  if f.state == 'delayed' then score = score_of(DELAYED, tonumber(f.due_at)) end
  move(row.id, score)
  move(alarm_of(row.id), score_of(ALARMS, tonumber(f.expire_at)))
  add_share(plan.moves, row.id, f.share, false)
end

-- Hands overdue slots to this caller: no other caller gets them for a while.
local function hand_out(slots)
  local handed = {}
  for _, row in ipairs(slots) do
    local f = read(job_key(row.id), unpack(LOOK))
    if not f.attempt then
      lose(row.id)
    elseif f.state == 'done' then
      add(expired, row.id)
    elseif is_waiting(f.state) then
      put_back(row, f)
    else
      add(handed, {
        row.id,
        f.attempt,
        text(row.band),
        f.state,
        f.prediction or '',
        f.submitted_at or '0',
        f.cancel_requested or '0',
        f.deadline,
        f.incarnation or '',
      })
      add(plan.handed, row.id)
      move(row.id, slot_score(f.state, row.band, whole_seconds(time + check_interval))) -- mutant: handed to one
    end
  end
  return handed
end

-- Notes the jobs that have waited too long; a tick looks behind the head for them too. Returns the set of their ids.
local function note_expired(head)
  local part, alarms = part_in(head, ALARMS), {}
  if is_tick and not head.complete then
    local first, last = score_of(ALARMS, 0), score_of(ALARMS, time)
    for _, alarm in ipairs(redis.call('ZRANGEBYSCORE', key.index, first, last, 'LIMIT', 0, MAX_EXPIRED)) do
      add(alarms, { id = alarm })
    end
  elseif part then
    alarms = first_rows(part, time, math.huge)
  end
  local is_expired = {}
  for _, alarm in ipairs(alarms) do
    local id = string.sub(alarm.id, 2)
    add(expired, id)
    is_expired[id] = true
  end
  return is_expired
end

-- The retries that are due: those of the head, or of the index if the head does not reach them. A circuit puts jobs
-- aside again and again, and retries of others are behind.
local function due_rows(head)
  if head.complete then
    local part = part_in(head, DELAYED) -- mutant: due
    return part and first_rows(part, time, math.huge) or {}
  end
  local count = has_circuit(head, math.huge) and math.max(want, MAX_LOOKS) or want -- mutant: retries behind a circuit
  local rows, first, last = {}, score_of(DELAYED, 0), score_of(DELAYED, time)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key.index, first, last, 'LIMIT', 0, count)) do
    add(rows, { id = id })
  end
  return rows
end

-- The retries that are due, as candidates, best first.
local function due_candidates(head)
  local list = {}
  for _, row in ipairs(due_rows(head)) do
    local f = read(job_key(row.id), 'score', 'lane', 'state')
    if f.state == 'done' then
      add(expired, row.id)
    elseif f.score then
      add(list, { id = row.id, score = tonumber(f.score), lane = tonumber(f.lane), is_due = true })
    else
      lose(row.id)
    end
  end
  return sort(list)
end

-- The best ready jobs of a lane, as a part: those of the head, or as many as may start if the head does not reach them.
local function ready_part(head, lane, count)
  local part, first = part_in(head, READY + lane), score_of(READY + lane, 0)
  local is_enough = head.complete or head.last_band > READY + lane
  if is_enough or (part and count_of(part) >= count) then return part end
  local last = '(' .. score_of(READY + lane + 1, 0)
  local flat = redis.call('ZRANGEBYSCORE', key.index, first, last, 'WITHSCORES', 'LIMIT', 0, count)
  return { band = READY + lane, flat = flat, first = 1, last = #flat - 1 }
end

-- The lines of jobs that may start, each of them best first: the retries that are due, and the ready jobs of each lane
-- with room.
local function candidates(head, room)
  if room.all <= 0 then return {} end
  local lines, is_half_open = { { jobs = due_candidates(head), next = 1 } }, has_half_open(head)
  for _, lane in ipairs(numbers(arg.lanes)) do
    if has_room(room, lane) then
      local provider = provider_of(lane)
      local count = math.min(room.all, room.queue[queue_of(lane)], room.provider[provider])
      if room.probe[provider] or is_half_open then count = MAX_LOOKS end
      local part = ready_part(head, lane, count)
      if part then add(lines, { lane = lane, part = part, place = part.first }) end
    end
  end
  return lines
end

-- Notes the user of a job that cannot start, if other jobs wait for its seat.
local function note_stuck(f)
  if f.heirs ~= '1' or not f.owner then return end
  if redis.call('ZCOUNT', user_key(f.owner, f.user), 0, '+inf') == 0 then return end -- mutant: stuck
  stuck[f.owner .. ':' .. f.user] = true
end

-- Looks at some ready jobs of a lane that is shut, at others each time.
local function look_at_stuck(gates)
  local shut = {}
  for _, lane in ipairs(numbers(arg.lanes)) do
    if is_shut(gates, { lane = lane, model = '' }, time) then add(shut, lane) end
  end
  if #shut == 0 then return end
  local lane, turn = shut[time % #shut + 1], math.floor(time / #shut)
  local first, last = score_of(READY + lane, 0), '(' .. score_of(READY + lane + 1, 0)
  local pages = math.ceil(redis.call('ZCOUNT', key.index, first, last) / MAX_STUCK)
  local offset = text(MAX_STUCK * (turn % math.max(1, pages)))
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key.index, first, last, 'LIMIT', offset, MAX_STUCK)) do
    note_stuck(read(job_key(id), 'owner', 'user', 'heirs'))
  end
end

-- Notes a waiting job whose score another policy made.
local function note_foreign(id)
  local f = read(job_key(id), 'owner', 'user', 'state')
  if not f.state then return lose(id) end
  if f.state == 'done' then return add(expired, id) end
  add(foreign, f.owner .. ':' .. f.user .. '|' .. id)
end

-- Notes some of a band's jobs with scores of another policy, the best first.
local function note_foreign_in(band)
  local first, last = math.floor(tonumber(arg.ceiling) * time / 100) + 1, '(' .. score_of(band + 1, 0)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key.index, score_of(band, first), last, 'LIMIT', 0, MAX_FOREIGN)) do
    note_foreign(id)
  end
end

-- The gates which say that jobs may wait with scores of other policies, above all of this one.
local function other_scales(gates)
  local found = {}
  for gate, until_then in pairs(arg.ceiling ~= '' and gates or {}) do
    local is_other = string.sub(gate, 1, 2) == '~s' and gate ~= scale_gate(arg.scale)
    if is_other and (until_then == 0 or until_then > time) then add(found, gate) end
  end
  return found
end

-- Notes waiting jobs with scores of another policy: ready ones, those of backlogs, and retries that are due.
local function note_all_foreign(due)
  for _, lane in ipairs(numbers(arg.lanes)) do
    note_foreign_in(READY + lane)
  end
  note_foreign_in(BACKLOG)
  for _, job in ipairs(due) do
    if is_foreign(job.score, time) then note_foreign(job.id) end -- mutant: foreign retry
  end
end

-- After a change of the policy, looks for jobs with scores of the earlier one, as long as any may come back.
local function look_for_foreign(gates, lines)
  local scales = other_scales(gates)
  if #scales > 0 then note_all_foreign(lines[1] and lines[1].jobs or {}) end
  for _, gate in ipairs(scales) do
    if gates[gate] == 0 or #foreign > 0 then move(gate, gate_score(time + FOREIGN_AGE)) end -- mutant: looks end
  end
  if arg.scale ~= '' and gates[scale_gate(arg.scale)] ~= 0 then
    move(scale_gate(arg.scale), gate_score(0)) -- mutant: scale in use
  end
end

-- Plans to put a job aside until a moment.
local function park(job, due_at, code)
  add(plan.parked, { id = job.id, due_at = text(due_at), code = code })
  move(job.id, score_of(DELAYED, due_at))
end

-- Plans to hold a job until a slot of its API key is free.
local function hold(job, f)
  local held = held_key(f.owner)
  local list = plan.held[held] or { count = redis.call('ZCARD', held) }
  plan.held[held] = list
  add(list, text(job.score), job.id)
  local wait = HELD_GAP * (list.count + #list / 2) -- mutant: looks at held jobs
  park(job, time + math.min(math.max(wait, MIN_HELD), MAX_HELD), 'key_limit')
end

-- Plans a job's submission: it gets a slot, and takes room from all others.
local function start(head, room, job, f, circuits)
  local provider, gates = provider_of(job.lane), circuits -- mutant: probe of a model
  if room.probe[provider] then add(gates, pause_gate(provider)) end
  -- A probe may try a model and its provider. It is the only one until its answer is here, or its lease is over.
  for _, gate in ipairs(gates) do
    note_probe(gate)
    move(gate, gate_score(lease_until)) -- mutant: one probe
  end
  local attempt, probe = text(tonumber(f.attempt) + 1), gates[#gates] or ''
  add(started, start_row(job.id, attempt, f, probe))
  add(plan.submissions, {
    id = job.id,
    attempt = attempt,
    probe = probe,
    adopt_until = text(lease_until + tonumber(f.adoption)),
    key_tasks = f.key_tasks,
    amid = flag(is_any_shut(head.gates, time, f.share)),
  })
  room.all = room.all - 1
  room.queue[queue_of(job.lane)] = room.queue[queue_of(job.lane)] - 1
  room.provider[provider] = room.provider[provider] - 1
  granted[provider] = (granted[provider] or 0) + 1
  plan.virtual_time = math.max(plan.virtual_time, job.score)
  move(job.id, score_of(job.lane, lease_until))
  add_share(plan.moves, job.id, f.share, true) -- mutant: share of a slot
end

-- Whether a candidate belongs to a slot, from which the provider is asked first: it runs, or its submission was to be
-- cancelled. Only a script that stopped can leave it among the jobs that wait.
local function is_to_be_asked_for(f)
  return f.state == 'running' or (f.state == 'submitting' and f.cancel_requested == '1') -- mutant: cancelled submission
end

-- Starts a candidate, unless it was lost, has waited too long, its model's circuit is open, or its API key has all its
-- slots.
local function consider(head, room, job)
  local f = job.f or read(job_key(job.id), unpack(START))
  local open_until, circuits = nil, {}
  if f.model then
    open_until, circuits = judge_circuits(head, job, f)
  end
  if not f.attempt then
    lose(job.id)
  elseif f.state == 'done' then -- mutant: over
    add(expired, job.id)
  elseif is_to_be_asked_for(f) then
    move(job.id, slot_score(f.state, job.lane, time))
    add_share(plan.moves, job.id, f.share, true)
  elseif tonumber(f.expire_at) <= time then -- mutant: expired
    add(expired, job.id)
  elseif open_until then
    park(job, open_until, 'circuit_open')
    if is_released(f) then add(plan.passed_on, f.owner) end -- mutant: release of a parked job
    note_stuck(f)
  elseif is_to_be_held(f, 1) then
    hold(job, f)
  else
    start(head, room, job, f, circuits)
  end
end

-- Starts the first of all lines as long as there is room; a retry that is due and gets no slot is ready.
local function start_all(head, room, lines, is_expired)
  plan.virtual_time = head.gates[VIRTUAL_TIME] or FIRST_TAG
  lines = choose_all_probes(head, room, lines)
  for job in best_first(room, lines) do
    local is_free = has_room(room, job.lane) and not is_behind_probe(job)
    if is_free and not is_expired[job.id] then
      consider(head, room, job)
    elseif job.is_due then
      move(job.id, score_of(READY + job.lane, job.score))
      add(plan.requeued, job.id)
    end
  end
  for provider, count in pairs(granted) do
    move(bucket_gate(provider), bucket_after(head, limits, provider, count, time)) -- mutant: token
  end
  if #started > 0 and arg.is_fair == '1' then
    move(VIRTUAL_TIME, gate_score(plan.virtual_time))
    move(GRANTED_AT, gate_score(time))
  end
end

-- Writes what is planned: first the jobs, then the index.
local function write()
  for _, job in ipairs(plan.submissions) do
    write_fields(job_key(job.id), {
      state = 'submitting',
      attempt = job.attempt,
      token = arg.token,
      prediction = '',
      lease_until = text(lease_until),
      adopt_until = job.adopt_until,
      submitted_at = arg.now,
      progress = '',
      probe = job.probe,
      bounded = bounded(job.key_tasks),
      amid = job.amid,
    })
  end
  for _, id in ipairs(plan.handed) do
    redis.call('HSET', job_key(id), 'checked_at', arg.now)
  end
  for _, id in ipairs(plan.requeued) do
    redis.call('HSET', job_key(id), 'state', 'queued')
  end
  for _, job in ipairs(plan.parked) do
    write_fields(job_key(job.id), { state = 'delayed', due_at = job.due_at, snooze_code = job.code })
  end
  for held, members in pairs(plan.held) do
    write_parts('ZADD', held, members)
    redis.call('PEXPIRE', held, 2 * MAX_HELD)
  end
  write_parts('ZADD', key.index, plan.moves)
  if #plan.lost > 0 then
    write_parts('ZREM', key.index, plan.lost) -- mutant: lost
    redis.call('HINCRBY', key.stats, 'missing', #plan.lost / 3)
  end
  for _, owner in ipairs(plan.passed_on) do
    release_next(owner)
  end
end

-- Whether a gate is no longer of use: a circuit without a recent try, or the scale of a policy of long ago.
local function is_over(gate, ends_at)
  local kind = string.sub(gate, 1, 2)
  if kind == '~o' then return ends_at < time - MAX_CIRCUIT_AGE end
  return kind == '~s' and gate ~= scale_gate(arg.scale) and ends_at > 0 and ends_at <= time -- mutant: old scale
end

-- Whether no job lives, and no gate depends on the time. Then a claim reads no TIME.
local function is_idle(head)
  if #head.parts > 0 or not head.complete then return false end -- mutant: idle
  local own = scale_gate(arg.scale)
  if arg.scale ~= '' and head.gates[own] ~= 0 then return false end -- mutant: idle scale
  for gate in pairs(head.gates) do
    local kind = string.sub(gate, 1, 2)
    if kind == '~o' or (kind == '~s' and gate ~= own) then return false end -- mutant: idle gates
  end
  return true
end

-- What only a tick does: it notes the time, and counts the outbox.
local function note_tick(moment)
  redis.call('HSET', key.stats, 'tick_at', moment)
  return redis.call('ZCARD', key.outbox)
end

-- Removes gates of no use.
local function remove_gates(gates)
  local old = {}
  for gate, open_until in pairs(gates) do
    if is_over(gate, open_until) then add(old, gate) end
  end
  if #old > 0 then redis.call('ZREM', key.index, unpack(old)) end
end

-- The noted users, in an order that each engine agrees on.
local function users_of(noted)
  local users = {}
  for user in pairs(noted) do
    add(users, user)
  end
  table.sort(users)
  return users
end

local head = read_head(limits.slots, want, own_leases)
if is_idle(head) then return answer_nothing({}, is_tick and note_tick(arg.now) or 0, '') end
read_time()
if is_late_copy(time) then return answer_nothing({}, 0, text(time)) end -- mutant: late claim
head.time = time
local replayed = replayed_slots(head)
if #replayed > 0 then return replay(replayed) end

local handed = hand_out(overdue_slots(head))
local is_expired = note_expired(head)
local room = read_room(head, limits, time)
room.all = math.min(room.all, want)
local lines = candidates(head, room)
start_all(head, room, lines, is_expired)
look_for_foreign(head.gates, lines)
if is_tick then look_at_stuck(head.gates) end
write()
if is_tick then remove_gates(head.gates) end
local outbox_size = is_tick and note_tick(text(time)) or 0
return {
  started,
  handed,
  text(#plan.lost / 3),
  expired,
  text(#plan.parked),
  text(outbox_size),
  users_of(stuck),
  foreign,
  '',
}
