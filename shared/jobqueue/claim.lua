-- claim: takes the best jobs that the limits allow, and hands overdue slots to this caller alone.
-- KEYS: 1 index  2 stats  3 job prefix
-- ARGV: 1 token  2 now  3 lease_now  4 lease  5 adoption  6 mark  7 want  8 limit  9 concurrency  10 check_interval
--       11 tick
-- Returns: {{started ...}, {overdue ...}, missing}
--   started: {id, attempt, provider, model, input, owner, user, queue}
--   overdue: {id, attempt, provider, state, prediction, submitted_at, cancel_requested}
-- A repeat with the same token answers the same started jobs: their slots end in the caller's `mark` (ms % 1000), which
-- picks the few whose token is worth reading.
local index, stats, jobs = KEYS[1], KEYS[2], KEYS[3]
local token, mark, want = ARGV[1], tonumber(ARGV[6]), tonumber(ARGV[7])
local limit, concurrency, interval = tonumber(ARGV[8]), numbers(ARGV[9]), tonumber(ARGV[10])
local time = lease_time(ARGV[3])
-- Slots of the same second and another mark belong to other claims.
local lease_until = math.floor((time + tonumber(ARGV[4])) / 1000) * 1000 + mark

local head = read_head(index, limit + want)
local replay, overdue, visible, due = {}, {}, {}, {}
for k = 0, QUEUES - 1 do visible[k] = {} end
local last_band = -1
for _, row in ipairs(head.rows) do
  last_band = row.band
  if row.band < READY then
    if row.ms % 1000 == mark and redis.call('HGET', jobs .. row.id, 'token') == token then
      replay[#replay + 1] = row
    elseif row.ms <= time and #overdue < want then
      overdue[#overdue + 1] = row
    end
  elseif row.band < DELAYED then
    table.insert(visible[row.band - READY], row)
  elseif row.band == DELAYED and row.ms <= time then
    due[#due + 1] = row
  end
end

local function start_row(id, attempt, f)
  return {id, attempt, f[2], f[3], f[4], f[5], f[6], f[7]}
end
local START = {'attempt', 'provider', 'model', 'input', 'owner', 'user', 'queue', 'state'}

if #replay > 0 then
  local started = {}
  for _, row in ipairs(replay) do
    local f = redis.call('HMGET', jobs .. row.id, unpack(START))
    if f[8] == 'submitting' then started[#started + 1] = start_row(row.id, f[1], f) end
  end
  return {started, {}, '0'}
end

local moves, lost = {}, {}
local function move(id, score)
  moves[#moves + 1] = score
  moves[#moves + 1] = id
end

local handed = {}
for _, row in ipairs(overdue) do
  local f = redis.call('HMGET', jobs .. row.id, 'attempt', 'provider', 'state', 'prediction', 'submitted_at',
      'cancel_requested')
  if f[1] then
    handed[#handed + 1] = {row.id, f[1], f[2], f[3], f[4] or '', f[5] or '0', f[6] or '0'}
    move(row.id, score_of(row.band, math.floor((time + interval) / 1000) * 1000))
  else
    lost[#lost + 1] = row.id
  end
end

-- Candidates: the heads of each queue with room, and what is due again.
local room = math.min(limit - head.slots, want)
local candidates = {}
if room > 0 then
  if not head.complete then
    local flat = redis.call('ZRANGEBYSCORE', index, score_of(DELAYED, 0), score_of(DELAYED, time), 'LIMIT', 0, want)
    due = {}
    for _, id in ipairs(flat) do due[#due + 1] = {id = id} end
  end
  for _, row in ipairs(due) do
    local f = redis.call('HMGET', jobs .. row.id, 'score', 'queue_number')
    if f[1] then
      candidates[#candidates + 1] = {id = row.id, ms = tonumber(f[1]), queue = tonumber(f[2]), due = true}
    else
      lost[#lost + 1] = row.id
    end
  end
  for k = 0, #concurrency - 1 do
    local need = math.min(room, concurrency[k + 1] - head.by_queue[k])
    if need > 0 then
      local rows = visible[k]
      if #rows < need and not head.complete and last_band <= READY + k then
        rows = {}
        local flat = redis.call('ZRANGEBYSCORE', index, score_of(READY + k, 0), '(' .. score_of(READY + k + 1, 0),
          'WITHSCORES', 'LIMIT', 0, need)
        for i = 1, #flat, 2 do rows[#rows + 1] = {id = flat[i], ms = ms_of(tonumber(flat[i + 1]))} end
      end
      for _, row in ipairs(rows) do candidates[#candidates + 1] = {id = row.id, ms = row.ms, queue = k} end
    end
  end
end
table.sort(candidates, function(a, b) if a.ms ~= b.ms then return a.ms < b.ms end return a.id < b.id end)

local started, writes, requeued = {}, {}, {}
for _, job in ipairs(candidates) do
  local k = job.queue
  if #started < room and head.by_queue[k] < (concurrency[k + 1] or 0) then
    local f = redis.call('HMGET', jobs .. job.id, unpack(START))
    if f[1] then
      local attempt = text(tonumber(f[1]) + 1)
      started[#started + 1] = start_row(job.id, attempt, f)
      writes[#writes + 1] = {job.id, attempt}
      head.by_queue[k] = head.by_queue[k] + 1
      move(job.id, score_of(k, lease_until))
    else
      lost[#lost + 1] = job.id
    end
  elseif job.due then
    move(job.id, score_of(READY + k, job.ms))
    requeued[#requeued + 1] = job.id
  end
end

for _, write in ipairs(writes) do
  redis.call('HSET', jobs .. write[1], 'state', 'submitting', 'attempt', write[2], 'token', token, 'prediction', '',
    'lease_until', text(lease_until), 'adopt_until', text(lease_until + tonumber(ARGV[5])), 'submitted_at', ARGV[2],
    'progress', '')
end
for _, row in ipairs(handed) do redis.call('HSET', jobs .. row[1], 'checked_at', ARGV[2]) end
for _, id in ipairs(requeued) do redis.call('HSET', jobs .. id, 'state', 'queued') end
if #moves > 0 then redis.call('ZADD', index, unpack(moves)) end
if #lost > 0 then
  redis.call('ZREM', index, unpack(lost))
  redis.call('HINCRBY', stats, 'missing', #lost)
end
if ARGV[11] == '1' then redis.call('HSET', stats, 'tick_at', text(time)) end
return {started, handed, text(#lost)}
