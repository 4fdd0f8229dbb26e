-- Shared by all verbs; sent in front of each of them.
--
-- z, the index: a ZSET that holds each live job exactly once. A score is band * 2e13 + a number, so one variadic ZADD
-- moves jobs between bands and a job cannot be in two of them; 325 bands stay exact in a double (2^53 > 9e15).
--   band -1        gates: what a claim must know beside the jobs, read for nothing with the head; see read_head
--   band 0..159    slots of a lane     ms when somebody has to look: lease end (submitting), next check (running)
--   band 160..319  ready jobs of lane  the priority score, lowest first
--   band 320       delayed             ms when due
--   band 321       backlog             the priority score; the order that counts is the user's own
--   band 322       alarms, `!id`       ms when the job has waited too long
--   band 323       history, `@owner:user|id`   ms when the job was submitted; stays when it ends
-- A lane is a queue at a provider: number of the queue * 8 + number of the provider.
--
-- u:<owner>:<user>, a user's set: his live jobs, and what must be known of him to admit another.
--   -3e15 + n      `=` his own concurrency; `~` the tag of his last job (fair policy)
--   -2e15          `#batch` a live batch that has no job left in the backlog
--   -1e15 + score  jobs that his concurrency admits: ready, delayed, or at a provider
--   score >= 0     his backlog: jobs, and `#batch` for the next job of a batch
local BAND, LANES, PROVIDERS = 2e13, 160, 8
local READY, DELAYED, BACKLOG, ALARMS, HISTORY = LANES, 2 * LANES, 2 * LANES + 1, 2 * LANES + 2, 2 * LANES + 3
local SPECIAL, SPENT, ADMITTED = -3e15, -2e15, -1e15
-- A circuit opens only while there are fewer than 64 gates of all kinds; at most 48 others may come.
local MAX_GATES, MAX_CIRCUITS = 112, 64
local FIRST_TAG = 1e13 -- above every score of the other policies: what waits when `fair` is switched on goes first

-- Lua prints big numbers as 1.79e+12; the store must get every digit.
local function text(number) return string.format('%.0f', number) end
local function score_of(band, ms) return text(band * BAND + ms) end
local function band_of(score) return math.floor(score / BAND) end
local function ms_of(score) return score - band_of(score) * BAND end
local function queue_of(lane) return math.floor(lane / PROVIDERS) end
local function provider_of(lane) return lane % PROVIDERS end

-- The arguments from a place on, for a script's last name, which may stand for any number.
local function arguments_from(first)
  local list = {}
  for i = first, #ARGV do list[#list + 1] = ARGV[i] end
  return list
end

-- The time that leases go by: the store's own clock, so that no caller's clock can end a lease early.
local function lease_time(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function numbers(csv)
  local list = {}
  for number in string.gmatch(csv, '[^,]+') do list[#list + 1] = tonumber(number) end
  return list
end

-- The head of the index, parsed: gates, up to `limit` slots, and `more` of the next jobs at least.
-- `complete` says that no job lies behind it. Gates:
--   =s =q<queue> =p<provider>   live limits
--   ~p<provider>                paused until; after that, one submission is the probe
--   ~r<provider>                the token bucket, as the moment when it will be full
--   ~o<provider>:<model>        circuit open until; after that, one job is the probe
--   ~v ~w                       virtual time, which is the tag of the last grant, and when that was (fair policy)
local function read_head(index, limit, more)
  local size = limit + more
  local flat = redis.call('ZRANGE', index, 0, size + MAX_GATES - 1, 'WITHSCORES')
  local head = {rows = {}, slots = 0, by_queue = {}, by_provider = {}, gates = {}, last_band = -1}
  for i = 1, #flat, 2 do
    local score = tonumber(flat[i + 1])
    local row = {id = flat[i], band = band_of(score), ms = ms_of(score)}
    head.last_band = row.band
    if row.band < 0 then
      head.gates[row.id] = row.ms
    else
      head.rows[#head.rows + 1] = row
    end
    if row.band >= 0 and row.band < READY then
      local queue, provider = queue_of(row.band), provider_of(row.band)
      head.slots = head.slots + 1
      head.by_queue[queue] = (head.by_queue[queue] or 0) + 1
      head.by_provider[provider] = (head.by_provider[provider] or 0) + 1
    end
  end
  head.complete = #flat / 2 < size + MAX_GATES or head.last_band >= ALARMS
  -- A live limit above the configured one has let more slots be taken than were read.
  if not head.complete and head.last_band < READY then return read_head(index, 2 * limit + MAX_GATES, more) end
  return head
end

-- How many more jobs may start now: in all, of each queue, at each provider; and which provider's next job is a probe.
-- providers: concurrency, ms a token, and burst of each, by number.
local function read_room(head, limit, concurrency, providers, time)
  local gates, room = head.gates, {queue = {}, provider = {}, probe = {}}
  room.all = (gates['=s'] or limit) - head.slots
  for k = 0, #concurrency - 1 do
    room.queue[k] = (gates['=q' .. text(k)] or concurrency[k + 1]) - (head.by_queue[k] or 0)
  end
  for p = 0, #providers / 3 - 1 do
    local name, most, interval, burst = text(p), providers[3 * p + 1], providers[3 * p + 2], providers[3 * p + 3]
    local full_at = math.max(gates['~r' .. name] or 0, time)
    local tokens = math.max(0, math.floor((time + (burst - 1) * interval - full_at) / interval) + 1)
    local left = math.min((gates['=p' .. name] or most) - (head.by_provider[p] or 0), tokens)
    local paused_until = gates['~p' .. name]
    if paused_until then
      room.probe[p] = paused_until <= time
      left = room.probe[p] and math.min(left, 1) or 0
    end
    room.provider[p] = left
  end
  return room
end

local function has_room(room, lane)
  return room.all > 0 and (room.queue[queue_of(lane)] or 0) > 0 and (room.provider[provider_of(lane)] or 0) > 0
end

local function circuit_of(provider, model) return '~o' .. text(provider) .. ':' .. model end

-- The moment when a provider's token bucket will be full, after `count` more submissions.
local function bucket_after(head, providers, provider, count, time)
  local full_at = math.max(head.gates['~r' .. text(provider)] or 0, time)
  return text(-BAND + full_at + count * providers[3 * provider + 2])
end

-- Whether something can be claimed, once room is there.
local function waiting(index, now)
  local count = redis.call('ZCOUNT', index, score_of(READY, 0), score_of(DELAYED, now))
  return count > 0 and '1' or '0'
end

-- What a user's set says: his own concurrency, the jobs that are admitted, whether more wait. `most` of them are expected
-- to be admitted; `cap` if not said.
local function read_user(user_key, cap, most)
  local size = 2 * (most or cap) + 4
  local flat = redis.call('ZRANGE', user_key, 0, size - 1, 'WITHSCORES')
  local user = {cap = cap, tag = 0, admitted = {}, waiting = {}, of_batches = 0, specials = 0, batches = 0}
  user.complete = #flat / 2 < size
  for i = 1, #flat, 2 do
    local member, score, kind = flat[i], tonumber(flat[i + 1]), string.sub(flat[i], 1, 1)
    if kind == '=' then
      user.cap, user.specials = score - SPECIAL, user.specials + 1
    elseif kind == '~' then
      user.tag, user.specials = score - SPECIAL, user.specials + 1
    elseif kind == '#' and score < 0 then
      user.batches = user.batches + 1
    elseif score < 0 then
      user.admitted[#user.admitted + 1] = {id = member, score = score - ADMITTED}
      if string.sub(member, 1, 4) == 'bat_' then user.of_batches = user.of_batches + 1 end
    else
      user.waiting[#user.waiting + 1] = {id = member, score = score}
    end
  end
  -- His own concurrency may be far above the deployment's, or may have been so until now.
  if not user.complete and (user.cap > (most or cap) or #user.waiting == 0) then
    return read_user(user_key, cap, math.max(user.cap, size))
  end
  return user
end

-- How many tasks a user has: his single jobs, and his batches as one each.
local function tasks_of(user_key, user)
  local seen = #user.admitted - user.of_batches + user.batches + #user.waiting
  if user.complete then return seen end
  return redis.call('ZCARD', user_key) - user.of_batches - user.specials
end

-- How long runs of a model have taken: ms that half and nine tenths of the recent ones stayed below; 0 if none is known.
local function usual_times(runs_key)
  local flat, times = redis.call('HGETALL', runs_key), {}
  for i = 1, #flat, 2 do
    if string.sub(flat[i], 1, 1) == 'r' then times[#times + 1] = tonumber(flat[i + 1]) end
  end
  table.sort(times)
  if #times == 0 then return '0', '0' end
  return text(times[math.ceil(#times * 0.5)]), text(times[math.ceil(#times * 0.9)])
end

-- The named fields of a hash; absent ones are nil.
local function read(key, ...)
  local names, found = {...}, {}
  local values = redis.call('HMGET', key, ...)
  for i, name in ipairs(names) do
    if values[i] then found[name] = values[i] end
  end
  return found
end

-- How many jobs wait: ready ones, delayed ones and all backlogs.
local function count_waiting(index)
  return redis.call('ZCOUNT', index, score_of(READY, 0), '(' .. score_of(ALARMS, 0))
end

local function is_waiting(state) return state == 'queued' or state == 'delayed' or state == 'backlog' end

-- All gates that stand, as a flat list of names and values.
local function standing_gates(index)
  local flat, gates = redis.call('ZRANGEBYSCORE', index, '-inf', '(0', 'WITHSCORES'), {}
  for i = 1, #flat, 2 do
    gates[i], gates[i + 1] = flat[i], text(tonumber(flat[i + 1]) + BAND)
  end
  return gates
end

-- What a job has in the index beside its place: its alarm, which goes when it ends, and its entry in the history, which stays.
local function entries_of(prefix, user_key, id, expire_at, now)
  return score_of(ALARMS, expire_at), '!' .. id, score_of(HISTORY, now), '@' .. string.sub(user_key, #prefix + 3) .. '|' .. id
end

-- The key of what is known of a model's runs at a provider.
local function runs_of(prefix, lane, model) return prefix .. 'm:' .. text(provider_of(lane)) .. ':' .. model end

-- Tells a user's admitted jobs that somebody waits for their places when they end.
local function tell_heirs(prefix, user)
  for _, job in ipairs(user.admitted) do
    local key = prefix .. 'j:' .. job.id
    -- One that was lost with its hash must not be made anew.
    if redis.call('EXISTS', key) == 1 then redis.call('HSET', key, 'heirs', '1') end
  end
end

-- Puts a batch where its next waiting job stands in its user's backlog.
local function place_batch(prefix, user_key, batch)
  local first = redis.call('ZRANGEBYSCORE', prefix .. 'q:' .. batch, 0, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  redis.call('ZADD', user_key, first[2], '#' .. batch)
end
