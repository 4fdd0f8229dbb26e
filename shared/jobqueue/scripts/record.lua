-- record: notes the prediction that an attempt's submission created; from here on the job runs.
-- With: keys, lost, room, pauses, outbox
-- KEYS: index, job, stats, job_of_prediction, root
-- ARGV: id: name, attempt: count, incarnation: text, prediction: text, now: moment, first_check: milliseconds,
--       prediction_ttl: seconds, probe: text
-- Returns: {recorded, cancel_requested: flag, follow: text} | {already} | {stale}
-- already: a webhook of this very prediction came first.
-- stale: this prediction belongs to no current attempt; cancel it.
-- probe: the provider's gate, '' if none: its pause is over, since it took this submission.

-- Notes to which attempt the prediction belongs. A late one that is cancelled too: a search for another submission's
-- prediction must not adopt it.
local function note_attempt_of_prediction()
  redis.call('SET', key.job_of_prediction, this_attempt(), 'EX', arg.prediction_ttl)
end

-- The fields of a job that runs; it was accepted, so earlier refusals say nothing of it.
local function running_fields(f, check_at)
  local fields = { state = 'running', prediction = arg.prediction, started_at = arg.now, overdue_at = text(check_at) }
  if f.refusals then
    fields.refusals, fields.refused_as = '0', ''
  end
  return fields
end

local f = read(
  key.job,
  'attempt',
  'incarnation',
  'state',
  'prediction',
  'lane',
  'cancel_requested',
  'lost',
  'likeness',
  'refusals',
  'model',
  'share',
  's:processing',
  unpack(HOOK)
)

-- The answer if the prediction is noted already, or belongs to no current attempt of this incarnation; else nil.
local function replay()
  local is_own = not is_replaced(f)
  if is_own and f.prediction == arg.prediction then
    if f.attempt == arg.attempt and f.state == 'running' then return { 'recorded', f.cancel_requested or '0', '' } end
    return { 'already' }
  end
  local is_current = is_own and f.attempt == arg.attempt -- mutant: attempt
  if is_current and f.state == 'submitting' then return nil end
  note_attempt_of_prediction()
  account_for(f)
  return { 'stale' }
end

-- The provider took this submission, also if the job has moved on.
if arg.probe ~= '' then lift(arg.probe, is_replaced(f) and {} or f) end -- mutant: pause ends
if not f.attempt then return { 'stale' } end
local answer = replay()
if answer then return answer end
local check_at = tonumber(arg.now) + tonumber(arg.first_check) -- mutant: check
local plan = start_event(f, arg.id)
local fields = running_fields(f, check_at)
note_event(fields, plan)
note_attempt_of_prediction()
settle_lost(arg.id, f, 'reported')
local follow = post(plan) -- mutant: event posted
if arg.probe == '' and (f.refusals or '0') ~= '0' then absolve(f) end -- mutant: refused and accepted
write_fields(key.job, fields)
redis.call('ZADD', key.index, slot_score('running', tonumber(f.lane), whole_seconds(check_at)), arg.id)
return { 'recorded', f.cancel_requested or '0', follow }
