-- enqueue: admits a job once, starts it at once if wished and nothing else has a better right to the free slot.
-- KEYS: 1 index  2 job  3 user  4 stats  5 job prefix
-- ARGV: 1 id  2 token  3 fingerprint  4 now  5 lease_now  6 queue  7 score  8 start  9 lease  10 adoption
--       11 limit  12 concurrency  13 user_limit  14 queue_size  15.. fields
-- Returns: {conflict} | {duplicate} | {user_limit, live} | {queue_full, waiting}
--        | {started, attention} | {queued, position, attention}
-- attention is 1 when the caller saw something that a claim would move on: a free slot with a better job, an overdue slot.
local index, job_key, user_key = KEYS[1], KEYS[2], KEYS[3]
local id, token, now = ARGV[1], ARGV[2], tonumber(ARGV[4])
local queue, score = tonumber(ARGV[6]), tonumber(ARGV[7])
local limit, concurrency = tonumber(ARGV[11]), numbers(ARGV[12])

local known = redis.call('HMGET', job_key, 'fingerprint', 'token', 'state', 'attempt')
if known[1] then
  if known[1] ~= ARGV[3] then return {'conflict'} end
  if known[2] ~= token then return {'duplicate'} end
  if known[3] == 'submitting' and known[4] == '1' then return {'started', '0'} end
  return {'queued', '', '1'}
end

local live = redis.call('ZCARD', user_key)
if live >= tonumber(ARGV[13]) then
  -- Before anybody is refused: a job that was lost with its hash must not hold a place for ever.
  for _, member in ipairs(redis.call('ZRANGE', user_key, 0, -1)) do
    if redis.call('EXISTS', KEYS[5] .. member) == 0 then
      redis.call('ZREM', user_key, member)
      redis.call('ZREM', index, member)
      redis.call('HINCRBY', KEYS[4], 'missing', 1)
      live = live - 1
    end
  end
  if live >= tonumber(ARGV[13]) then return {'user_limit', text(live)} end
end

local head = read_head(index, limit + 1)
local room = head.slots < limit and head.by_queue[queue] < concurrency[queue + 1]
local attention, count, position, last_band = false, 0, 1, -1
for _, row in ipairs(head.rows) do
  last_band = row.band
  if row.band < READY then
    attention = attention or row.ms <= now
  else
    count = count + 1
    local k = row.band - READY
    if k < QUEUES and head.slots < limit and head.by_queue[k] < (concurrency[k + 1] or 0) then
      if k ~= queue or row.ms <= score then attention, room = true, false end
    end
    if k == queue and row.ms <= score then position = position + 1 end
    -- A due retry may have the better right; a claim, which reads its score, decides.
    if row.band == DELAYED and row.ms <= now then attention, room = true, false end
  end
end
-- Behind the head may lie jobs with a better right: of this queue, or of another one that has room.
if room and not head.complete then
  for k = 0, #concurrency - 1 do
    local hidden = last_band < READY + k or (last_band == READY + k and k ~= queue)
    if hidden and head.by_queue[k] < concurrency[k + 1] then attention, room = true, false end
  end
end

if ARGV[8] == '1' and room then
  local lease_until = lease_time(ARGV[5]) + tonumber(ARGV[9])
  redis.call('HSET', job_key, 'state', 'submitting', 'attempt', '1', 'token', token, 'fingerprint', ARGV[3],
    'score', ARGV[7], 'lease_until', text(lease_until), 'adopt_until', text(lease_until + tonumber(ARGV[10])),
    'submitted_at', ARGV[4], unpack(ARGV, 15))
  redis.call('ZADD', index, score_of(queue, lease_until), id)
  redis.call('ZADD', user_key, -1, id)
  return {'started', attention and '1' or '0'}
end

if not head.complete then count = redis.call('ZCOUNT', index, score_of(READY, 0), '+inf') end
if count >= tonumber(ARGV[14]) then return {'queue_full', text(count)} end
redis.call('HSET', job_key, 'state', 'queued', 'attempt', '0', 'token', token, 'fingerprint', ARGV[3],
  'score', ARGV[7], unpack(ARGV, 15))
redis.call('ZADD', index, score_of(READY + queue, score), id)
redis.call('ZADD', user_key, -1, id)
if not head.complete then
  position = redis.call('ZCOUNT', index, score_of(READY + queue, 0), score_of(READY + queue, score))
end
return {'queued', text(position), (attention or room) and '1' or '0'}
