-- batch_retry: makes a new job for each job of a batch that failed. Ended jobs stay as they are, and the new ones take
-- their places; they are no longer dead letters. A batch that had ended lives again, as one task of its user.
-- With: keys, spending, room, users, tags, shares, seats, entries
-- KEYS: index, batch, stats, root, batch_queue, user, active
-- ARGV: batch_id: name, owner: name, token: name, now: moment, user_limit: count, user_queued: count,
--       canceled_too: flag, priority_unit: count?, cost: count?, key_weight: count?, weights: numbers,
--       queue_size: count, key_queued: count?, user_waiting: count?, share: number, statistics: flag,
--       budgets: numbers, ledger: text, hook: pairs...
-- Returns: {not_found} | {retried, count: count} | {user_limit, live: count, allowed: count} |
--       {user_queue_full, waiting: count, allowed: count} | {key_queue_full, waiting: count, allowed: count} |
--       {queue_full, waiting: count} | {budget_exceeded, whose: name, period: name}
-- canceled_too: also for each job that was canceled.
-- hook: fields of the API key's default hook of today, for the new jobs that use it.
-- priority_unit, cost, key_weight, weights: as for reprioritize and enqueue: how the policy makes a score.
local OLD = { 'created_at', 'score', 'expire_at' } -- what the new job's times and score are made of
local KEPT = { -- what the new job has from the old one
  'schema',
  'owner',
  'user',
  'queue',
  'provider',
  'model',
  'input',
  'likeness',
  'tier',
  'priority',
  'metadata',
  'hook_url',
  'hook_lane',
  'hook_tag',
  'hook_events',
  'hook_default',
  'lane',
  'deadline',
  'adoption',
  'max_attempts',
  'retry_delay',
  'policy',
  'number',
  'batch',
  'fingerprint',
  'incarnation',
  'price',
}
local now, is_fair = tonumber(arg.now), arg.cost ~= ''
local cost -- of each new job, under the fair policy

-- The answer if nothing is to be done, or the user may have no other task; else nil.
local function replay(b)
  if b.owner ~= arg.owner then return { 'not_found' } end
  if b.retry_token == arg.token then return { 'retried', b.retried } end
  if not b.ended_at or b.retry_begun == arg.token then return nil end
  local user = read_user(key.user, tonumber(arg.user_limit))
  local tasks, allowed = tasks_of(key.user, user), math.max(tonumber(arg.user_queued), user.cap)
  if tasks < allowed then return nil end
  return { 'user_limit', text(tasks), text(allowed) }
end

-- The id of the live job of each number of the batch, if it has one.
local function live_jobs()
  local live = {}
  for _, id in ipairs(redis.call('ZRANGE', key.batch_queue, 0, -1)) do
    if redis.call('EXISTS', job_key(id)) == 1 then live[string.match(id, '_(%d+)[^_]*$')] = id end
  end
  return live
end

-- Gives a new job that uses its API key's default hook today's in place of that of its first submission.
local function renew_hook(kept)
  if not kept.hook_default or not kept.hook_events then return end -- mutant: present default hook
  local hook = from_pairs(rest.hook)
  kept.hook_url, kept.hook_lane, kept.hook_tag = hook.hook_url or '', hook.hook_lane, hook.hook_tag
end

-- What a new job is made of: the record of the job whose place it takes. An earlier call that stopped half-way may have
-- made the new one: then it is only noted.
local function read_copy(b, number, made, round)
  local old = b['i' .. number] or arg.batch_id .. '_' .. number
  if made then return { number = number, id = made, old = old, is_made = true } end
  local names = { unpack(OLD) }
  add(names, unpack(KEPT))
  local f, kept = read(job_key(old), unpack(names)), {}
  for _, name in ipairs(KEPT) do
    kept[name] = f[name]
  end
  renew_hook(kept)
  local id = arg.batch_id .. '_' .. number .. 'r' .. round
  return f.created_at and { number = number, id = id, old = old, f = f, kept = kept }
end

-- The jobs that get a new one: those that failed, and the canceled ones if the caller wants them.
local function read_copies(b, round)
  local copies, live = {}, live_jobs()
  for number = 0, tonumber(b.expected) - 1 do
    local outcome = b['s' .. text(number)]
    local is_wanted = outcome == 'failed' or (outcome == 'canceled' and arg.canceled_too == '1') -- mutant: outcome
    local copy = is_wanted and read_copy(b, text(number), live[text(number)], round)
    if copy then add(copies, copy) end
  end
  return copies
end

-- Notes what the batch was when it ended, for the event of that end, which may still be undelivered.
local function note_last_end(b)
  local counts = { completed = 0, failed = 0, canceled = 0 }
  for number = 0, tonumber(b.expected) - 1 do
    local outcome = b['s' .. text(number)]
    if counts[outcome] then counts[outcome] = counts[outcome] + 1 end
  end
  local summary = { b.ended_at, text(counts.completed), text(counts.failed), text(counts.canceled) }
  redis.call('HSET', key.batch, 'e:batch' .. (b.rounds or ''), table.concat(summary, ','))
end

-- The score of a new job that is not under the fair policy: as if it had been submitted now.
local function new_score(f, waited)
  if arg.priority_unit == '' then return now * (6 - tonumber(f.priority)) end
  return tonumber(f.score) + waited
end

-- Gives each new job its times and its score. Returns the tag that their user's next job begins with under the
-- fair policy.
local function prepare(copies, tag)
  for _, copy in ipairs(copies) do
    if not copy.is_made then
      local waited = now - tonumber(copy.f.created_at)
      copy.score = is_fair and tag or new_score(copy.f, waited)
      copy.expire_at = tonumber(copy.f.expire_at) + waited
      if is_fair then tag = tag + cost end
    end
  end
  return tag
end

-- Writes the places of the new jobs: in the backlog, in their batch's queue, and of the batch in its user's set.
local function write_places(copies)
  local moves, queued, records = {}, {}, {}
  for _, copy in ipairs(copies) do
    if not copy.is_made then
      add(records, job_key(copy.id))
      add(queued, text(copy.score), copy.id)
      add(moves, score_of(BACKLOG, copy.score), copy.id, score_of(ALARMS, copy.expire_at), alarm_of(copy.id))
      add(moves, score_of(HISTORY, now), history_of(key.user, copy.id))
      add_share(moves, copy.id, arg.share, false)
    end
  end
  if #queued == 0 then return end
  -- Of a retry of an earlier batch with this id.
  redis.call('DEL', unpack(records))
  redis.call('ZADD', key.batch_queue, unpack(queued))
  rank_batch(key.user, arg.batch_id)
  redis.call('ZADD', key.index, unpack(moves))
end

-- Writes a new job, and then into its batch that it is in the place of the old one.
local function write_copy(copy)
  if not copy.is_made then
    local fields = copy.kept
    fields.state, fields.attempt, fields.heirs = 'backlog', '0', '1'
    fields.score, fields.created_at, fields.expire_at = text(copy.score), arg.now, text(copy.expire_at)
    fields.share = arg.share
    if arg.ledger ~= '' and fields.price then fields.ledger = arg.ledger end
    if is_fair then note_cost(fields, cost) end
    write_fields(job_key(copy.id), fields)
  end
  redis.call('HSET', key.batch, 'i' .. copy.number, copy.id)
  redis.call('HDEL', key.batch, 's' .. copy.number)
end

-- Writes all new jobs, which are as good as admitted.
local function write_copies(copies)
  local models, lane = {}, nil
  for _, copy in ipairs(copies) do
    write_copy(copy)
    if not copy.is_made then
      lane = tonumber(copy.kept.lane)
      add(models, copy.kept.model)
    end
  end
  note_admitted(lane, models)
end

-- Lets a batch that had ended live again.
local function reopen(b, round)
  if b.ended_at then note_last_end(b) end
  write_fields(key.batch, { rounds = round, retry_begun = arg.token })
  redis.call('HDEL', key.batch, 'ended_at', 'cancel_token')
  redis.call('PERSIST', key.batch)
end

-- The jobs whose places were taken are no longer dead letters.
local function drop_letters(copies)
  local ids = {}
  for _, copy in ipairs(copies) do
    add(ids, copy.old)
  end
  if #ids > 0 then redis.call('ZREM', dead_key(), unpack(ids)) end
end

-- Writes places before records, so that a record is never without one. The token is noted last: a repeat does the rest.
local function write(user, b, copies, round)
  local gates = is_fair and read_head(0, 0).gates or {}
  cost = is_fair and cost_of(user, gates)
  local tag = prepare(copies, begin_tag(user, gates))
  if is_fair then
    note_active(gates, tag, now)
    redis.call('ZADD', key.user, text(SPECIAL + tag), '~')
  end
  write_places(copies)
  reopen(b, round)
  write_copies(copies)
  expect_heirs(user)
  promote(key.user) -- mutant: promotion
  drop_letters(copies) -- mutant: dead letters
  write_fields(key.batch, { retry_token = arg.token, retried = text(#copies) })
end

-- The refusal if the user, the API key or the queue has no room for so many more jobs; else nil.
local function refusal(user, count)
  local refused = refuse_share(tonumber(arg.share), count, user, tasks_of(key.user, user))
  if refused then return refused end
  local waiting = count_waiting()
  if waiting + count > tonumber(arg.queue_size) then return { 'queue_full', text(waiting) } end
  return nil
end

-- The new jobs that have a price, with what each may cost.
local function priced(copies)
  local jobs = {}
  for _, copy in ipairs(arg.ledger ~= '' and copies or {}) do
    local price = not copy.is_made and copy.kept.price
    if price then add(jobs, { id = copy.id, bound = bound_of(price) }) end
  end
  return jobs
end

local b = read_all(key.batch)
local answer = replay(b)
if answer then return answer end
local is_rest = b.retry_begun == arg.token -- an earlier call with this token has stopped half-way
local round = text(tonumber(b.rounds or '0') + (is_rest and 0 or 1))
local copies = read_copies(b, round)
if #copies == 0 and not is_rest then return { 'retried', '0' } end
local user = read_user(key.user, tonumber(arg.user_limit))
local refused = not is_rest and refusal(user, #copies)
if refused then return refused end
local reservations, too_dear = plan_reservations(priced(copies), is_rest)
if too_dear then return too_dear end
reserve(reservations) -- mutant: reserved first
write(user, b, copies, round)
return { 'retried', text(#copies) }
