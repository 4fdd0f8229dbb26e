-- rescue: decides about a submission whose outcome is unknown. A webhook or the provider's list may still bring its
-- prediction, until one of these is so: two complete lists did not have it, the operator says that it was not made, or
-- its adoption window is closed. Then it counts as a used attempt.
-- With: keys, spending, lost, room, pauses, users, tags, shares, runs, seats, yielding, outbox, entries, ending, retry
-- KEYS: index, job, stats, root
-- ARGV: id: name, attempt: count, incarnation: text, now: moment, lease_now: moment?, ttl: seconds,
--       max_rescues: count, user_limit: count, statistics: flag, budgets: numbers, entry: json, proof: text,
--       took: milliseconds,
--       list_gap: milliseconds, jitter: fraction, retry_bonus: count, prediction_ttl: seconds
-- Returns: {waiting, adopt_until: moment} | {delayed, due_at: moment} | {requeued} |
--       {finished, outcome: name, follow: text} | {stale}
-- proof: what says that nothing was made: `list`, a complete list that was asked for `took` ms ago; `operator`; or ''.
-- list_gap: ms at least between the first such list and the question for the second one.
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
  'max_attempts',
  'retry_delay',
  'history',
  'due_at',
  'expire_at',
  'missed',
  unpack(ENDING)
)

-- The answer if this attempt is over already, or was never the job's current one; else nil.
local function replay()
  if not f.attempt or is_replaced(f) then return { 'stale' } end
  if f.attempt ~= arg.attempt then return { 'stale' } end -- mutant: attempt
  if f.closed_attempt == arg.attempt then
    if f.state == 'done' then return replay_end(arg.id, f) end
    if f.state == 'delayed' then return { 'delayed', f.due_at } end
    if f.state == 'queued' or f.state == 'backlog' then return { 'requeued' } end
  end
  if f.state ~= 'submitting' then return { 'stale' } end
  return nil
end

-- When a complete list first did not have this attempt's submission; nil if none was noted.
local function missed_at()
  local attempt, at = string.match(f.missed or '', '^(%d+):(%d+)$')
  return attempt == arg.attempt and tonumber(at) or nil
end

-- Whether it is proved that nothing was made.
local function is_missing(time)
  if arg.proof == 'operator' then return f.lost == arg.attempt end
  if arg.proof ~= 'list' or not missed_at() then return false end
  return time - tonumber(arg.took) >= missed_at() + tonumber(arg.list_gap) -- mutant: two lists
end

-- Lets the job wait for its outcome. What this look has found is noted, if it is new.
local function wait(time)
  local fields, is_first_miss = {}, arg.proof == 'list' and not missed_at()
  if is_first_miss then
    local gap = tonumber(arg.list_gap)
    fields.missed, fields.overdue_at = arg.attempt .. ':' .. text(time), text(tonumber(arg.now) + gap)
    redis.call('ZADD', key.index, score_of(tonumber(f.lane), whole_seconds(time + gap + 999)), arg.id)
  end
  if f.lost ~= arg.attempt then
    if f.cancel_requested == '1' then leave_seat(arg.id, f, fields) end
    note_lost(arg.id, f, fields)
  elseif is_first_miss then
    write_fields(key.job, fields)
  end
  return { 'waiting', f.adopt_until }
end

-- Ends the job, which gets no other attempt. What its last one may have made may have been paid for.
local function end_with(outcome, fields, bill)
  end_job(arg.id, f, outcome, fields, { is_dead = outcome == 'failed', attempt = arg.attempt, bill = bill })
  return { 'finished', outcome, follow() }
end

-- Lets the job wait again, ready if it may keep its seat.
local function requeue(fields)
  -- The time at the provider was no waiting.
  local expire_at = tonumber(f.expire_at) + math.max(0, tonumber(arg.now) - tonumber(f.submitted_at))
  local score, alarm = score_of(READY + tonumber(f.lane), tonumber(f.score)), score_of(ALARMS, expire_at)
  fields.state, fields.expire_at = 'queued', text(expire_at)
  write_fields(key.job, fields)
  local moves = { score, arg.id, alarm, alarm_of(arg.id) }
  add_share(moves, arg.id, f.share, false)
  redis.call('ZADD', key.index, unpack(moves))
  settle_probe(f)
  reseat(user_key(f.owner, f.user))
  release_held(f)
  return { 'requeued' }
end

-- Ends the attempt, of which nothing is known, after its adoption window.
local function close(fields)
  local rescues = tonumber(f.rescues or '0') + 1
  fields.rescues = text(rescues)
  if f.cancel_requested == '1' then return end_with('canceled', fields, '') end
  local has_rescues = rescues < tonumber(arg.max_rescues)
  local may_go_on = has_rescues and used_attempts(f) < tonumber(f.max_attempts) -- mutant: gives up
  if not (may_go_on and pay_again(arg.id, f, fields, '')) then
    fields.error_code, fields.error_retryable = 'submission_unknown', '1'
    fields.error_detail = 'It is unknown whether the provider took the job.'
    return end_with('failed', fields, '')
  end
  return requeue(fields)
end

-- Ends the attempt, which has made nothing: it has failed like any other.
local function miss(fields)
  if f.cancel_requested == '1' then return end_with('canceled', fields, 'free') end
  fields.error_code, fields.error_retryable = 'provider_down', '1'
  fields.error_detail = 'The provider gave no answer and has not taken the job.'
  if used_attempts(f) >= tonumber(f.max_attempts) then return end_with('failed', fields, 'free') end -- mutant: misses
  if not is_in_time(f) then return end_with('failed', fields, 'free') end
  return { 'delayed', retry(f, fields) }
end

-- Ends the attempt, and counts why.
local function give_up(has_missed)
  give_up_lost(arg.id, f, tonumber(arg.now), tonumber(arg.prediction_ttl))
  local history = f.history and f.history .. ',' .. arg.entry or arg.entry
  local fields = { closed_attempt = arg.attempt, history = history }
  local ended = has_missed and miss(fields) or close(fields)
  local how = arg.proof == 'list' and 'missed' or 'settled'
  redis.call('HINCRBY', key.stats, has_missed and how or 'rescued', 1)
  return ended
end

local answer = replay()
if answer then return answer end
local time = lease_time(arg.lease_now)
if f.lost ~= arg.attempt and time < tonumber(f.lease_until) then return { 'waiting', f.adopt_until } end
local has_missed = is_missing(time)
local is_over = has_missed or time >= tonumber(f.adopt_until) -- mutant: adoption window
if not is_over then return wait(time) end

return give_up(has_missed)
