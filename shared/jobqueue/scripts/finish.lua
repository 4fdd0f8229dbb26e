-- finish: ends a job with what the provider reports, once. A success counts from whichever attempt it comes first; a
-- failure or cancellation only from the current attempt's prediction.
-- With: keys, spending, lost, room, pauses, users, tags, shares, runs, seats, yielding, outbox, entries, ending
-- Calls: claim
-- KEYS: index, job, stats, root, outbox, job_of_prediction
-- ARGV: id: name, attempt: count, incarnation: text, prediction: text, outcome: name, now: moment, ttl: seconds,
--       prediction_ttl: seconds, user_limit: count, statistics: flag, store_lease: milliseconds?, foreign: count,
--       bill: text,
--       want: count?, expects: flag, token: name?, mark: count?, lease_now: moment?, sent_at: moment,
--       patience: milliseconds, ticket_age: milliseconds?, lease: milliseconds, slot_limit: count,
--       queue_limits: numbers,
--       provider_limits: numbers, lanes: numbers, check_interval: milliseconds, key_tasks: count?, is_tick: flag,
--       is_fair: flag, scale: text, ceiling: count?, fields: pairs...
-- Returns: {finished, outcome: name, waiting: flag, other: text, follow: text, claimed: row} |
--       {already, outcome: name, waiting: flag, other: text, claimed: row} | {stale} | {replaced} | {unknown}
--   claimed: {started: rows, overdue: rows, missing: count, expired: names, parked: count, follow_ups: count,
--       stuck: names, foreign: names, late_at: moment?}
--   started: {id: name, attempt: count, provider: provider, model: name, input: text, owner: name, user: name,
--       queue: name, deadline: seconds, probe: text, incarnation: text}
--   overdue: {id: name, attempt: count, provider: provider, state: name, prediction: text, submitted_at: moment,
--       cancel_requested: flag, deadline: seconds, incarnation: text}
-- waiting: 1 if a claim would find a job that this call has not taken, or if the claim of this call failed. The end
-- stands then, with its answer; the caller sends a claim of its own, and meets the error there.
-- want: how many jobs the caller would start in the free slot; '' if none. Then `claimed` is what a claim has taken for
-- it; see claim.lua. expects: 1 if jobs waited when the caller last looked: then a claim is made without asking.
-- other: a prediction of another attempt that is of no use now; cancel it.
-- replaced: the job was deleted, and its id belongs to another one now.
-- follow: what this caller has to do now.
-- store_lease: ms, if there are files to store.
-- bill: what the run has cost; see cost_of_run.
-- foreign: how many files are not stored, since they are of no known host.
local f = read(key.job, 'attempt', 'incarnation', 'prediction', 'cancel_requested', 'other', unpack(ENDING))
local attempt, recorded = tonumber(arg.attempt), f.prediction or ''

-- Whether a claim would find a job, now that a slot is free.
local function has_waiting()
  return flag(redis.call('ZCOUNT', key.index, score_of(READY, 0), score_of(DELAYED, tonumber(arg.now))) > 0)
end

-- Whether jobs wait that a claim would find; and what a claim takes for this caller, empty without one.
local function take_next(is_expected)
  if arg.want == '' then return has_waiting(), {} end
  if not is_expected and has_waiting() == '0' then return '0', {} end -- mutant: nothing to claim
  local is_done, claimed = pcall(claim) -- mutant: error of a claim
  local is_late = is_done and claimed[#claimed] ~= '' -- mutant: late with an end
  local is_taken = is_done and not is_late
  return flag(not is_taken), is_taken and claimed or {}
end

-- Whether this end is not the job's: a failure or a cancellation counts only from the current attempt.
local function is_stale()
  local current = tonumber(f.attempt)
  if attempt > current then return true end
  local is_of_other = attempt == current and recorded ~= '' and recorded ~= arg.prediction
  if is_of_other then return true end -- mutant: prediction
  if arg.outcome == 'completed' then return false end
  if attempt ~= current then return true end -- mutant: attempt
  return not is_at_provider(f.state)
end

-- Counts, once, that two predictions of the job may have been paid for.
local function count_double()
  if redis.call('HSETNX', key.job, 'doubled', arg.prediction) == 1 then -- mutant: doubled
    redis.call('HINCRBY', key.stats, 'doubled', 1)
  end
end

-- The answer if nothing ends now; else nil.
local function replay()
  if not f.attempt then return { 'unknown' } end
  if is_replaced(f) then return refuse_replaced() end
  if f.state == 'done' then -- mutant: done
    settle(arg.id, f)
    if f.prediction ~= arg.prediction then
      if f.outcome == 'completed' and arg.outcome == 'completed' then count_double() end
      settle_late(f, true)
      return { 'stale' }
    end
    -- A repeat of the call that has claimed gets the same jobs.
    local waiting, claimed = take_next(true) -- mutant: claimed again
    return { 'already', f.outcome, waiting, f.other or '', claimed } -- mutant: other
  end
  if is_stale() then return { 'stale' } end
  return nil
end

-- The outcome and the fields that the job ends with; a cancellation that no caller asked for is a failure.
local function result()
  local outcome, fields = arg.outcome, from_pairs(rest.fields)
  fields.prediction, fields.finished_attempt = arg.prediction, arg.attempt
  if outcome == 'canceled' and f.cancel_requested ~= '1' then
    outcome = 'failed'
    fields.error_code, fields.error_retryable = 'expired', '0'
    fields.error_detail = 'The provider ended the run before it was complete.'
  end
  return outcome, fields
end

-- Notes what is known now of this attempt's submission, and what will not be known of a later one.
local function note_outcomes()
  if arg.attempt == f.attempt and f.state == 'submitting' then return settle_lost(arg.id, f, 'reported') end
  account_for(f)
  if arg.attempt == f.attempt or not is_at_provider(f.state) then return end
  count_double()
  if f.state == 'submitting' then give_up_lost(arg.id, f, tonumber(arg.now), tonumber(arg.prediction_ttl)) end
end

local answer = replay()
if answer then return answer end
local outcome, fields = result()
local other = recorded ~= arg.prediction and recorded or ''
if other ~= '' then fields.other = other end
local store_lease = outcome == 'completed' and tonumber(arg.store_lease) or nil -- mutant: files

-- Notes whose prediction this is, if no record has yet.
local function note_prediction()
  if recorded == arg.prediction then return end
  redis.call('SET', key.job_of_prediction, this_attempt(), 'EX', arg.prediction_ttl)
  note_outcomes()
end

local is_accepted = arg.attempt == f.attempt
end_job(arg.id, f, outcome, fields, {
  store_lease = store_lease,
  note = note_prediction,
  is_accepted = is_accepted,
  attempt = arg.attempt,
  bill = arg.bill,
})
if arg.foreign ~= '0' then redis.call('HINCRBY', key.stats, 'files_foreign', arg.foreign) end -- mutant: foreign
local waiting, claimed = take_next(arg.expects == '1')
return { 'finished', outcome, waiting, other, follow(), claimed }
