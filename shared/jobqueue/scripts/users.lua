-- A user's set, u:<owner>:<user>: the user's live jobs, and what must be known to admit another.
--   -3e15 + n      `=` the user's own concurrency, and LIMIT_SPAN for each day until it was set or last needed;
--                  `~` the tag of the user's last job (fair policy)
--   -2e15          `#batch` a live batch that has no job left in the backlog
--   -1e15 + score  a job with a seat: ready, delayed, or at a provider
--   score >= 0     the backlog: jobs, and `#batch` for the next job of a batch
-- constants.py has these numbers, as SPECIAL, SPENT and SEATED.

-- The set's score of a job with a seat.
local function seat_score(score) return text(SEATED + score) end

-- The set's score of the user's own concurrency, set or last needed on a day.
local function user_limit_score(concurrency, day) return text(SPECIAL + day * LIMIT_SPAN + concurrency) end

-- Adds a member of the set to what is known of its user.
local function note_member(user, member, score)
  local kind = string.sub(member, 1, 1)
  if kind == '=' then
    user.cap, user.specials = (score - SPECIAL) % LIMIT_SPAN, user.specials + 1
  elseif kind == '~' then
    user.tag, user.specials = score - SPECIAL, user.specials + 1
  elseif kind == '#' and score < 0 then
    user.batches = user.batches + 1
  elseif score < 0 then
    user.seated[#user.seated + 1] = { id = member, score = score - SEATED }
    if string.sub(member, 1, 4) == 'bat_' then user.of_batches = user.of_batches + 1 end -- mutant: job of a batch
  else
    user.waiting[#user.waiting + 1] = { id = member, score = score }
  end
end

-- What a user's set says: the concurrency `cap`, the jobs with a seat, those that wait. It reads twice if more than
-- `expected` jobs, or `cap` without that, have a seat.
local function read_user(set, cap, expected)
  local size = 2 * (expected or cap) + 4
  local flat = redis.call('ZRANGE', set, 0, size - 1, 'WITHSCORES')
  local user = { cap = cap, tag = 0, seated = {}, waiting = {}, of_batches = 0, specials = 0, batches = 0 }
  user.complete = #flat / 2 < size
  for i = 1, #flat, 2 do
    note_member(user, flat[i], tonumber(flat[i + 1]))
  end
  -- The user's own concurrency may be far above the deployment's, or may have been so until now.
  local may_hide_seats = user.cap > (expected or cap) or #user.waiting == 0 -- mutant: many seats
  if not user.complete and may_hide_seats then return read_user(set, cap, math.max(user.cap, size)) end
  return user
end

-- Whether a user has a batch, or may have one behind what was read: then more jobs than tasks.
local function has_batches(user)
  if user.batches > 0 or user.of_batches > 0 or not user.complete then return true end
  for _, row in ipairs(user.waiting) do
    if string.sub(row.id, 1, 1) == '#' then return true end
  end
  return false
end

-- How many tasks a user has: single jobs, and each batch as one.
local function tasks_of(set, user)
  if not user.complete then return redis.call('ZCARD', set) - user.of_batches - user.specials end
  return #user.seated - user.of_batches + user.batches + #user.waiting -- mutant: tasks
end

-- Notes on a user's seated jobs that others wait for their seats.
local function expect_heirs(user)
  for _, job in ipairs(user.seated) do
    -- One that was lost with its hash must not be made anew.
    if redis.call('EXISTS', job_key(job.id)) == 1 then
      redis.call('HSET', job_key(job.id), 'heirs', '1') -- mutant: heirs
    end
  end
end

-- Moves a batch to the score of its first waiting job in its user's backlog.
local function rank_batch(set, batch)
  local first = redis.call('ZRANGEBYSCORE', batch_queue_key(batch), 0, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  redis.call('ZADD', set, first[2], '#' .. batch)
end
