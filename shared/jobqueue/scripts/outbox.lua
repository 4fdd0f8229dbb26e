-- What is left to do when a state has changed, written by the script that changes it.
--
-- x, the outbox: a ZSET of what is to be done, by when it is due
--   -2e13 + ms   a job whose files have to be stored
--   ms           a delivery lane: one owner's events for one host, `owner:host` in short; its rows are in x:<lane>
-- x:<lane>       a ZSET of events to deliver, `event|id`, by ms when due; a lease on one puts off its moment
-- h:<lane>       a HASH: failures in a row, until when the host gets nothing, `gone:<url>` when a URL answered 410,
--                `held:<url>` until when a URL gets nothing, since it asked for long, and `held`, the last of these
-- The clock is the caller's: an error of it makes a caller deliver twice or later, which the promise allows.
local HOOK = { 'hook_lane', 'hook_tag', 'hook_events' } -- what a script must have read of a job to plan an event

-- Whether the owner subscribed to an event; a batch that ended again has a number behind it.
local function is_subscribed(f, event)
  local kind = string.match(event, '^%a+')
  if (f.hook_lane or '') == '' then return false end
  return string.find(',' .. f.hook_events .. ',', ',' .. kind .. ',', 1, true) ~= nil -- mutant: subscribed
end

-- How an event will be delivered, before anything is written; nil without a subscription. Leased means that the caller
-- delivers it, unless its host gets nothing at the moment.
local function plan_event(f, id, event, is_leased)
  if not is_subscribed(f, event) then return nil end
  local host, row, now = host_key(f.hook_lane), event .. '|' .. id, tonumber(arg.now)
  local known = redis.call('HMGET', host, 'until', 'gone:' .. f.hook_tag, 'failures', 'held:' .. f.hook_tag)
  if known[2] then return { field = 's:' .. event, state = 'disabled', row = row } end -- mutant: gone
  local free_at = math.max(tonumber(known[1] or '0'), tonumber(known[4] or '0')) -- mutant: held url
  local plan = { field = 's:' .. event, state = 'pending', lane = f.hook_lane, row = row, word = 'left' }
  plan.due = math.max(now, free_at)
  if is_leased and free_at <= now then -- mutant: host left alone
    plan.due = now + HOOK_LEASE -- mutant: lease
    plan.word = known[3] and 'probe' or 'tell'
    -- One probe at a time, whichever job ends now.
    if known[3] then plan.probed_host = host end
  end
  return plan
end

-- Writes the row of a planned event. Returns what the caller has to do: `tell|event|id`, `probe|event|id` when its host
-- has failed before, `+` when the row is due for the next claim of the outbox, '' for nothing.
local function post(plan)
  if not plan then return '' end
  if not plan.lane then
    -- Its URL is gone, so that it is never delivered, and the operator must see that.
    redis.call('ZADD', undelivered_key(), arg.now, plan.row)
    redis.call('HINCRBY', stats_key(), 'undelivered', 1)
    return ''
  end
  if plan.probed_host then redis.call('HSET', plan.probed_host, 'until', text(plan.due)) end
  redis.call('ZADD', rows_key(plan.lane), text(plan.due), plan.row)
  redis.call('ZADD', outbox_key(), 'LT', text(plan.due), plan.lane) -- mutant: lane listed
  if plan.word == 'left' then return '+' end
  return plan.word .. '|' .. plan.row
end

-- Adds to the fields of a hash what a planned event notes there.
local function note_event(fields, plan)
  if plan then fields[plan.field] = plan.state end
end

-- The event that a job's first run has begun; none at a later attempt.
local function start_event(f, id)
  if f['s:processing'] then return nil end -- mutant: first run
  return plan_event(f, id, 'processing', true)
end

-- Sets when a delivery lane is due: with its first row, and not before its host may be asked again.
local function schedule_lane(lane)
  local first = redis.call('ZRANGE', rows_key(lane), 0, 0, 'WITHSCORES')
  if first[1] then -- mutant: lane kept
    local free_at = tonumber(redis.call('HGET', host_key(lane), 'until') or '0')
    local due = math.max(tonumber(first[2]), free_at) -- mutant: backoff
    redis.call('ZADD', outbox_key(), text(due), lane)
  else
    redis.call('ZREM', outbox_key(), lane)
  end
end

-- Keeps a hash for as long as its events may be tried; a live one has no end yet.
local function keep_for_events(hash)
  local left = redis.call('TTL', hash)
  if left >= 0 and left < FOLLOW_TTL then redis.call('EXPIRE', hash, FOLLOW_TTL) end
end
