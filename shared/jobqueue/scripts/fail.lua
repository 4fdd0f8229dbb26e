-- fail: ends an attempt that failed. A retryable failure puts the job back, with a delay, while attempts are left and
-- the next one could begin in time, and makes it a dead letter otherwise. Any other failure ends the job.
-- With: keys, spending, lost, room, pauses, users, tags, shares, runs, seats, yielding, outbox, entries, ending, retry
-- KEYS: index, job, stats, root, job_of_prediction
-- ARGV: id: name, attempt: count, incarnation: text, prediction: text, now: moment, ttl: seconds, code: text,
--       detail: text, retryable: flag, bill: text, once: flag, jitter: fraction, retry_bonus: count,
--       prediction_ttl: seconds, user_limit: count, statistics: flag, budgets: numbers, entry: json,
--       circuit_failures: count, circuit_pause: milliseconds
-- Returns: {delayed, due_at: moment} | {finished, outcome: name, follow: text} | {already} | {stale} | {replaced} |
--       {unknown}
-- replaced: as for finish.
-- bill: what the run has cost; see cost_of_run.
-- entry: what the job's history keeps of this attempt.
-- once: the job's first failure with this code is tried again, and no other.
-- circuit_failures: so many failures in a row open the model's circuit, for circuit_pause ms at first; 0 if this
-- failure says nothing of the model.
local now = tonumber(arg.now)
local f = read(
  key.job,
  'attempt',
  'incarnation',
  'prediction',
  'cancel_requested',
  'snoozes',
  'score',
  'closed_attempt',
  'due_at',
  'max_attempts',
  'retry_delay',
  'history',
  'expire_at',
  'tripped',
  'failed_in',
  unpack(ENDING)
)
local recorded = f.prediction or ''
local is_accepted = arg.prediction ~= ''

-- Whether this failure is not that of the current attempt's prediction.
local function is_stale()
  if f.attempt ~= arg.attempt then return true end -- mutant: attempt
  if not is_at_provider(f.state) then return true end
  return arg.prediction ~= '' and recorded ~= '' and recorded ~= arg.prediction -- mutant: prediction
end

-- The answer if this attempt is over or was never the job's current one; else nil.
local function replay()
  if not f.attempt then return { 'unknown' } end
  if is_replaced(f) then return refuse_replaced() end
  if f.closed_attempt == arg.attempt then
    if f.state == 'delayed' then return { 'delayed', f.due_at } end
    if f.state == 'done' then return replay_end(arg.id, f) end
    return { 'already' }
  end
  if not is_stale() then return nil end
  settle_late(f, is_accepted)
  return { 'stale' }
end

-- Whether another attempt may help. A quotation mark inside a detail is escaped, so only a code can match.
local function is_retryable()
  if arg.once ~= '1' then return arg.retryable == '1' end
  return not string.find(f.history or '', '"code":"' .. arg.code .. '"', 1, true) -- mutant: once
end

-- Whether the job gets another attempt. It would only expire if it waited longer than it may.
local function may_retry()
  local has_attempts = used_attempts(f) < tonumber(f.max_attempts) -- mutant: attempts
  return is_retryable() and has_attempts and f.cancel_requested ~= '1' and is_in_time(f)
end

-- Notes whose prediction failed, unless a record has, and that the outcome of its submission is known.
local function note_prediction()
  if arg.prediction ~= '' and recorded == '' then
    redis.call('SET', key.job_of_prediction, this_attempt(), 'EX', arg.prediction_ttl)
  end
  settle_lost(arg.id, f, 'reported')
end

-- Whether the failure counts against its model: not if it says nothing of it, or a trip has counted it.
local function is_counted() return arg.circuit_failures ~= '0' and f.tripped ~= arg.attempt end

-- What the job's record keeps of the failure.
local function failure()
  return {
    error_code = arg.code,
    error_detail = arg.detail,
    error_retryable = arg.retryable,
    closed_attempt = arg.attempt,
    history = f.history and f.history .. ',' .. arg.entry or arg.entry,
  }
end

local answer = replay()
if answer then return answer end
local fields = failure()
local known = is_counted() and read_row(f, fields)

-- Counts the failure against its model.
local function note_failure()
  if known then count_failure(f, known, now, tonumber(arg.circuit_failures), tonumber(arg.circuit_pause)) end
end

if may_retry() and pay_again(arg.id, f, fields, arg.bill) then
  note_prediction()
  local due_at = retry(f, fields, is_accepted)
  note_failure()
  return { 'delayed', due_at }
end
local outcome = f.cancel_requested == '1' and 'canceled' or 'failed'
if arg.prediction ~= '' then fields.prediction = arg.prediction end
end_job(arg.id, f, outcome, fields, {
  note = note_prediction,
  is_accepted = is_accepted,
  attempt = arg.attempt,
  bill = arg.bill,
  is_dead = outcome == 'failed' and arg.retryable == '1',
})
note_failure()
return { 'finished', outcome, follow() }
