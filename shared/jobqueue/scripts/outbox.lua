-- What is left to do when a state has changed, written by the script that changes it; sent in front of `ending` and to
-- the verbs of the outbox.
--
-- x, the outbox: a ZSET of what somebody has to do, by when it is due
--   -2e13 + ms   a job whose files have to be stored
--   ms           a lane of deliveries: `owner:host` in short; its rows are in x:<lane>
-- x:<lane>       a ZSET of events to deliver, `event|id`, by ms when due. Who works at one has put its moment off.
-- h:<lane>       a HASH: failures in a row, until when the host is left alone, `gone:<url>` when a URL answered 410
-- The clock is the caller's: an error of it makes somebody deliver twice or later, which the promise allows.
local HOOK = {'hook_lane', 'hook_tag', 'hook_events'}
local HOOK_LEASE = 30000 -- ms in which whoever ended a job may deliver its event; see followups.py
local FOLLOW_TTL = 604800 -- s; a job is kept longer than anybody tries to tell of it, see GIVEN_UP_AFTER in delivery.py
local LONG_OVERDUE = 43200000 -- ms; of a host that fails not only a probe is handed out when rows have waited so long

-- Whether the owner wants to be told of an event; a batch that ended again has a number behind it.
local function wants(f, event)
  local kind = string.match(event, '^%a+')
  return (f.hook_lane or '') ~= '' and string.find(',' .. f.hook_events .. ',', ',' .. kind .. ',', 1, true) ~= nil
end

-- How an event will be told, before anything is written; nil if nobody wants it. Leased means that the caller delivers it,
-- unless its host is left alone at the moment.
local function plan_event(prefix, f, id, event, now, is_leased)
  if not wants(f, event) then return nil end
  local lane = prefix .. 'h:' .. f.hook_lane
  local known = redis.call('HMGET', lane, 'until', 'gone:' .. f.hook_tag, 'failures')
  if known[2] then return {field = 's:' .. event, state = 'disabled', row = event .. '|' .. id, now = now} end
  local free_at = tonumber(known[1] or '0')
  local plan = {field = 's:' .. event, state = 'pending', lane = f.hook_lane, row = event .. '|' .. id, word = 'left',
    due = math.max(now, free_at)}
  if is_leased and free_at <= now then
    plan.due = now + HOOK_LEASE
    plan.word = known[3] and 'probe' or 'tell'
    -- One probe at a time, whoever else ends a job now.
    if known[3] then plan.probing = lane end
  end
  return plan
end

-- Writes the row of a planned event. Says what the caller has to do: `tell|event|id`, `probe|event|id` when its host has
-- failed before, `+` when the row is due for whoever claims it, '' for nothing.
local function post(prefix, plan)
  if not plan then return '' end
  if not plan.lane then
    -- Its URL is gone: nobody will be told, which the operator must see.
    redis.call('ZADD', prefix .. 'y', text(plan.now), plan.row)
    redis.call('HINCRBY', prefix .. 'st', 'undelivered', 1)
    return ''
  end
  if plan.probing then redis.call('HSET', plan.probing, 'until', text(plan.due)) end
  redis.call('ZADD', prefix .. 'x:' .. plan.lane, text(plan.due), plan.row)
  redis.call('ZADD', prefix .. 'x', 'LT', text(plan.due), plan.lane)
  return plan.word == 'left' and '+' or plan.word .. '|' .. plan.row
end

-- Adds to the fields of a hash what a planned event notes there.
local function note_event(fields, plan)
  if plan then
    fields[#fields + 1] = plan.field
    fields[#fields + 1] = plan.state
  end
end

-- The event that a job's first run has begun, and the fields that note it; no event at a later attempt.
local function start_event(prefix, f, id, now)
  local plan, fields = nil, {}
  if not f['s:processing'] then plan = plan_event(prefix, f, id, 'processing', tonumber(now), true) end
  note_event(fields, plan)
  return {event = plan, fields = fields}
end

-- Puts a lane where its first row is due, and not before its host may be asked again.
local function place_lane(prefix, lane)
  local first = redis.call('ZRANGE', prefix .. 'x:' .. lane, 0, 0, 'WITHSCORES')
  if first[1] then
    local free_at = tonumber(redis.call('HGET', prefix .. 'h:' .. lane, 'until') or '0')
    redis.call('ZADD', prefix .. 'x', text(math.max(tonumber(first[2]), free_at)), lane)
  else
    redis.call('ZREM', prefix .. 'x', lane)
  end
end
