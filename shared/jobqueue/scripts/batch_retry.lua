-- batch_retry: makes a new job for each one of a batch that ended otherwise than well; what has ended stays as it is, and
-- the new jobs take its places in the batch. A batch that had ended lives again, as one task of its user.
-- With: outbox, ending
-- KEYS: 1 index  2 batch  3 stats  4 prefix  5 batch_queue  6 user
-- ARGV: 1 batch_id  2 owner  3 token  4 now  5 ttl  6 user_limit  7 user_queued  8 canceled_too  9 unit  10 cost
--       11 queue_size
-- Returns: {not_found} | {retried, count} | {user_limit, live, allowed} | {queue_full, waiting}
-- unit, cost: as for reprioritize and enqueue: how a score is made under the policy.
local flat, b = redis.call('HGETALL', KEYS[2]), {}
for i = 1, #flat, 2 do b[flat[i]] = flat[i + 1] end
if b.owner ~= ARGV[2] then return {'not_found'} end
if b.retry_token == ARGV[3] then return {'retried', b.retried} end
local ending, now = ending_of(KEYS[1], KEYS[3], KEYS[4], ARGV[4], ARGV[5], ARGV[6]), tonumber(ARGV[4])
if b.ended_at then
  local user = read_user(KEYS[6], ending.cap)
  local tasks, allowed = tasks_of(KEYS[6], user), math.max(tonumber(ARGV[7]), user.cap)
  if tasks >= allowed then return {'user_limit', text(tasks), text(allowed)} end
end

local OLD = {'created_at', 'score', 'expire_at', 'priority'}
local KEPT = {'schema', 'owner', 'user', 'queue', 'provider', 'model', 'input', 'tier', 'priority', 'metadata', 'hook_url', 'hook_lane',
  'hook_tag', 'hook_events',
  'lane', 'deadline', 'adoption', 'max_attempts', 'retry_delay', 'policy', 'number', 'batch', 'fingerprint'}
local rounds, copies = tonumber(b.rounds or '0') + 1, {}
for n = 0, tonumber(b.expected) - 1 do
  local outcome = b['s' .. text(n)]
  if outcome == 'failed' or (outcome == 'canceled' and ARGV[8] == '1') then
    local old = ending.prefix .. 'j:' .. (b['i' .. text(n)] or ARGV[1] .. '_' .. text(n))
    local f, kept = read(old, unpack(OLD)), redis.call('HMGET', old, unpack(KEPT))
    if f.created_at then copies[#copies + 1] = {number = text(n), f = f, kept = kept} end
  end
end
if #copies == 0 then return {'retried', '0'} end
local count = count_waiting(KEYS[1])
if count + #copies > tonumber(ARGV[11]) then return {'queue_full', text(count)} end

local gates = ARGV[10] ~= '' and read_head(KEYS[1], 0, 0).gates or {}
local known = read_user(KEYS[6], ending.cap)
local tag = math.max(gates['~v'] or FIRST_TAG, known.tag)
redis.call('PERSIST', KEYS[2])
redis.call('HDEL', KEYS[2], 'ended_at', 'cancel_token')
if b.ended_at then
  -- The event of this end may still be told, by what the batch was then.
  local counts = {completed = 0, failed = 0, canceled = 0}
  for n = 0, tonumber(b.expected) - 1 do
    local outcome = b['s' .. text(n)]
    if counts[outcome] then counts[outcome] = counts[outcome] + 1 end
  end
  redis.call('HSET', KEYS[2], 'e:batch' .. (b.rounds or ''), b.ended_at .. ',' .. text(counts.completed) .. ',' ..
    text(counts.failed) .. ',' .. text(counts.canceled))
end
for i, copy in ipairs(copies) do
  local id = ARGV[1] .. '_' .. copy.number .. 'r' .. text(rounds)
  local waited = now - tonumber(copy.f.created_at)
  local score = tonumber(copy.f.score) + waited
  if ARGV[9] == '' then score = now * (6 - tonumber(copy.f.priority)) end
  if ARGV[10] ~= '' then
    score = tag
    tag = tag + tonumber(ARGV[10])
  end
  local expire_at = tonumber(copy.f.expire_at) + waited
  local fields = {'state', 'backlog', 'attempt', '0', 'heirs', '1', 'score', text(score), 'created_at', ARGV[4], 'expire_at',
    text(expire_at)}
  for k, name in ipairs(KEPT) do
    if copy.kept[k] then
      fields[#fields + 1] = name
      fields[#fields + 1] = copy.kept[k]
    end
  end
  redis.call('HSET', ending.prefix .. 'j:' .. id, unpack(fields))
  redis.call('ZADD', KEYS[5], text(score), id)
  redis.call('ZADD', KEYS[1], score_of(BACKLOG, score), id, entries_of(KEYS[4], KEYS[6], id, expire_at, now))
  redis.call('HSET', KEYS[2], 'i' .. copy.number, id)
  redis.call('HDEL', KEYS[2], 's' .. copy.number)
end
redis.call('HSET', KEYS[2], 'rounds', text(rounds), 'retry_token', ARGV[3], 'retried', text(#copies))
if ARGV[10] ~= '' then redis.call('ZADD', KEYS[6], text(SPECIAL + tag), '~') end
place_batch(KEYS[4], KEYS[6], ARGV[1])
-- Whoever of the user's is at work must know that somebody waits for his place.
tell_heirs(KEYS[4], known)
promote(ending, KEYS[6])
return {'retried', text(#copies)}
