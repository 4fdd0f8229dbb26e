-- adopt: gives a submission whose answer was lost its prediction, if exactly one candidate belongs to no attempt.
-- With: keys, outbox
-- KEYS: index, job, stats, predictions, root
-- ARGV: id: name, attempt: count, incarnation: text, now: moment, prediction_ttl: seconds, candidates: names...
-- Returns: {adopted, prediction: name, follow: text} | {none} | {ambiguous} | {stale}

-- Whether another submission of the same input has lost its answer too: then a prediction may be either's.
local function has_twin(f)
  for _, other in ipairs(redis.call('ZRANGEBYSCORE', key.index, 0, '(' .. score_of(READY, 0))) do
    local g = read(job_key(other), 'state', 'model', 'input')
    local is_twin = g.state == 'submitting' and g.model == f.model and g.input == f.input -- mutant: twin
    if other ~= arg.id and is_twin then return true end
  end
  return false
end

-- The candidates that belong to no other attempt; one of an earlier attempt of this job is as little its own.
local function free_candidates(me)
  local free = {}
  for _, candidate in ipairs(rest.candidates) do
    local belongs_to = redis.call('GET', key.predictions .. candidate)
    if not belongs_to or belongs_to == me then add(free, candidate) end
  end
  return free
end

local f =
  read(key.job, 'attempt', 'incarnation', 'state', 'prediction', 'lane', 'model', 'input', 's:processing', unpack(HOOK))
if f.attempt ~= arg.attempt or is_replaced(f) then return { 'stale' } end
if f.state == 'running' then return { 'adopted', f.prediction, '' } end
if f.state ~= 'submitting' then return { 'stale' } end
if has_twin(f) then return { 'ambiguous' } end
local me = this_attempt()
local free = free_candidates(me)
if #free == 0 then return { 'none' } end
if #free > 1 then return { 'ambiguous' } end

redis.call('SET', key.predictions .. free[1], me, 'EX', arg.prediction_ttl)
local plan = start_event(f, arg.id)
local fields = { state = 'running', prediction = free[1], started_at = arg.now, overdue_at = arg.now }
note_event(fields, plan)
write_fields(key.job, fields)
redis.call('ZADD', key.index, score_of(tonumber(f.lane), tonumber(arg.now)), arg.id)
redis.call('HINCRBY', key.stats, 'adopted', 1)
return { 'adopted', free[1], post(plan) }
