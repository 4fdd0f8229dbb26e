-- fail: ends an attempt that failed. A retryable failure puts the job back with backoff while attempts are left, and
-- into the dead letter when none is; any other failure ends the job.
-- With: outbox, ending
-- KEYS: 1 index  2 job  3 stats  4 prefix  5 owner
-- ARGV: 1 id  2 attempt  3 prediction  4 now  5 ttl  6 code  7 detail  8 retryable  9 jitter  10 bonus  11 owner_ttl
--       12 user_limit  13 entry  14 circuit_failures  15 circuit_pause
-- Returns: {delayed, due_at} | {finished, outcome, follow} | {already} | {stale} | {unknown}
-- entry: what the job's history keeps of this attempt. circuit_failures: so many failures in a row open the model's
-- circuit, for circuit_pause ms at first; 0 if this failure says nothing of the model.
local id, now = ARGV[1], tonumber(ARGV[4])
local f = read(KEYS[2], 'attempt', 'prediction', 'cancel_requested', 'snoozes', 'score', 'closed_attempt', 'due_at', 'outcome',
  'max_attempts', 'retry_delay', 'history', 'expire_at', 'tripped', unpack(ENDING))
if not f.attempt then return {'unknown'} end
if f.closed_attempt == ARGV[2] then
  if f.state == 'delayed' then return {'delayed', f.due_at} end
  if f.state == 'done' then return {'finished', f.outcome, ''} end
  return {'already'}
end
local recorded = f.prediction or ''
local at_provider = f.state == 'submitting' or f.state == 'running'
if f.attempt ~= ARGV[2] or not at_provider then return {'stale'} end
if ARGV[3] ~= '' and recorded ~= '' and recorded ~= ARGV[3] then return {'stale'} end

local ending = ending_of(KEYS[1], KEYS[3], KEYS[4], ARGV[4], ARGV[5], ARGV[12])
local function own()
  -- No record has said yet whose prediction this is.
  if ARGV[3] ~= '' and recorded == '' then redis.call('SET', KEYS[5], id .. ':' .. ARGV[2], 'EX', ARGV[11]) end
  if ARGV[14] ~= '0' and f.tripped ~= ARGV[2] then count_failure(ending, f, tonumber(ARGV[14]), tonumber(ARGV[15])) end
end

local used = tonumber(f.attempt) - tonumber(f.snoozes or '0')
local history = f.history and f.history .. ',' .. ARGV[13] or ARGV[13]
local fields = {'error_code', ARGV[6], 'error_detail', ARGV[7], 'error_retryable', ARGV[8], 'closed_attempt', ARGV[2],
  'history', history}
if ARGV[8] == '1' and used < tonumber(f.max_attempts) and f.cancel_requested ~= '1' then
  local due_at = text(now + tonumber(f.retry_delay) * 2 ^ (used - 1) * (1 + tonumber(ARGV[9]) / 2))
  -- The time at the provider was no waiting.
  local expire_at = tonumber(f.expire_at) + math.max(0, now - tonumber(f.submitted_at))
  local score = math.max(0, tonumber(f.score) - tonumber(ARGV[10]))
  redis.call('ZADD', KEYS[1], score_of(DELAYED, tonumber(due_at)), id, score_of(ALARMS, expire_at), '!' .. id)
  redis.call('HSET', KEYS[2], 'state', 'delayed', 'snooze_code', '', 'due_at', due_at, 'prediction', '', 'progress', '',
    'score', text(score), 'expire_at', text(expire_at), unpack(fields))
  release(ending, f)
  -- Its seat must say the same as its score, by which others are put before it or behind.
  if ARGV[10] ~= '0' then redis.call('ZADD', user_key(ending, f), text(ADMITTED + score), id) end
  redis.call('HINCRBY', KEYS[3], 'retried', 1)
  own()
  return {'delayed', due_at}
end
local outcome = f.cancel_requested == '1' and 'canceled' or 'failed'
if ARGV[3] ~= '' then
  fields[#fields + 1] = 'prediction'
  fields[#fields + 1] = ARGV[3]
end
end_job(ending, id, f, outcome, fields)
own()
if outcome == 'failed' and ARGV[8] == '1' then bury(ending, id) end
return {'finished', outcome, follow_of(ending)}
