-- batch_retry: makes a new job for each one of a batch that ended otherwise than well; what has ended stays as it is, and
-- the new jobs take its places in the batch. A batch that had ended lives again, as one task of its user.
-- With: outbox, ending
-- KEYS: index, batch, stats, root, batch_queue, user
-- ARGV: batch_id: name, owner: name, token: name, now: moment, ttl: seconds, user_limit: count, user_queued: count,
--       canceled_too: flag, priority_unit: count?, cost: count?, queue_size: count
-- Returns: {not_found} | {retried, count} | {user_limit, live, allowed} | {queue_full, waiting}
-- unit, cost: as for reprioritize and enqueue: how a score is made under the policy.
local flat, b = redis.call('HGETALL', key.batch), {}
for i = 1, #flat, 2 do b[flat[i]] = flat[i + 1] end
if b.owner ~= arg.owner then return {'not_found'} end
if b.retry_token == arg.token then return {'retried', b.retried} end
local ending, now = ending_of(key.index, key.stats, key.root, arg.now, arg.ttl, arg.user_limit), tonumber(arg.now)
if b.ended_at then
  local user = read_user(key.user, ending.cap)
  local tasks, allowed = tasks_of(key.user, user), math.max(tonumber(arg.user_queued), user.cap)
  if tasks >= allowed then return {'user_limit', text(tasks), text(allowed)} end
end

local OLD = {'created_at', 'score', 'expire_at', 'priority'}
local KEPT = {'schema', 'owner', 'user', 'queue', 'provider', 'model', 'input', 'tier', 'priority', 'metadata', 'hook_url', 'hook_lane',
  'hook_tag', 'hook_events',
  'lane', 'deadline', 'adoption', 'max_attempts', 'retry_delay', 'policy', 'number', 'batch', 'fingerprint'}
local rounds, copies = tonumber(b.rounds or '0') + 1, {}
for n = 0, tonumber(b.expected) - 1 do
  local outcome = b['s' .. text(n)]
  if outcome == 'failed' or (outcome == 'canceled' and arg.canceled_too == '1') then
    local old = ending.prefix .. 'j:' .. (b['i' .. text(n)] or arg.batch_id .. '_' .. text(n))
    local f, kept = read(old, unpack(OLD)), redis.call('HMGET', old, unpack(KEPT))
    if f.created_at then copies[#copies + 1] = {number = text(n), f = f, kept = kept} end
  end
end
if #copies == 0 then return {'retried', '0'} end
local count = count_waiting(key.index)
if count + #copies > tonumber(arg.queue_size) then return {'queue_full', text(count)} end

local gates = arg.cost ~= '' and read_head(key.index, 0, 0).gates or {}
local known = read_user(key.user, ending.cap)
local tag = math.max(gates['~v'] or FIRST_TAG, known.tag)
redis.call('PERSIST', key.batch)
redis.call('HDEL', key.batch, 'ended_at', 'cancel_token')
if b.ended_at then
  -- The event of this end may still be told, by what the batch was then.
  local counts = {completed = 0, failed = 0, canceled = 0}
  for n = 0, tonumber(b.expected) - 1 do
    local outcome = b['s' .. text(n)]
    if counts[outcome] then counts[outcome] = counts[outcome] + 1 end
  end
  redis.call('HSET', key.batch, 'e:batch' .. (b.rounds or ''), b.ended_at .. ',' .. text(counts.completed) .. ',' ..
    text(counts.failed) .. ',' .. text(counts.canceled))
end
for i, copy in ipairs(copies) do
  local id = arg.batch_id .. '_' .. copy.number .. 'r' .. text(rounds)
  local waited = now - tonumber(copy.f.created_at)
  local score = tonumber(copy.f.score) + waited
  if arg.priority_unit == '' then score = now * (6 - tonumber(copy.f.priority)) end
  if arg.cost ~= '' then
    score = tag
    tag = tag + tonumber(arg.cost)
  end
  local expire_at = tonumber(copy.f.expire_at) + waited
  local fields = {'state', 'backlog', 'attempt', '0', 'heirs', '1', 'score', text(score), 'created_at', arg.now, 'expire_at',
    text(expire_at)}
  for k, name in ipairs(KEPT) do
    if copy.kept[k] then
      fields[#fields + 1] = name
      fields[#fields + 1] = copy.kept[k]
    end
  end
  redis.call('HSET', ending.prefix .. 'j:' .. id, unpack(fields))
  redis.call('ZADD', key.batch_queue, text(score), id)
  redis.call('ZADD', key.index, score_of(BACKLOG, score), id, entries_of(key.root, key.user, id, expire_at, now))
  redis.call('HSET', key.batch, 'i' .. copy.number, id)
  redis.call('HDEL', key.batch, 's' .. copy.number)
end
redis.call('HSET', key.batch, 'rounds', text(rounds), 'retry_token', arg.token, 'retried', text(#copies))
if arg.cost ~= '' then redis.call('ZADD', key.user, text(SPECIAL + tag), '~') end
place_batch(key.root, key.user, arg.batch_id)
-- Whoever of the user's is at work must know that somebody waits for his place.
tell_heirs(key.root, known)
promote(ending, key.user)
return {'retried', text(#copies)}
