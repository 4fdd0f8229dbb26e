-- batch_retry: makes a new job for each job of a batch that failed. Ended jobs stay as they are, and the new ones take
-- their places. A batch that had ended lives again, as one task of its user.
-- With: keys, room, users, shares, seats
-- KEYS: index, batch, stats, root, batch_queue, user
-- ARGV: batch_id: name, owner: name, token: name, now: moment, user_limit: count, user_queued: count,
--       canceled_too: flag, priority_unit: count?, cost: count?, queue_size: count, key_queued: count?,
--       user_waiting: count?, share: number
-- Returns: {not_found} | {retried, count: count} | {user_limit, live: count, allowed: count} |
--       {user_queue_full, waiting: count, allowed: count} | {key_queue_full, waiting: count, allowed: count} |
--       {queue_full, waiting: count}
-- canceled_too: also for each job that was canceled.
-- priority_unit, cost: as for reprioritize and enqueue: how the policy makes a score.
local OLD = { 'created_at', 'score', 'expire_at', 'priority' } -- what the new job's times and score are made of
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
}
local now, is_fair = tonumber(arg.now), arg.cost ~= ''

-- The answer if nothing is to be done, or the user may have no other task; else nil.
local function replay(b)
  if b.owner ~= arg.owner then return { 'not_found' } end
  if b.retry_token == arg.token then return { 'retried', b.retried } end
  if not b.ended_at then return nil end
  local user = read_user(key.user, tonumber(arg.user_limit))
  local tasks, allowed = tasks_of(key.user, user), math.max(tonumber(arg.user_queued), user.cap)
  if tasks < allowed then return nil end
  return { 'user_limit', text(tasks), text(allowed) }
end

-- The jobs that get a new one: those that failed, and the canceled ones if the caller wants them.
local function read_copies(b)
  local copies = {}
  for number = 0, tonumber(b.expected) - 1 do
    local outcome = b['s' .. text(number)]
    local is_wanted = outcome == 'failed' or (outcome == 'canceled' and arg.canceled_too == '1') -- mutant: outcome
    if is_wanted then
      local old = job_key(b['i' .. text(number)] or arg.batch_id .. '_' .. text(number))
      local f = read(old, unpack(OLD))
      local kept = read(old, unpack(KEPT))
      if f.created_at then add(copies, { number = text(number), f = f, kept = kept }) end
    end
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

-- Writes a new job into the backlog and into its batch, in the place of the old one.
local function write_copy(copy, round, tag)
  local id, fields = arg.batch_id .. '_' .. copy.number .. 'r' .. round, copy.kept
  local waited = now - tonumber(copy.f.created_at)
  local score, expire_at = is_fair and tag or new_score(copy.f, waited), tonumber(copy.f.expire_at) + waited
  fields.state, fields.attempt, fields.heirs = 'backlog', '0', '1'
  fields.score, fields.created_at, fields.expire_at = text(score), arg.now, text(expire_at)
  fields.share = arg.share
  write_fields(job_key(id), fields)
  redis.call('ZADD', key.batch_queue, text(score), id)
  local moves = { score_of(BACKLOG, score), id, score_of(ALARMS, expire_at), alarm_of(id) }
  add(moves, score_of(HISTORY, now), history_of(key.user, id))
  add_share(moves, id, arg.share, false)
  redis.call('ZADD', key.index, unpack(moves))
  redis.call('HSET', key.batch, 'i' .. copy.number, id)
  redis.call('HDEL', key.batch, 's' .. copy.number)
end

-- Writes all new jobs; returns the tag that their user's next job begins with under the fair policy.
local function write_copies(copies, round, tag)
  for _, copy in ipairs(copies) do
    write_copy(copy, round, tag)
    if is_fair then tag = tag + tonumber(arg.cost) end
  end
  return tag
end

-- The refusal if the user, the API key or the queue has no room for so many more jobs; else nil.
local function refusal(user, count)
  local refused = refuse_share(tonumber(arg.share), count, user, tasks_of(key.user, user))
  if refused then return refused end
  local waiting = count_waiting()
  if waiting + count > tonumber(arg.queue_size) then return { 'queue_full', text(waiting) } end
  return nil
end

local b = read_all(key.batch)
local answer = replay(b)
if answer then return answer end
local copies = read_copies(b)
if #copies == 0 then return { 'retried', '0' } end
local user = read_user(key.user, tonumber(arg.user_limit))
local refused = refusal(user, #copies)
if refused then return refused end

local gates = is_fair and read_head(0, 0).gates or {}
local tag, round = math.max(gates[VIRTUAL_TIME] or FIRST_TAG, user.tag), text(tonumber(b.rounds or '0') + 1)
redis.call('PERSIST', key.batch)
redis.call('HDEL', key.batch, 'ended_at', 'cancel_token')
if b.ended_at then note_last_end(b) end
tag = write_copies(copies, round, tag)
write_fields(key.batch, { rounds = round, retry_token = arg.token, retried = text(#copies) })
if is_fair then redis.call('ZADD', key.user, text(SPECIAL + tag), '~') end
rank_batch(key.user, arg.batch_id)
expect_heirs(user)
promote(key.user) -- mutant: promotion
return { 'retried', text(#copies) }
