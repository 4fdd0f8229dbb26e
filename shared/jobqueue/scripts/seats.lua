-- Which of a user's waiting jobs have a seat and which wait in the backlog. A verb that uses this names index, stats,
-- root and user_limit.

-- Drops a job, or a batch, that was lost with its hash.
local function forget(set, id)
  redis.call('ZREM', set, id)
  redis.call('ZREM', key.index, id, companions(id))
  redis.call('HINCRBY', key.stats, 'missing', 1)
end

-- Takes the next job of a batch out of its user's backlog; nil when none is left there.
local function next_of_batch(set, marker)
  local queue = batch_queue_key(string.sub(marker, 2))
  local flat = redis.call('ZRANGEBYSCORE', queue, 0, '+inf', 'WITHSCORES', 'LIMIT', 0, 2)
  redis.call('ZADD', set, flat[4] or text(SPENT), marker)
  if flat[1] then redis.call('ZADD', queue, -1, flat[1]) end
  return flat[1]
end

-- Gives a job of the backlog a seat, so that it is ready; returns whether it took one.
local function take_seat(set, id)
  local f = read(job_key(id), 'state', 'lane', 'score')
  if not f.state then forget(set, id) end
  if f.state ~= 'backlog' then return false end
  redis.call('ZADD', set, seat_score(tonumber(f.score)), id)
  redis.call('HSET', job_key(id), 'state', 'queued')
  redis.call('ZADD', key.index, score_of(READY + tonumber(f.lane), tonumber(f.score)), id)
  return true
end

-- Moves jobs from a user's backlog to the ready ones, as far as there are seats. `user` is what the caller has read.
local function promote(set, user)
  user = user or read_user(set, tonumber(arg.user_limit))
  local promoted = 0
  for _, row in ipairs(user.waiting) do
    local is_batch = string.sub(row.id, 1, 1) == '#'
    while #user.seated + promoted < user.cap do -- mutant: cap
      local id = row.id
      if is_batch then id = next_of_batch(set, row.id) end
      if not id then break end
      if take_seat(set, id) then promoted = promoted + 1 end
      if not is_batch then break end
    end
  end
end

-- Takes the seat of a ready job, which goes back into its user's backlog.
local function demote(set, id, f)
  redis.call('HSET', job_key(id), 'state', 'backlog', 'heirs', '1')
  redis.call('ZADD', key.index, score_of(BACKLOG, tonumber(f.score)), id)
  if f.batch then
    redis.call('ZADD', batch_queue_key(f.batch), f.score, id)
    redis.call('ZREM', set, id)
    rank_batch(set, f.batch)
  else
    redis.call('ZADD', set, f.score, id)
  end
end

local SEATED_JOB = { 'state', 'lane', 'score', 'batch', 'heirs', 'model', 'share', 'snooze_code', 'faults' }

-- Those of a user's seated jobs that the caller wants, worst first. Notes on all of them that others may wait for their
-- seats.
local function seated_of(user, is_wanted)
  local found = {}
  for _, job in ipairs(user.seated) do
    local f = read(job_key(job.id), unpack(SEATED_JOB))
    if f.state and is_wanted(f) then add(found, { id = job.id, f = f, score = tonumber(f.score) }) end
    -- A job that was lost with its hash must not be made anew.
    if f.state and f.heirs ~= '1' then redis.call('HSET', job_key(job.id), 'heirs', '1') end
  end
  table.sort(found, function(a, b)
    if a.score ~= b.score then return a.score > b.score end
    return a.id > b.id
  end)
  return found
end

-- The ready ones of a user's seated jobs, worst first.
local function ready_of(user)
  return seated_of(user, function(f) return f.state == 'queued' end)
end

-- How many slots of a user belong to jobs without a seat.
local function count_seatless(f)
  local share = tonumber(f.share)
  local slots = count_shares(share, share, true)
  if slots <= 1 then return 0 end -- this job, which has its seat
  for _, job in ipairs(read_user(user_key(f.owner, f.user), tonumber(arg.user_limit)).seated) do
    if is_at_provider(read(job_key(job.id), 'state').state) then slots = slots - 1 end
  end
  return slots
end

-- Gives up the seat of a cancelled submission whose outcome is unknown, and notes it in `fields`: only its slot waits
-- for that. One job of a user may do so at a time. So a user has one slot more than seats, at most.
local function leave_seat(id, f, fields)
  if not f.share or count_seatless(f) > 0 then return end -- mutant: one slot more
  redis.call('ZREM', user_key(f.owner, f.user), id) -- mutant: seat left
  fields.left_seat = '1'
  if f.heirs == '1' then promote(user_key(f.owner, f.user)) end
end

-- After a change of a limit or a score: gives the user's seats to the best jobs. Jobs at a provider and jobs that wait
-- for a retry keep theirs.
local function reseat(set)
  local user = read_user(set, tonumber(arg.user_limit))
  if #user.seated <= user.cap and #user.waiting == 0 then return end
  local best = user.waiting[1] and user.waiting[1].score
  for i, job in ipairs(ready_of(user)) do
    local is_over = #user.seated - i + 1 > user.cap
    local is_worse = best and best < job.score
    if not is_over and not is_worse then break end -- mutant: demotion
    demote(set, job.id, job.f)
  end
  promote(set)
end
