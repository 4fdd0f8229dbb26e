-- enqueue: admits a job once, and starts it at once if the caller wants that and no other job has a better right to the
-- free slot. A job without a seat goes to its user's backlog, unless it is better than a ready job of the user.
-- With: keys, spending, room, users, tags, shares, runs, seats, yielding, entries
-- KEYS: index, job, user, stats, root, active
-- ARGV: id: name, token: name, fingerprint: name, now: moment, lease_now: moment?, sent_at: moment,
--       patience: milliseconds, lane: count, score: number,
--       start: flag, lease: milliseconds, adoption: milliseconds, slot_limit: count, queue_limits: numbers,
--       provider_limits: numbers, lanes: numbers, user_limit: count, user_queued: count, queue_size: count,
--       key_queued: count?, key_tasks: count?, user_waiting: count?, share: number, expire_at: moment, model: name,
--       cost: count?, key_weight: count?, weights: numbers, heirs: flag, statistics: flag, budgets: numbers,
--       ledger: text, bound: count, fields: pairs...
-- Returns: {started, attention: flag} | {queued, position: count?, attention: flag} |
--       {backlog, position: count, attention: flag} | {duplicate} | {conflict} |
--       {user_limit, live: count, allowed: count} | {user_queue_full, waiting: count, allowed: count} |
--       {key_queue_full, waiting: count, allowed: count} | {queue_full, waiting: count} |
--       {budget_exceeded, whose: name, period: name} | {late, late_at: moment}
-- late: its caller has given this call up, as far as the store's clock is known; nothing was changed.
-- attention: 1 if a claim would move something: a free slot for a better job, an overdue slot.
-- cost: if not empty, `score` is a head start in grants, and the fair policy's tag is made here.
-- key_weight: of its API key, if keys have weights; `weights` are those of the tiers.
-- bound: what the job may cost; `ledger`: which accounts reserve it, '' without budgets; see spending.lua.
-- heirs: 1 if jobs of the user may wait for its seat, so that its end has to look for them.
local id, now, lane = arg.id, tonumber(arg.now), tonumber(arg.lane)
local provider, lanes = provider_of(lane), numbers(arg.lanes)
local is_fair = arg.cost ~= ''
local heirs = arg.heirs -- of the job
local cost -- of the job, under the fair policy
local reservations -- of this job
local limits = {
  slots = tonumber(arg.slot_limit),
  queues = numbers(arg.queue_limits),
  providers = numbers(arg.provider_limits),
}
local MAX_CHECKED = 10 -- members of a user's set that are looked at before a refusal
local MAX_HIDDEN = 3 -- lanes behind the head that are asked for; with more of them a claim decides
local MAX_TIE, TIE_MS = 99, 100 -- of equal tags the earlier job is lower: by one for each 100 ms, up to 99

-- The answer to a repeat, by what the job with this id is; nil if there is none.
local function replay()
  local known = read(key.job, 'fingerprint', 'token', 'state', 'attempt')
  if not known.fingerprint then return nil end
  if known.fingerprint ~= arg.fingerprint then return { 'conflict' } end -- mutant: fingerprint
  if known.token ~= arg.token then return { 'duplicate' } end
  if known.state == 'submitting' and known.attempt == '1' then return { 'started', '0' } end
  return { 'queued', '', '1' }
end

-- The members of a part of the user's set that stand for a job or a batch, and their hashes.
local function part_of_user(first)
  local members, hashes = {}, {}
  for _, member in ipairs(redis.call('ZRANGE', key.user, first, first + MAX_CHECKED - 1)) do
    local kind = string.sub(member, 1, 1)
    if kind ~= '=' and kind ~= '~' then
      add(members, member)
      add(hashes, kind == '#' and batch_key(string.sub(member, 2)) or job_key(member))
    end
  end
  return members, hashes
end

-- Drops what was lost with its hash of ten members, at another part of the user's set each time; returns whether there
-- was any.
local function drop_lost(tasks)
  local members, hashes = part_of_user(tasks > MAX_CHECKED and now % (tasks - MAX_CHECKED + 1) or 0)
  -- One command for all of them: a refused submit must not cost more than an accepted one.
  if #hashes == 0 or redis.call('EXISTS', unpack(hashes)) == #hashes then return false end
  for i, member in ipairs(members) do
    if redis.call('EXISTS', hashes[i]) == 0 then forget(key.user, member) end
  end
  return true
end

-- The user, who may have one more task, or nil with the refusal. A job that was lost must not count for ever.
local function admit()
  local user = read_user(key.user, tonumber(arg.user_limit))
  local allowed = math.max(tonumber(arg.user_queued), user.cap)
  user.tasks = tasks_of(key.user, user)
  if user.tasks >= allowed and drop_lost(user.tasks) then
    user = read_user(key.user, tonumber(arg.user_limit))
    user.tasks = tasks_of(key.user, user)
  end
  if user.tasks >= allowed then return nil, { 'user_limit', text(user.tasks), text(allowed) } end
  return user
end

-- The job's score, and under the fair policy the tag that its user's next job begins with.
local function score_under_policy(head, user)
  local given = tonumber(arg.score)
  if not is_fair then return given end
  cost = cost_of(user, head.gates)
  local begins, tie = begin_tag(user, head.gates), math.floor((now - (head.gates[GRANTED_AT] or now)) / TIE_MS)
  return math.max(0, begins + math.max(0, math.min(MAX_TIE, tie)) - given), begins + cost
end

-- Notes what the ready jobs of a lane, as far as the head goes, mean for this one: a job with a better right to a free
-- slot outdoes it.
local function note_ready(view, room, part, score)
  local other, better = part.band - READY, count_to(part, score)
  if has_room(room, other) and (other ~= lane or better > 0) then view.is_outdone = true end -- mutant: better job
  if queue_of(other) == queue_of(lane) then view.position = view.position + better end
end

-- Notes what a part of the head means for this job.
local function note_part(view, room, part, score)
  if part.band < READY then
    if row_at(part, part.first).ms <= now then view.has_overdue = true end
  elseif part.band < ALARMS then
    view.waiting = view.waiting + count_of(part)
    if part.band < DELAYED then note_ready(view, room, part, score) end
    -- A due retry may have the better right; a claim, which reads its score, decides.
    if part.band == DELAYED and row_at(part, part.first).ms <= now then view.is_outdone = true end
  end
end

-- The lanes with room whose ready jobs the head does not show, or not all of them.
local function hidden_lanes(head, room)
  local hidden = {}
  for _, other in ipairs(lanes) do
    local is_hidden = head.last_band < READY + other or (head.last_band == READY + other and other ~= lane)
    if is_hidden and has_room(room, other) then add(hidden, other) end
  end
  return hidden
end

-- Whether jobs with a better right are behind the head: of this lane, of another one that has room, or a due retry. A
-- long queue that is full hides them, and is no reason for a claim.
local function hides_better(head, room, score)
  local hidden = hidden_lanes(head, room)
  if #hidden == 0 or #hidden > MAX_HIDDEN or arg.start ~= '1' then return #hidden > 0 end -- mutant: hidden lanes
  for _, other in ipairs(hidden) do
    local first, last = score_of(READY + other, 0), '(' .. score_of(READY + other + 1, 0)
    if other == lane then last = score_of(READY + lane, score) end -- mutant: hidden job of the lane
    if redis.call('ZCOUNT', key.index, first, last) > 0 then return true end
  end
  return redis.call('ZCOUNT', key.index, score_of(DELAYED, 0), score_of(DELAYED, now)) > 0 -- mutant: hidden retry
end

-- What the index means for the job: how many jobs wait, the job's position as far as the head goes, whether another
-- job has a better right to a free slot, and whether a slot is overdue.
local function look_around(head, room, score)
  local view = { waiting = 0, position = 1, is_outdone = false, has_overdue = false }
  for _, part in ipairs(head.parts) do
    note_part(view, room, part, score)
  end
  if not head.complete and hides_better(head, room, score) then view.is_outdone = true end
  return view
end

-- Writes the job: its entry in the index with alarm and history, its member of the user's set, and last its record. An
-- entry without a record is dropped; a record without an entry would never be found. `moves` and `members` are further
-- scores and members of the index and of the set.
local function write(fields, index_score, set_score, moves, members)
  add_share(moves, id, arg.share, fields.state == 'submitting')
  fields.token, fields.fingerprint = arg.token, arg.fingerprint
  if is_fair then note_cost(fields, cost) end
  if arg.ledger ~= '' then fields.ledger = arg.ledger end
  reserve(reservations) -- mutant: reserved first
  add(moves, score_of(ALARMS, tonumber(arg.expire_at)), alarm_of(id), score_of(HISTORY, now), history_of(key.user, id))
  redis.call('ZADD', key.user, set_score, id, unpack(members))
  redis.call('ZADD', key.index, index_score, id, unpack(moves)) -- mutant: index first
  write_fields(key.job, fields, rest.fields)
  note_admitted(lane, { arg.model })
end

-- Starts the job at once: it gets a slot, and the caller submits it.
local function start(head, score, members, time)
  local lease_until = time + tonumber(arg.lease) -- mutant: lease
  local moves = { bucket_after(head, limits, provider, 1, time), bucket_gate(provider) } -- mutant: token
  if is_fair then
    local virtual_time = math.max(head.gates[VIRTUAL_TIME] or FIRST_TAG, score)
    add(moves, gate_score(virtual_time), VIRTUAL_TIME, gate_score(now), GRANTED_AT)
  end
  local fields = {
    state = 'submitting',
    score = text(score),
    heirs = arg.heirs,
    attempt = '1',
    lease_until = text(lease_until),
    adopt_until = text(lease_until + tonumber(arg.adoption)),
    submitted_at = arg.now,
    bounded = bounded(),
    amid = flag(is_any_shut(head.gates, now, arg.share)),
  }
  write(fields, score_of(lane, lease_until), seat_score(score), moves, members)
end

-- Whether this job cannot start because of what the gates say.
local function is_idle(head) return is_shut(head.gates, { lane = lane, model = arg.model, share = arg.share }, now) end

-- Makes a seat free for a job that could start, by taking that of one that cannot.
local function clear_seat(head, user, view, score)
  if #user.seated ~= user.cap or not is_any_shut(head.gates, now, arg.share) or is_idle(head) then return end
  local idle = idle_of(user, head.gates, now)[1]
  if not idle then return end
  demote(key.user, idle.id, idle.f)
  heirs = '1' -- mutant: heirs of the idle
  local is_ahead = idle.f.state == 'queued' and idle.score <= score
  if is_ahead and queue_of(tonumber(idle.f.lane)) == queue_of(lane) then view.position = view.position - 1 end
  for i, job in ipairs(user.seated) do
    if job.id == idle.id then return table.remove(user.seated, i) end
  end
end

-- Whether a ready job has to give its seat to this one, if it is worse: a job that could start gives it to none that
-- cannot.
local function may_give_way(head, slots, other)
  if slots[other] then return false end
  local f = read(job_key(other), 'state', 'lane', 'model', 'share')
  if f.state ~= 'queued' then return false end
  return not is_idle(head) or is_shut(head.gates, f, now) -- mutant: way for idle
end

-- The set of the jobs that have slots, as far as the head names them.
local function slots_in(head)
  local slots = {}
  for _, part in ipairs(head.parts) do
    if part.band >= READY then break end
    for place = part.first, part.last, 2 do
      slots[part.flat[place]] = true
    end
  end
  return slots
end

-- The user's ready job that is worse than this one and has to give it its seat; nil if there is none, or no need.
local function find_worse(head, user, score)
  if #user.seated < user.cap then return nil end
  local slots
  -- The last one is the worst; a job that waits for a retry keeps its seat.
  for i = #user.seated, 1, -1 do
    local job = user.seated[i]
    if job.score <= score then return nil end
    local is_single = string.sub(job.id, 1, 4) ~= 'bat_'
    slots = slots or slots_in(head)
    if is_single and may_give_way(head, slots, job.id) then return job end
  end
  return nil
end

-- The fields of a job that waits.
local function waiting_fields(score, is_ready, has_seat, is_far)
  local fields = { state = is_ready and 'queued' or 'backlog', score = text(score), attempt = '0' }
  fields.heirs = has_seat and heirs or '1'
  -- Far from the head a poll has no command left to ask how long runs of this model take.
  if is_far then
    fields.p50, fields.p90 = usual_times(runs_key(lane, arg.model))
  end
  return fields
end

-- Lets the job wait: ready with a seat, its own or that of a `worse` job, else in its user's backlog. Returns whether
-- it is ready.
local function wait(head, user, score, worse, members)
  local has_seat, moves = #user.seated < user.cap, {}
  local is_ready = has_seat or worse ~= nil -- mutant: ready
  if worse then
    add(moves, score_of(BACKLOG, worse.score), worse.id)
    add(members, text(worse.score), worse.id)
  end
  local is_far = not head.complete or not (has_seat or user.complete)
  local fields = waiting_fields(score, is_ready, has_seat, is_far)
  if worse then write_fields(job_key(worse.id), { state = 'backlog', heirs = '1' }) end
  if is_ready then
    write(fields, score_of(READY + lane, score), seat_score(score), moves, members)
  else
    write(fields, score_of(BACKLOG, score), text(score), moves, members)
  end
  return is_ready
end

-- Notes that a job waits for the seats of the user's other jobs, unless that is noted already.
local function note_heirs(user)
  if #user.seated >= user.cap and #user.waiting == 0 and arg.heirs ~= '1' then expect_heirs(user) end
end

-- The job's position among the ready jobs of its queue, counted in the whole index.
local function count_position(score)
  local position = 0
  for _, other in ipairs(lanes) do
    if queue_of(other) == queue_of(lane) then
      position = position + redis.call('ZCOUNT', key.index, score_of(READY + other, 0), score_of(READY + other, score))
    end
  end
  return position
end

-- Whether the job's model has a circuit, for all users or for this one.
local function is_behind_circuit(head)
  local own = own_circuit_gate(provider, arg.model, arg.share)
  return head.gates[circuit_gate(provider, arg.model)] or head.gates[own]
end

-- The time of the store's clock if the job may start at once; else nil.
local function time_to_start(head, room, user, view)
  if arg.start ~= '1' or view.is_outdone or #user.seated >= user.cap then return nil end
  if not has_room(room, lane) or room.probe[provider] then return nil end
  if is_behind_circuit(head) then return nil end
  -- By the store's clock once more: a caller's fast one must not end a pause or fill the bucket.
  local time = lease_time(arg.lease_now)
  if not has_room(read_room(head, limits, time), lane) then return nil end
  view.is_held = has_all_slots(tonumber(arg.share))
  return not view.is_held and time or nil
end

-- The refusal if the user, the API key or the queue has no room for one more job that waits; else nil.
local function refuse_to_wait(head, user, view)
  local refused = refuse_share(tonumber(arg.share), 1, user, user.tasks)
  if refused then return refused end
  local waiting = head.complete and view.waiting or count_waiting()
  if waiting >= tonumber(arg.queue_size) then return { 'queue_full', text(waiting) } end
end

-- The answer for a job that waits.
local function answer_waiting(head, room, view, score, is_ready)
  local needs_claim = view.is_outdone or view.has_overdue
  if not is_ready then return { 'backlog', text(redis.call('ZCOUNT', key.user, 0, text(score))), flag(needs_claim) } end
  local position = head.complete and view.position or count_position(score)
  return { 'queued', text(position), flag(needs_claim or (has_room(room, lane) and not view.is_held)) }
end

local answer = replay()
if answer then return answer end
local user, refusal = admit()
if refusal then return refusal end

local head = read_head(limits.slots, 1)
local score, next_tag = score_under_policy(head, user)
local members = {}
if next_tag then add(members, text(SPECIAL + next_tag), '~') end
local room = read_room(head, limits, now)
local view = look_around(head, room, score)
local time = time_to_start(head, room, user, view)
local known_time = time or passed_moment(head, limits) -- mutant: passed moment
if is_late_copy(known_time) then return { 'late', text(known_time) } end
reservations, refusal = plan_reservations({ { id = id, bound = tonumber(arg.bound) } })
if refusal then return refusal end
if time then
  note_active(head.gates, next_tag, now)
  start(head, score, members, time)
  return { 'started', flag(view.has_overdue) }
end

local refused = refuse_to_wait(head, user, view)
if refused then return refused end
clear_seat(head, user, view, score)
local worse = find_worse(head, user, score)
note_heirs(user)
note_active(head.gates, next_tag, now)
local is_ready = wait(head, user, score, worse, members)
return answer_waiting(head, room, view, score, is_ready)
