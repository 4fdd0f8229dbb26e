-- fail: ends an attempt that failed. A retryable failure puts the job back with backoff while attempts are left, and
-- into the dead letter when none is; any other failure ends the job.
-- KEYS: 1 index  2 job  3 stats  4 user prefix  5 dead  6 owner
-- ARGV: 1 id  2 attempt  3 prediction  4 now  5 ttl  6 code  7 detail  8 retryable  9 max_attempts  10 delay
--       11 jitter  12 bonus  13 owner_ttl
-- Returns: {delayed, due_at} | {finished, outcome} | {already} | {stale} | {unknown}
local id, now = ARGV[1], tonumber(ARGV[4])
local f = redis.call('HMGET', KEYS[2], 'attempt', 'state', 'prediction', 'owner', 'user', 'cancel_requested', 'snoozes',
  'score', 'closed_attempt', 'due_at', 'outcome')
if not f[1] then return {'unknown'} end
if f[9] == ARGV[2] then
  if f[2] == 'delayed' then return {'delayed', f[10]} end
  if f[2] == 'done' then return {'finished', f[11]} end
  return {'already'}
end
local recorded = f[3] or ''
local at_provider = f[2] == 'submitting' or f[2] == 'running'
if f[1] ~= ARGV[2] or not at_provider then return {'stale'} end
if ARGV[3] ~= '' and recorded ~= '' and recorded ~= ARGV[3] then return {'stale'} end

local function own()
  -- No record has said yet whose prediction this is.
  if ARGV[3] ~= '' and recorded == '' then redis.call('SET', KEYS[6], id .. ':' .. ARGV[2], 'EX', ARGV[13]) end
end

local used = tonumber(f[1]) - tonumber(f[7] or '0')
local error_fields = {'error_code', ARGV[6], 'error_detail', ARGV[7], 'error_retryable', ARGV[8], 'closed_attempt', ARGV[2]}
if ARGV[8] == '1' and used < tonumber(ARGV[9]) and f[6] ~= '1' then
  local wait = tonumber(ARGV[10]) * 2 ^ (used - 1) * (1 + tonumber(ARGV[11]) / 2)
  local due_at = text(now + wait)
  redis.call('ZADD', KEYS[1], score_of(DELAYED, now + wait), id)
  redis.call('HSET', KEYS[2], 'state', 'delayed', 'snooze_code', '', 'due_at', due_at, 'prediction', '', 'progress', '',
    'score', text(math.max(0, tonumber(f[8]) - tonumber(ARGV[12]))), unpack(error_fields))
  redis.call('HINCRBY', KEYS[3], 'retried', 1)
  own()
  return {'delayed', due_at}
end
local outcome = f[6] == '1' and 'canceled' or 'failed'
if ARGV[3] ~= '' then
  error_fields[#error_fields + 1] = 'prediction'
  error_fields[#error_fields + 1] = ARGV[3]
end
end_job(KEYS[1], KEYS[2], KEYS[3], KEYS[4] .. f[4] .. ':' .. f[5], id, outcome, ARGV[4], ARGV[5], error_fields)
own()
if outcome == 'failed' and ARGV[8] == '1' then bury(KEYS[5], id, ARGV[4], ARGV[5]) end
return {'finished', outcome}
