-- batch_create: admits all jobs of a batch, or none. The batch is one task of its user: its best jobs are ready as far
-- as the user has seats, and the others wait in the user's backlog. A repeat adds the jobs that a script has left out
-- which stopped half-way.
-- With: keys, spending, room, users, tags, shares, entries
-- KEYS: index, batch, user, root, batch_queue, active
-- ARGV: batch_id: name, fingerprint: name, now: moment, lease_now: moment?, sent_at: moment, patience: milliseconds,
--       user_limit: count, user_queued: count, queue_size: count, key_queued: count?, user_waiting: count?,
--       share: number, cost: count?, key_weight: count?,
--       weights: numbers, heirs: flag, statistics: flag, lane: count, expire_at: moment, budgets: numbers,
--       ledger: text, bounds: numbers, widths: numbers, fields: names...
-- Returns: {created} | {duplicate} | {conflict} | {user_limit, live: count, allowed: count} |
--       {user_queue_full, waiting: count, allowed: count} | {key_queue_full, waiting: count, allowed: count} |
--       {queue_full, waiting: count} | {budget_exceeded, whose: name, period: name} |
--       {late, late_at: moment}
-- late: its caller has given this call up; nothing was changed.
-- fields: those of the batch, those that all jobs have in common, then each job's: id, score, and its own.
-- bounds: what each job may cost; ledger: as for enqueue.
-- widths: how many parts each of these takes.
-- cost, key_weight, weights: as for enqueue; the tags of the jobs follow each other.
local now, lane, widths = tonumber(arg.now), tonumber(arg.lane), numbers(arg.widths)
local is_fair = arg.cost ~= ''
local parts, taken = rest.fields, 0
local cost -- of each job, under the fair policy
local bounds = numbers(arg.bounds)

-- The next parts of `fields`.
local function take(width)
  local list = { unpack(parts, taken + 1, taken + width) }
  taken = taken + width
  return list
end

-- The batch's jobs by number, from 0, with their scores; and the tag of the last one under the fair policy, where each
-- begins when the one before it ends.
local function take_jobs(first_tag)
  local jobs, tag = {}, first_tag
  for number = 0, #widths - 3 do
    local own = take(widths[number + 3])
    local score = tonumber(own[2])
    if is_fair then
      score = math.max(0, tag - score)
      tag = tag + cost
    end
    jobs[number] = { id = own[1], score = score, number = number, own = own, bound = bounds[number + 1] }
  end
  return jobs, tag
end

-- Marks the jobs that an earlier call has written, or that have ended since.
local function mark_written(jobs)
  for number = 0, #jobs do
    local has_ended = redis.call('HEXISTS', key.batch, 's' .. text(number)) == 1
    jobs[number].is_written = has_ended or redis.call('EXISTS', job_key(jobs[number].id)) == 1
  end
end

-- The jobs that are to be written, by number.
local function unwritten(jobs)
  local list = {}
  for number = 0, #jobs do
    if not jobs[number].is_written then add(list, jobs[number]) end
  end
  return list
end

-- How many seats are free for these jobs; one that an earlier call gave to any of them is.
local function free_seats(user, jobs)
  local free, is_mine = user.cap - #user.seated, {}
  for _, job in ipairs(jobs) do
    is_mine[job.id] = true
  end
  for _, job in ipairs(user.seated) do
    if is_mine[job.id] then free = free + 1 end
  end
  return free
end

-- Gives the best of the jobs a seat, so that they are ready.
local function seat_best(jobs, count)
  local order = { unpack(jobs) }
  table.sort(order, function(a, b)
    if a.score ~= b.score then return a.score < b.score end
    return a.number < b.number
  end)
  for i = 1, math.min(count, #order) do
    order[i].is_ready = true
  end
end

-- Writes the record of a job. Returns its model.
local function write_job(job, common)
  local fields = {
    state = job.is_ready and 'queued' or 'backlog',
    attempt = '0',
    fingerprint = arg.fingerprint,
    score = text(job.score),
    heirs = '1',
    batch = arg.batch_id,
    number = text(job.number),
  }
  if is_fair then note_cost(fields, cost) end
  if arg.ledger ~= '' then fields.ledger = arg.ledger end
  local more = { unpack(common) }
  add(more, unpack(job.own, 3))
  write_fields(job_key(job.id), fields, more)
  return from_pairs(more).model
end

-- The scores and members that the index, the user's set and the batch's queue get, and the score of the first job that
-- waits, nil if none does.
local function places_of(jobs)
  local moves, members, queued, first_waiting = {}, {}, {}, nil
  local alarm_score, history_score = score_of(ALARMS, tonumber(arg.expire_at)), score_of(HISTORY, now)
  for _, job in ipairs(jobs) do
    add(moves, score_of(job.is_ready and READY + lane or BACKLOG, job.score), job.id)
    add(moves, alarm_score, alarm_of(job.id), history_score, history_of(key.user, job.id))
    add_share(moves, job.id, arg.share, false)
    add(queued, job.is_ready and '-1' or text(job.score), job.id)
    if job.is_ready then
      add(members, seat_score(job.score), job.id)
    else
      first_waiting = math.min(first_waiting or job.score, job.score)
    end
  end
  return moves, members, queued, first_waiting
end

-- The score of the first job that waits, also of those that an earlier call has written; nil if none does.
local function first_in_queue()
  return tonumber(redis.call('ZRANGEBYSCORE', key.batch_queue, 0, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2])
end

-- Notes that jobs wait for the seats of the user's other jobs, unless that is noted already.
local function note_heirs(user)
  if #user.waiting == 0 and arg.heirs ~= '1' then expect_heirs(user) end
end

-- The answer if the batch exists already; nil if it does not, or if a script stopped before its last job.
local function replay()
  local last = text(#widths - 3)
  local known = read(key.batch, 'fingerprint', 's' .. last)
  if not known.fingerprint then return nil, false end
  if known.fingerprint ~= arg.fingerprint then return { 'conflict' } end
  local is_whole = known['s' .. last] or redis.call('EXISTS', job_key(arg.batch_id .. '_' .. last)) == 1
  if is_whole then return { 'duplicate' } end -- mutant: rest of a batch
  return nil, true
end

-- The refusal if the user, the API key or the queue has no room for the batch; else nil.
local function refusal(user, count)
  local tasks, allowed = tasks_of(key.user, user), math.max(tonumber(arg.user_queued), user.cap)
  if tasks >= allowed then return { 'user_limit', text(tasks), text(allowed) } end
  local refused = refuse_share(tonumber(arg.share), count, user, tasks)
  if refused then return refused end
  local waiting = count_waiting()
  if waiting + count > tonumber(arg.queue_size) then return { 'queue_full', text(waiting) } end
  return nil
end

-- Forgets the records of an earlier batch with this id: a job that has files or events is kept longer than its batch.
local function forget_earlier(jobs)
  local records, ids = {}, {}
  for _, job in ipairs(jobs) do
    add(records, job_key(job.id))
    add(ids, job.id)
  end
  if redis.call('DEL', unpack(records)) > 0 then redis.call('ZREM', dead_key(), unpack(ids)) end
end

-- Writes the places of the jobs, then the batch, and the records of the jobs last. A place without a record is dropped
-- when it is met; a record without a place would never be found.
local function write(jobs, tag, batch_fields, common, is_rest)
  local moves, members, queued, first_waiting = places_of(jobs)
  if not is_rest then forget_earlier(jobs) end -- mutant: earlier batch
  if is_fair then add(members, text(SPECIAL + tag), '~') end
  redis.call('ZADD', key.batch_queue, unpack(queued))
  if is_rest then first_waiting = first_in_queue() end
  add(members, text(first_waiting or SPENT), '#' .. arg.batch_id)
  redis.call('ZADD', key.user, unpack(members))
  redis.call('ZADD', key.index, unpack(moves)) -- mutant: index first
  write_fields(key.batch, { fingerprint = arg.fingerprint }, batch_fields)
  local models = {}
  for _, job in ipairs(jobs) do
    add(models, write_job(job, common))
  end
  note_admitted(lane, models)
end

-- The batch's jobs that are to be written, with a seat as far as the user has any; and the tag of the last one.
local function plan_jobs(user, is_rest)
  local gates = is_fair and read_head(0, 0).gates or {}
  cost = is_fair and cost_of(user, gates)
  local all, tag = take_jobs(begin_tag(user, gates))
  if is_rest then mark_written(all) end
  local jobs = unwritten(all)
  -- A batch comes behind what waits in its user's backlog already.
  if #user.waiting == 0 or is_rest then seat_best(jobs, free_seats(user, jobs)) end
  return jobs, tag, gates
end

local answer, is_rest = replay()
if answer then return answer end
local time = lease_time(arg.lease_now)
if is_late_copy(time) then return { 'late', text(time) } end -- mutant: late batch
local user = read_user(key.user, tonumber(arg.user_limit))
local refused = not is_rest and refusal(user, #widths - 2)
if refused then return refused end

local batch_fields, common = take(widths[1]), take(widths[2])
local jobs, tag, gates = plan_jobs(user, is_rest)
local reservations, too_dear = plan_reservations(jobs, is_rest)
if too_dear then return too_dear end
if #jobs > free_seats(user, jobs) or #user.waiting > 0 then note_heirs(user) end
if is_fair then note_active(gates, tag, now) end
reserve(reservations) -- mutant: reserved first
write(jobs, tag, batch_fields, common, is_rest)
return { 'created' }
