-- enqueue: admits a job once, starts it at once if wished and nothing else has a better right to the free slot. A job
-- that its user's concurrency does not admit goes to his backlog, unless it is better than one of his that waits.
-- KEYS: index, job, user, stats, root
-- ARGV: id: name, token: name, fingerprint: name, now: moment, lease_now: moment?, lane: count, score: number,
--       start: flag, lease: milliseconds, adoption: milliseconds, slot_limit: count, queue_limits: numbers,
--       provider_limits: numbers, lanes: numbers, user_limit: count, user_queued: count, queue_size: count,
--       expire_at: moment, model: name, cost: count?, heirs: flag, fields: pairs...
-- Returns: {conflict} | {duplicate} | {user_limit, live, allowed} | {queue_full, waiting}
--        | {started, attention} | {queued, position, attention} | {backlog, position, attention}
-- attention is 1 when the caller saw something that a claim would move on: a free slot with a better job, an overdue slot.
-- cost, unless empty, makes `score` a head start in grants: the fair policy's tag is made here. heirs: 1 if each end has to
-- look for the next job of its user.
local index, job_key, user_key = key.index, key.job, key.user
local id, token, now = arg.id, arg.token, tonumber(arg.now)
local lane, score = tonumber(arg.lane), tonumber(arg.score)
local concurrency, providers = numbers(arg.queue_limits), numbers(arg.provider_limits)

local known = read(job_key, 'fingerprint', 'token', 'state', 'attempt')
if known.fingerprint then
  if known.fingerprint ~= arg.fingerprint then return {'conflict'} end
  if known.token ~= token then return {'duplicate'} end
  if known.state == 'submitting' and known.attempt == '1' then return {'started', '0'} end
  return {'queued', '', '1'}
end

local user = read_user(user_key, tonumber(arg.user_limit))
local tasks, allowed = tasks_of(user_key, user), math.max(tonumber(arg.user_queued), user.cap)
if tasks >= allowed then
  -- Before anybody is refused: a job that was lost with its hash must not hold a place for ever.
  -- Ten each time, wherever they stand.
  local is_lost, first = false, tasks > 10 and now % (tasks - 9) or 0
  for _, member in ipairs(redis.call('ZRANGE', user_key, first, first + 9)) do
    local kind, key = string.sub(member, 1, 1), key.root .. 'j:' .. member
    if kind == '#' then key = key.root .. 'b:' .. string.sub(member, 2) end
    if kind ~= '=' and kind ~= '~' and redis.call('EXISTS', key) == 0 then
      redis.call('ZREM', user_key, member)
      redis.call('ZREM', index, member, '!' .. member)
      redis.call('HINCRBY', key.stats, 'missing', 1)
      is_lost = true
    end
  end
  if is_lost then
    user = read_user(user_key, tonumber(arg.user_limit))
    tasks = tasks_of(user_key, user)
  end
  if tasks >= allowed then return {'user_limit', text(tasks), text(allowed)} end
end

local head = read_head(index, tonumber(arg.slot_limit), 1)
local special = {}
if arg.cost ~= '' then
  -- Start-time fair queueing: a job begins where its user's last one ended, or now, at the last grant of all.
  local virtual, cost = head.gates['~v'] or FIRST_TAG, tonumber(arg.cost)
  -- Nobody owes for more than he has live, and one: what was cancelled was not served.
  local owed = user.batches > 0 and user.tag or math.min(user.tag, virtual + (tasks + 1) * cost)
  local begins = math.max(virtual, owed)
  -- Of equal tags the one submitted first is lower, by up to a hundredth of a grant for the time since the last one.
  local tie = math.max(0, math.min(99, math.floor((now - (head.gates['~w'] or now)) / 100)))
  score = math.max(0, begins + tie - score)
  special = {text(SPECIAL + begins + cost), '~'}
end
local room = read_room(head, tonumber(arg.slot_limit), concurrency, providers, now)
local is_admitted = #user.admitted < user.cap
local may_start = is_admitted and has_room(room, lane) and not room.probe[provider_of(lane)]
  and not head.gates[circuit_of(provider_of(lane), arg.model)]
local attention, count, position, slots = false, 0, 1, {}
for _, row in ipairs(head.rows) do
  if row.band < READY then
    slots[row.id] = true
    attention = attention or row.ms <= now
  elseif row.band < ALARMS then
    count = count + 1
    local l = row.band - READY
    if l < LANES and has_room(room, l) and (l ~= lane or row.ms <= score) then attention, may_start = true, false end
    if l < LANES and queue_of(l) == queue_of(lane) and row.ms <= score then position = position + 1 end
    -- A due retry may have the better right; a claim, which reads its score, decides.
    if row.band == DELAYED and row.ms <= now then attention, may_start = true, false end
  end
end
-- Behind the head may lie jobs with a better right: of this lane, or of another one that has room.
if not head.complete then
  for _, l in ipairs(numbers(arg.lanes)) do
    local hidden = head.last_band < READY + l or (head.last_band == READY + l and l ~= lane)
    if hidden and has_room(room, l) then attention, may_start = true, false end
  end
end

local moves = {entries_of(key.root, user_key, id, tonumber(arg.expire_at), now)}
local function write(state, heirs, band, ms, seat, more)
  local fields = {'state', state, 'token', token, 'fingerprint', arg.fingerprint, 'score', text(score), 'heirs', heirs}
  for _, list in ipairs({more, rest.fields}) do
    for _, part in ipairs(list) do fields[#fields + 1] = part end
  end
  redis.call('HSET', job_key, unpack(fields))
  redis.call('ZADD', index, score_of(band, ms), id, unpack(moves))
  redis.call('ZADD', user_key, text(seat), id, unpack(special))
end

local time = arg.start == '1' and may_start and lease_time(arg.lease_now)
-- By the store's clock once more: a caller's fast one must not end a pause or fill the bucket.
if time and has_room(read_room(head, tonumber(arg.slot_limit), concurrency, providers, time), lane) then
  local lease_until = time + tonumber(arg.lease)
  for _, part in ipairs({bucket_after(head, providers, provider_of(lane), 1, time), '~r' .. text(provider_of(lane))}) do
    moves[#moves + 1] = part
  end
  if arg.cost ~= '' then
    for _, part in ipairs({text(-BAND + math.max(head.gates['~v'] or FIRST_TAG, score)), '~v', text(-BAND + now), '~w'}) do
      moves[#moves + 1] = part
    end
  end
  write('submitting', arg.heirs, lane, lease_until, ADMITTED + score, {'attempt', '1', 'lease_until', text(lease_until),
    'adopt_until', text(lease_until + tonumber(arg.adoption)), 'submitted_at', arg.now})
  return {'started', attention and '1' or '0'}
end

if not head.complete then count = count_waiting(index) end
if count >= tonumber(arg.queue_size) then return {'queue_full', text(count)} end

-- A better job than one of the user's that waits with his concurrency takes its place.
local worse
if not is_admitted then
  -- The last to have been admitted is the worst; who waits for a retry keeps his place.
  for i = #user.admitted, 1, -1 do
    local job = user.admitted[i]
    if job.score <= score or worse then break end
    local may_give_way = not slots[job.id] and string.sub(job.id, 1, 4) ~= 'bat_'
    if may_give_way and read(key.root .. 'j:' .. job.id, 'state').state == 'queued' then worse = job end
  end
end
if worse then
  moves[#moves + 1] = score_of(BACKLOG, worse.score)
  moves[#moves + 1] = worse.id
  special[#special + 1] = text(worse.score)
  special[#special + 1] = worse.id
end
local more = {'attempt', '0'}
if not head.complete or not (is_admitted or user.complete) then
  -- Far from the head a poll has no command left to ask how long runs of this model take.
  local p50, p90 = usual_times(runs_of(key.root, lane, arg.model))
  more = {'attempt', '0', 'p50', p50, 'p90', p90}
end
local is_ready = is_admitted or worse
write(is_ready and 'queued' or 'backlog', is_admitted and arg.heirs or '1', is_ready and READY + lane or BACKLOG, score,
  is_ready and ADMITTED + score or score, more)
if worse then redis.call('HSET', key.root .. 'j:' .. worse.id, 'state', 'backlog', 'heirs', '1') end
-- Who is put before an empty backlog must know that somebody waits for his place when he ends.
if not is_admitted and #user.waiting == 0 and arg.heirs ~= '1' then tell_heirs(key.root, user) end

if not is_ready then
  return {'backlog', text(redis.call('ZCOUNT', user_key, 0, text(score))), attention and '1' or '0'}
end
if not head.complete then
  position = 0
  for _, l in ipairs(numbers(arg.lanes)) do
    if queue_of(l) == queue_of(lane) then
      position = position + redis.call('ZCOUNT', index, score_of(READY + l, 0), score_of(READY + l, score))
    end
  end
end
return {'queued', text(position), (attention or has_room(room, lane)) and '1' or '0'}
