-- rescue: decides about a submission whose lease ran out and whose outcome is unknown. Until its adoption window closes
-- a webhook may still bring its prediction. Then it is surely over at the provider and counts as a used attempt.
-- With: keys, room, users, runs, seats, outbox, ending
-- KEYS: index, job, stats, root
-- ARGV: id: name, attempt: count, incarnation: text, now: moment, lease_now: moment?, ttl: seconds,
--       max_rescues: count, user_limit: count, entry: json
-- Returns: {waiting, adopt_until: moment} | {requeued} | {finished, outcome: name, follow: text} | {stale}
local f = read(
  key.job,
  'attempt',
  'incarnation',
  'cancel_requested',
  'snoozes',
  'rescues',
  'score',
  'adopt_until',
  'closed_attempt',
  'outcome',
  'max_attempts',
  'history',
  'expire_at',
  unpack(ENDING)
)

-- The answer if this attempt is over already, or was never the job's current one; else nil.
local function replay()
  if not f.attempt or is_replaced(f) then return { 'stale' } end
  if f.attempt ~= arg.attempt then return { 'stale' } end -- mutant: attempt
  if f.closed_attempt == arg.attempt then
    if f.state == 'done' then return { 'finished', f.outcome, '' } end
    if f.state == 'queued' or f.state == 'backlog' then return { 'requeued' } end
  end
  if f.state ~= 'submitting' then return { 'stale' } end
  return nil
end

-- Ends the job, whose submission is surely over at the provider.
local function end_with(outcome, fields)
  end_job(arg.id, f, outcome, fields)
  if outcome == 'failed' then bury(arg.id) end
  return { 'finished', outcome, follow() }
end

-- Lets the job wait again, ready if it may keep its seat.
local function requeue(fields)
  -- The time at the provider was no waiting.
  local expire_at = tonumber(f.expire_at) + math.max(0, tonumber(arg.now) - tonumber(f.submitted_at))
  local score, alarm = score_of(READY + tonumber(f.lane), tonumber(f.score)), score_of(ALARMS, expire_at)
  local moves = { score, arg.id, alarm, alarm_of(arg.id) }
  add_share(moves, arg.id, f.share, false)
  redis.call('ZADD', key.index, unpack(moves))
  fields.state, fields.expire_at = 'queued', text(expire_at)
  write_fields(key.job, fields)
  reseat(user_key(f.owner, f.user))
  return { 'requeued' }
end

-- Whether the job gets no other attempt.
local function is_last(rescues)
  local used = tonumber(f.attempt) - tonumber(f.snoozes or '0')
  return rescues >= tonumber(arg.max_rescues) or used >= tonumber(f.max_attempts)
end

local answer = replay()
if answer then return answer end
local time = lease_time(arg.lease_now)
if time < tonumber(f.lease_until) then return { 'waiting', f.adopt_until } end
if time < tonumber(f.adopt_until) then return { 'waiting', f.adopt_until } end -- mutant: adoption window

local rescues = tonumber(f.rescues or '0') + 1
local history = f.history and f.history .. ',' .. arg.entry or arg.entry
local fields = { closed_attempt = arg.attempt, rescues = text(rescues), history = history }
redis.call('HINCRBY', key.stats, 'rescued', 1)
if f.cancel_requested == '1' then return end_with('canceled', fields) end
if is_last(rescues) then -- mutant: gives up
  fields.error_code, fields.error_retryable = 'submission_unknown', '1'
  fields.error_detail = 'It is unknown whether the provider took the job.'
  return end_with('failed', fields)
end
return requeue(fields)
