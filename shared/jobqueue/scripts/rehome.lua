-- rehome: repairs what a user's set and the index say of the user's live jobs, after either lost something, and gives
-- the free seats away.
-- With: keys, lost, room, users, shares, runs, seats, outbox, ending
-- KEYS: index, stats, root, user
-- ARGV: now: moment, user_limit: count, ttl: seconds, whole: flag, ids: names...
-- Returns: {checked, rehomed: count, missing: count, follow: text}
-- whole: 1 to look at all members of the set, or the first 1,000; else only at `ids`, which the set may have lost too.
local MAX_MEMBERS = 1000 -- of a user's set that are looked at
local PLACE = { -- what says where a job belongs
  'state',
  'lane',
  'score',
  'due_at',
  'expire_at',
  'batch',
  'share',
  'attempt',
  'lost',
  'cancel_requested',
}
local lost, homes, gone = {}, {}, {} -- what will be written
local seen, is_asked_for = {}, {}

-- Adds the live jobs of a batch; one that has none is lost.
local function add_batch(ids, marker)
  local live = redis.call('ZRANGE', batch_queue_key(string.sub(marker, 2)), 0, -1)
  for _, id in ipairs(live) do
    add(ids, id)
  end
  if #live == 0 then add(lost, marker) end
end

-- Removes the user's tag once virtual time has passed it: then it no longer matters.
local function drop_old_tag()
  local set_at = redis.call('ZSCORE', key.index, VIRTUAL_TIME)
  local tag = tonumber(redis.call('ZSCORE', key.user, '~')) - SPECIAL
  if not set_at or tonumber(set_at) + BAND >= tag then redis.call('ZREM', key.user, '~') end
end

-- The jobs to look at: those of the user's set, if all are asked for, and those that the caller names.
local function ids_to_check()
  local ids = {}
  local members = arg.whole == '1' and redis.call('ZRANGE', key.user, 0, MAX_MEMBERS - 1) or {}
  for _, member in ipairs(members) do
    local kind = string.sub(member, 1, 1)
    if kind == '#' then
      add_batch(ids, member)
    elseif kind == '~' then
      drop_old_tag()
    elseif kind ~= '=' then
      add(ids, member)
    end
  end
  for _, id in ipairs(rest.ids) do
    add(ids, id)
    is_asked_for[id] = true
  end
  return ids
end

-- Notes a job that is no longer alive; its batch counts it as failed if its hash is gone.
local function note_dead(id, f)
  add(lost, id)
  local batch, number = string.match(id, '^(bat_[^_]+)_(%d+)')
  if batch and not f.state then add(gone, { id = id, batch = batch, number = number }) end
end

-- The scores that a job of this state has in the index and in its user's set.
local function scores_of(f)
  local lane, score = tonumber(f.lane), tonumber(f.score)
  if f.state == 'queued' then return score_of(READY + lane, score), seat_score(score) end
  if f.state == 'delayed' then return score_of(DELAYED, tonumber(f.due_at)), seat_score(score) end
  if f.state == 'backlog' then return score_of(BACKLOG, score), text(score) end
  -- A job that may be at the provider keeps its slot, and is the first that a claim hands out.
  return score_of(lane, tonumber(arg.now)), seat_score(score)
end

-- Notes a live job that the index lacks, or that the user's set lacks.
local function note_alive(id, f)
  local is_indexed, lacks_member = redis.call('ZSCORE', key.index, id), false
  local has_own_member = not (f.batch and f.state == 'backlog') and not has_left_seat(f)
  if is_asked_for[id] and has_own_member then lacks_member = not redis.call('ZSCORE', key.user, id) end
  if is_indexed and not lacks_member then return end
  local index_score, set_score = scores_of(f)
  add(homes, { id = id, f = f, index_score = not is_indexed and index_score, set_score = set_score })
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
  if f.batch then redis.call('ZADD', batch_queue_key(f.batch), in_backlog and home.set_score or -1, home.id) end
  if has_left_seat(f) then return end
  redis.call('ZADD', key.user, home.set_score, f.batch and in_backlog and '#' .. f.batch or home.id)
end

for _, id in ipairs(ids_to_check()) do
  local f = read(job_key(id), unpack(PLACE))
  local is_alive = f.state and f.state ~= 'done'
  if not seen[id] then
    if is_alive then
      note_alive(id, f)
    else
      note_dead(id, f)
    end
  end
  seen[id] = true
end
for _, home in ipairs(homes) do
  put_back(home)
end
if #lost > 0 then
  redis.call('ZREM', key.user, unpack(lost))
  for _, id in ipairs(lost) do
    redis.call('ZREM', key.index, id, companions(id))
  end
end
-- A batch must not wait for a job that was lost with its hash.
local owner, name = string.match(string.sub(key.user, #key.root + 3), '^([^:]*):(.*)$')
for _, job in ipairs(gone) do
  local f = { batch = job.batch, number = job.number, owner = owner, user = name }
  note_in_batch(job.id, f, 'failed')
  end_batch(f)
end
if #homes > 0 then redis.call('HINCRBY', key.stats, 'rehomed', #homes) end
promote(key.user)
return { 'checked', text(#homes), text(#lost), follow() }
