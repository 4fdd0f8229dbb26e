-- finish: ends a job with what the provider said, once. A success counts from whichever attempt it comes first; a
-- failure or cancellation only from the current attempt's prediction.
-- With: outbox, ending
-- KEYS: index, job, stats, root, owner
-- ARGV: id: name, attempt: count, prediction: name, outcome: name, now: moment, ttl: seconds, owner_ttl: seconds,
--       user_limit: count, store_lease: milliseconds?, fields: pairs...
-- Returns: {finished, outcome, waiting, other, follow} | {already, outcome, waiting, other} | {stale} | {unknown}
-- other: a prediction of another attempt that is now for nobody; cancel it. follow: what this caller has to do now.
-- store_lease: ms, if there are files to store.
local id, attempt, prediction, outcome = arg.id, tonumber(arg.attempt), arg.prediction, arg.outcome
local f = read(key.job, 'attempt', 'prediction', 'outcome', 'cancel_requested', 'other', unpack(ENDING))
if not f.attempt then return {'unknown'} end
if f.state == 'done' then
  if f.prediction == prediction then return {'already', f.outcome, waiting(key.index, arg.now), f.other or ''} end
  return {'stale'}
end
local current, recorded = tonumber(f.attempt), f.prediction or ''
if attempt > current then return {'stale'} end
if attempt == current and recorded ~= '' and recorded ~= prediction then return {'stale'} end
if outcome ~= 'completed' then
  local at_provider = f.state == 'submitting' or f.state == 'running'
  if attempt ~= current or not at_provider then return {'stale'} end
end
local fields = rest.fields
local function set(...)
  for _, part in ipairs({...}) do fields[#fields + 1] = part end
end
set('prediction', prediction, 'finished_attempt', arg.attempt)
if outcome == 'canceled' and f.cancel_requested ~= '1' then
  outcome = 'failed'
  set('error_code', 'expired', 'error_detail', 'The provider ended the run before it was complete.', 'error_retryable', '0')
end
local other = recorded ~= prediction and recorded or ''
if other ~= '' then set('other', other) end
local ending = ending_of(key.index, key.stats, key.root, arg.now, arg.ttl, arg.user_limit)
end_job(ending, id, f, outcome, fields, outcome == 'completed' and tonumber(arg.store_lease) or nil)
-- No record has said yet whose prediction this is.
if recorded ~= prediction then redis.call('SET', key.owner, id .. ':' .. arg.attempt, 'EX', arg.owner_ttl) end
return {'finished', outcome, waiting(key.index, arg.now), other, follow_of(ending)}
