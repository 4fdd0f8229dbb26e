-- adopt: gives a submission of unknown outcome its prediction, if exactly one candidate can be it and belongs to no
-- attempt.
-- With: keys, lost, room, pauses, outbox
-- KEYS: index, job, stats, predictions, root
-- ARGV: id: name, attempt: count, incarnation: text, now: moment, prediction_ttl: seconds,
--       twin_reach: milliseconds, candidates: pairs...
-- Returns: {adopted, prediction: name, follow: text} | {none} | {ambiguous} | {stale}
-- candidates: predictions by id, each with what makes it one:
--   marked     it carries this attempt's mark
--   named      the operator says that it is this attempt's
--   alike      model, input and time fit, and this deployment alone makes predictions there
--   doubtful   it could be this attempt's, and nothing tells
-- twin_reach: so far apart two submissions are at most of which either could have made the same prediction.

local candidates = rest.candidates

-- The other jobs that have a slot at a provider and may not run yet.
local function submissions_at(provider)
  local slots, found = redis.call('ZRANGEBYSCORE', key.index, 0, '(' .. score_of(READY, 0), 'WITHSCORES'), {}
  for i = 1, #slots, 2 do
    local score = tonumber(slots[i + 1])
    local is_submission = score % 1 == 0 -- mutant: runs
    local is_other = slots[i] ~= arg.id and provider_of(band_of(score)) == provider
    if is_submission and is_other then add(found, slots[i]) end
  end
  return found
end

-- Whether another job's submission of the same input could have made the prediction: one whose answer is not here, or
-- one that was given up before its outcome was known, also if its job has ended or was deleted.
local function has_twin(f)
  for _, other in ipairs(submissions_at(provider_of(tonumber(f.lane)))) do
    local g = read(job_key(other), 'state', 'likeness')
    local is_twin = g.state == 'submitting' and g.likeness == f.likeness -- mutant: twin
    if is_twin then return true end
  end
  local at, reach = tonumber(f.submitted_at), tonumber(arg.twin_reach)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', lost_key(), text(-at - reach), text(reach - at))) do
    local likeness, other, incarnation = string.match(member, '^([^|]*)|([^:]*):%d+:(.*)$')
    local is_other = other ~= arg.id or incarnation ~= arg.incarnation
    local is_twin = is_other and likeness == (f.likeness or '') -- mutant: twin given up
    if is_twin then return true end
  end
  return false
end

-- The candidates that belong to no other attempt, by what makes them candidates; one of an earlier attempt of this job
-- is as little its own.
local function free_candidates(me)
  local free, records = { marked = {}, named = {}, alike = {}, doubtful = {} }, {}
  for i = 1, #candidates, 2 do
    add(records, key.predictions .. candidates[i])
  end
  local owners = #records > 0 and redis.call('MGET', unpack(records)) or {}
  for i, belongs_to in ipairs(owners) do
    if not belongs_to or belongs_to == me then add(free[candidates[2 * i]], candidates[2 * i - 1]) end
  end
  return free
end

-- The prediction that is surely this attempt's, or nil with the answer.
local function find_own(f, me)
  local free = free_candidates(me)
  local sure = #free.marked > 0 and free.marked or free.named
  if #sure > 0 then return #sure == 1 and sure[1] or nil, { 'ambiguous' } end
  if #free.alike + #free.doubtful == 0 then return nil, { 'none' } end
  if #free.alike ~= 1 or #free.doubtful > 0 or has_twin(f) then return nil, { 'ambiguous' } end
  return free.alike[1]
end

local f = read(
  key.job,
  'attempt',
  'incarnation',
  'state',
  'prediction',
  'lane',
  'model',
  'share',
  'refusals',
  'likeness',
  'lost',
  'submitted_at',
  'probe',
  'lease_until',
  's:processing',
  unpack(HOOK)
)
if f.attempt ~= arg.attempt or is_replaced(f) then return { 'stale' } end
if f.state == 'running' then return { 'adopted', f.prediction, '' } end
if f.state ~= 'submitting' then return { 'stale' } end
local me = this_attempt()
local own, answer = find_own(f, me)
if not own then return answer end

redis.call('SET', key.predictions .. own, me, 'EX', arg.prediction_ttl)
local plan = start_event(f, arg.id)
local fields = { state = 'running', prediction = own, started_at = arg.now, overdue_at = arg.now }
note_event(fields, plan)
local follow = post(plan)
account_for(f)
write_fields(key.job, fields)
redis.call('ZADD', key.index, slot_score('running', tonumber(f.lane), tonumber(arg.now)), arg.id)
redis.call('HINCRBY', key.stats, from_pairs(candidates)[own] == 'named' and 'settled' or 'adopted', 1)
settle_pause(f, true)
return { 'adopted', own, follow }
