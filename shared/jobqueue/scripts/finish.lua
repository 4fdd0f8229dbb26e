-- finish: ends a job with what the provider said, once. A success counts from whichever attempt it comes first; a
-- failure or cancellation only from the current attempt's prediction.
-- With: outbox, ending
-- KEYS: 1 index  2 job  3 stats  4 prefix  5 owner
-- ARGV: 1 id  2 attempt  3 prediction  4 outcome  5 now  6 ttl  7 owner_ttl  8 user_limit  9 store_lease  10.. fields
-- Returns: {finished, outcome, waiting, other, follow} | {already, outcome, waiting, other} | {stale} | {unknown}
-- other: a prediction of another attempt that is now for nobody; cancel it. follow: what this caller has to do now.
-- store_lease: ms, if there are files to store.
local id, attempt, prediction, outcome = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local f = read(KEYS[2], 'attempt', 'prediction', 'outcome', 'cancel_requested', 'other', unpack(ENDING))
if not f.attempt then return {'unknown'} end
if f.state == 'done' then
  if f.prediction == prediction then return {'already', f.outcome, waiting(KEYS[1], ARGV[5]), f.other or ''} end
  return {'stale'}
end
local current, recorded = tonumber(f.attempt), f.prediction or ''
if attempt > current then return {'stale'} end
if attempt == current and recorded ~= '' and recorded ~= prediction then return {'stale'} end
if outcome ~= 'completed' then
  local at_provider = f.state == 'submitting' or f.state == 'running'
  if attempt ~= current or not at_provider then return {'stale'} end
end
local fields = {unpack(ARGV, 10)}
local function set(...)
  for _, part in ipairs({...}) do fields[#fields + 1] = part end
end
set('prediction', prediction, 'finished_attempt', ARGV[2])
if outcome == 'canceled' and f.cancel_requested ~= '1' then
  outcome = 'failed'
  set('error_code', 'expired', 'error_detail', 'The provider ended the run before it was complete.', 'error_retryable', '0')
end
local other = recorded ~= prediction and recorded or ''
if other ~= '' then set('other', other) end
local ending = ending_of(KEYS[1], KEYS[3], KEYS[4], ARGV[5], ARGV[6], ARGV[8])
end_job(ending, id, f, outcome, fields, outcome == 'completed' and tonumber(ARGV[9]) or nil)
-- No record has said yet whose prediction this is.
if recorded ~= prediction then redis.call('SET', KEYS[5], id .. ':' .. ARGV[2], 'EX', ARGV[7]) end
return {'finished', outcome, waiting(KEYS[1], ARGV[5]), other, follow_of(ending)}
