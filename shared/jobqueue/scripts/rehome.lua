-- rehome: makes the index, a user's set and the user's batches say of each job what its record says, after any of them
-- lost something or a script stopped half-way. Then it gives the free seats away.
-- With: keys, spending, lost, room, pauses, users, places, tags, shares, runs, seats, yielding, outbox, entries, ending
-- KEYS: index, stats, root, user
-- ARGV: now: moment, user_limit: count, statistics: flag, ttl: seconds, ceiling: count?, whole: flag, ids: names...
-- Returns: {checked, rehomed: count, missing: count, rescored: count, follow: text}
-- whole: 1 to look at all members of the set, or the first 1,000; else only at `ids`, which the set may have lost too.
-- rescored: how many jobs had a score of another policy. They wait from now on by the time of their submission.
local MAX_MEMBERS = 1000 -- of a user's set that are looked at
local PLACED = { 'score', 'due_at', 'expire_at', 'cancel_requested', 'created_at', 'snooze_code', unpack(ENDING) }
local MAX_RESCORED = 200 -- jobs that get another score
local LIMIT_KEPT_FOR = 400 -- days; of a user's own limit, after a sweep last met a live job of the user
local lost, homes, gone, ended, empty = {}, {}, {}, {}, {} -- what will be written
local seen, is_asked_for, rescored = {}, {}, 0
local limit_score, is_idle = nil, true -- of the user's own limit; whether nothing else is in the set
local held, queued, markers = {}, {}, {} -- scores of members of the user's set, of its batches' queues, of its batches

-- Adds the live jobs of a batch. One that has none should have ended.
local function add_batch(ids, marker, score)
  local flat = redis.call('ZRANGE', batch_queue_key(string.sub(marker, 2)), 0, -1, 'WITHSCORES')
  for i = 1, #flat, 2 do
    add(ids, flat[i])
    queued[flat[i]] = tonumber(flat[i + 1])
  end
  markers[marker] = score
  if #flat > 0 then return end
  add(lost, marker)
  add(empty, string.sub(marker, 2))
end

-- Removes the user's tag once virtual time has passed it: then it no longer matters.
local function drop_old_tag()
  local set_at = redis.call('ZSCORE', key.index, VIRTUAL_TIME)
  local tag = tonumber(redis.call('ZSCORE', key.user, '~')) - SPECIAL
  if not set_at or tonumber(set_at) + BAND >= tag then redis.call('ZREM', key.user, '~') end
end

-- Removes the user's own limit after a long time without a live job. Renews its day while the user has one, and once if
-- it was set before days were noted.
local function age_limit()
  local limit, today = limit_score - SPECIAL, math.floor(tonumber(arg.now) / DAY)
  local days = math.floor(limit / LIMIT_SPAN)
  if days == 0 or (days < today and not is_idle) then -- mutant: limit in use
    redis.call('ZADD', key.user, user_limit_score(limit % LIMIT_SPAN, today), '=')
  elseif is_idle and days + LIMIT_KEPT_FOR < today then -- mutant: old limit
    redis.call('ZREM', key.user, '=')
  end
end

-- Adds a member of the user's set to the jobs to look at, or what it stands for.
local function add_member(ids, member, score)
  local kind = string.sub(member, 1, 1)
  if kind ~= '=' and kind ~= '~' then is_idle = false end
  if kind == '#' then
    add_batch(ids, member, score)
  elseif kind == '~' then
    drop_old_tag()
  elseif kind == '=' then
    limit_score = score
  else
    add(ids, member)
    held[member] = score
  end
end

-- The jobs to look at: those of the user's set, if all are asked for, and those that the caller names.
local function ids_to_check()
  local ids = {}
  local flat = arg.whole == '1' and redis.call('ZRANGE', key.user, 0, MAX_MEMBERS - 1, 'WITHSCORES') or {}
  for i = 1, #flat, 2 do
    add_member(ids, flat[i], tonumber(flat[i + 1]))
  end
  if limit_score then age_limit() end
  for _, id in ipairs(rest.ids) do
    add(ids, id)
    is_asked_for[id] = true
  end
  return ids
end

-- Notes a job that is no longer alive. Its batch counts it as failed if its hash is gone.
local function note_dead(id, f)
  add(lost, id)
  if f.state then
    add(ended, { id = id, f = f })
    return
  end
  local batch, number = string.match(id, '^(bat_[^_]+)_(%d+)')
  if batch then add(gone, { id = id, batch = batch, number = number }) end
end

-- Whether the user's set has a job with the score that its record says. The waiting jobs of a batch have no
-- member, nor has a job that left its seat.
local function is_member(id, f, expected)
  local score = held[id]
  if is_asked_for[id] and not score then score = tonumber(redis.call('ZSCORE', key.user, id) or nil) end
  if (f.batch and f.state == 'backlog') or has_left_seat(f) then return not score end
  return score == tonumber(expected) -- mutant: place in the user's set
end

-- Whether a batch's queue has a job with the score that its record says, as far as the queue was read.
local function is_queued(id, f)
  if not (f.batch and queued[id]) then return true end
  if f.state == 'backlog' then return queued[id] == tonumber(f.score) end
  return queued[id] < 0
end

-- Gives a job a score of this policy, if it has one of another, behind which it would wait for ever. Returns whether it
-- did. The time of submission is before all later jobs in each policy that has a ceiling, or a head start behind them.
local function rescore(f)
  if rescored >= MAX_RESCORED or not is_foreign(tonumber(f.score), tonumber(arg.now)) then return false end
  rescored = rescored + 1
  f.score = f.created_at
  return true
end

-- Notes a live job whose places do not say what its record says.
local function note_alive(id, f)
  -- Whether the user's set has the marker of its batch, as far as the caller asks for the job: an evicted set has lost
  -- it, and then no seat goes to the batch.
  local function is_marked()
    local marker = f.batch and '#' .. f.batch
    if not marker or not is_asked_for[id] or markers[marker] then return true end
    return redis.call('ZSCORE', key.user, marker) -- mutant: marker
  end
  local is_rescored = rescore(f)
  local index_score, set_score = scores_of(f)
  local in_index, in_set = is_in_place(redis.call('ZSCORE', key.index, id), f, index_score), is_member(id, f, set_score)
  if in_index and in_set and is_queued(id, f) and is_marked() and not is_rescored then return end
  add(homes, {
    id = id,
    f = f,
    index_score = not in_index and index_score,
    set_score = set_score,
    is_rescored = is_rescored,
  })
end

-- Notes what has to be done about a job, once.
local function look_at(id)
  if seen[id] then return end
  seen[id] = true
  local f = read(job_key(id), unpack(PLACED))
  if f.state and f.state ~= 'done' then
    note_alive(id, f)
  else
    note_dead(id, f)
  end
end

-- Puts a job back where it belongs.
local function put_back(home)
  local f, in_backlog = home.f, home.f.state == 'backlog'
  if home.index_score then
    local alarm = score_of(ALARMS, tonumber(f.expire_at))
    local moves = { home.index_score, home.id, alarm, alarm_of(home.id) }
    add_share(moves, home.id, f.share, is_at_provider(f.state))
    redis.call('ZADD', key.index, unpack(moves))
  end
  if has_left_seat(f) then redis.call('ZREM', key.user, home.id) end
  if not f.batch then
    if not has_left_seat(f) then redis.call('ZADD', key.user, home.set_score, home.id) end
    return
  end
  redis.call('ZADD', batch_queue_key(f.batch), in_backlog and home.set_score or -1, home.id)
  redis.call('ZADD', key.user, 'NX', text(SPENT), '#' .. f.batch)
  markers['#' .. f.batch] = markers['#' .. f.batch] or SPENT
  if in_backlog then
    redis.call('ZREM', key.user, home.id)
  elseif not has_left_seat(f) then
    redis.call('ZADD', key.user, home.set_score, home.id)
  end
end

-- Removes what was lost with its record, or is over, from the user's set and from the index.
local function remove_lost()
  local entries = {}
  for _, id in ipairs(lost) do
    add(entries, id, companions(id))
  end
  write_parts('ZREM', key.user, lost)
  write_parts('ZREM', key.index, entries)
end

-- Notes in its batch that a job was lost with its record, unless the batch knows its end: the batch must not wait for
-- it. Where a retry has stopped half-way, the next one has made another job in its place.
local function settle_gone(job, owner, name)
  local f = { batch = job.batch, number = job.number, owner = owner, user = name }
  if redis.call('EXISTS', batch_key(job.batch)) == 0 then
    redis.call('ZREM', batch_queue_key(job.batch), job.id) -- the script that creates the batch has stopped
    return
  end
  if not is_replaced_in_batch(job.id, f) then -- mutant: replaced in batch
    redis.call('HSETNX', batch_key(job.batch), 's' .. job.number, 'failed') -- mutant: known end
  end
  redis.call('ZREM', batch_queue_key(job.batch), job.id)
  end_batch(f)
end

-- Writes all that was found, and counts it. Returns how many jobs were lost.
local function write_all()
  -- Writes a job's new score, also where it waits for a slot of its API key.
  local function write_score(id, f)
    redis.call('HSET', job_key(id), 'score', f.score)
    if f.snooze_code == 'key_limit' then redis.call('ZADD', held_key(f.owner), 'XX', f.score, id) end -- mutant: held
  end
  -- Ranks a batch by its first waiting job, unless its marker allows for that.
  local function put_marker(marker, score)
    local queue = batch_queue_key(string.sub(marker, 2))
    local first = redis.call('ZRANGEBYSCORE', queue, 0, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
    if first and (score < 0 or score > tonumber(first)) then redis.call('ZADD', key.user, first, marker) end
  end
  local function count(name, number)
    if number > 0 then redis.call('HINCRBY', key.stats, name, number) end
  end
  for _, home in ipairs(homes) do
    if home.is_rescored then write_score(home.id, home.f) end -- mutant: new score
    put_back(home)
  end
  for marker, score in pairs(markers) do
    put_marker(marker, score)
  end
  for _, job in ipairs(ended) do
    repeat_end(job.id, job.f)
    follow_end(job.id, job.f, job.f.outcome)
  end
  remove_lost()
  local owner, name = string.match(string.sub(key.user, #key.root + 3), '^([^:]*):(.*)$')
  for _, job in ipairs(gone) do
    settle_gone(job, owner, name)
  end
  for _, batch in ipairs(empty) do
    if redis.call('EXISTS', batch_key(batch)) == 1 then end_batch({ batch = batch, owner = owner, user = name }) end
  end
  count('rehomed', #homes - rescored)
  count('rescored', rescored)
  return #homes - rescored
end

for _, id in ipairs(ids_to_check()) do
  look_at(id)
end
local rehomed = write_all()
promote(key.user, yield_seats(key.user))
return { 'checked', text(rehomed), text(#lost), text(rescored), follow() }
