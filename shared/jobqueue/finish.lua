-- finish: ends a job with what the provider said, once. A success counts from whichever attempt it comes first; a
-- failure or cancellation only from the current attempt's prediction.
-- KEYS: 1 index  2 job  3 stats  4 user prefix  5 owner
-- ARGV: 1 id  2 attempt  3 prediction  4 outcome  5 now  6 ttl  7 owner_ttl  8.. fields
-- Returns: {finished, outcome, waiting, other} | {already, outcome, waiting, other} | {stale} | {unknown}
-- other: a prediction of another attempt that is now for nobody; cancel it.
local id, attempt, prediction, outcome = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local f = redis.call('HMGET', KEYS[2], 'attempt', 'state', 'prediction', 'owner', 'user', 'outcome', 'cancel_requested',
  'other')
if not f[1] then return {'unknown'} end
if f[2] == 'done' then
  if f[3] == prediction then return {'already', f[6], waiting(KEYS[1], ARGV[5]), f[8] or ''} end
  return {'stale'}
end
local current, recorded = tonumber(f[1]), f[3] or ''
if attempt > current then return {'stale'} end
if attempt == current and recorded ~= '' and recorded ~= prediction then return {'stale'} end
if outcome ~= 'completed' then
  local at_provider = f[2] == 'submitting' or f[2] == 'running'
  if attempt ~= current or not at_provider then return {'stale'} end
end
local fields = {unpack(ARGV, 8)}
fields[#fields + 1] = 'prediction'
fields[#fields + 1] = prediction
fields[#fields + 1] = 'finished_attempt'
fields[#fields + 1] = ARGV[2]
if outcome == 'canceled' and f[7] ~= '1' then
  outcome = 'failed'
  fields[#fields + 1] = 'error_code'
  fields[#fields + 1] = 'expired'
  for _, part in ipairs({'error_detail', 'The provider ended the run before it was complete.', 'error_retryable', '0'}) do
    fields[#fields + 1] = part
  end
end
local other = recorded ~= prediction and recorded or ''
if other ~= '' then
  fields[#fields + 1] = 'other'
  fields[#fields + 1] = other
end
end_job(KEYS[1], KEYS[2], KEYS[3], KEYS[4] .. f[4] .. ':' .. f[5], id, outcome, ARGV[5], ARGV[6], fields)
-- No record has said yet whose prediction this is.
if recorded ~= prediction then redis.call('SET', KEYS[5], id .. ':' .. ARGV[2], 'EX', ARGV[7]) end
return {'finished', outcome, waiting(KEYS[1], ARGV[5]), other}
