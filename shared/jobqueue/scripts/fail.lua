-- fail: ends an attempt that failed. A retryable failure puts the job back with backoff while attempts are left, and
-- into the dead letter when none is; any other failure ends the job.
-- With: outbox, ending
-- KEYS: index, job, stats, root, owner
-- ARGV: id: name, attempt: count, prediction: text, now: moment, ttl: seconds, code: text, detail: text,
--       retryable: flag, jitter: fraction, retry_bonus: count, owner_ttl: seconds, user_limit: count, entry: json,
--       circuit_failures: count, circuit_pause: milliseconds
-- Returns: {delayed, due_at} | {finished, outcome, follow} | {already} | {stale} | {unknown}
-- entry: what the job's history keeps of this attempt. circuit_failures: so many failures in a row open the model's
-- circuit, for circuit_pause ms at first; 0 if this failure says nothing of the model.
local id, now = arg.id, tonumber(arg.now)
local f = read(key.job, 'attempt', 'prediction', 'cancel_requested', 'snoozes', 'score', 'closed_attempt', 'due_at', 'outcome',
  'max_attempts', 'retry_delay', 'history', 'expire_at', 'tripped', unpack(ENDING))
if not f.attempt then return {'unknown'} end
if f.closed_attempt == arg.attempt then
  if f.state == 'delayed' then return {'delayed', f.due_at} end
  if f.state == 'done' then return {'finished', f.outcome, ''} end
  return {'already'}
end
local recorded = f.prediction or ''
local at_provider = f.state == 'submitting' or f.state == 'running'
if f.attempt ~= arg.attempt or not at_provider then return {'stale'} end
if arg.prediction ~= '' and recorded ~= '' and recorded ~= arg.prediction then return {'stale'} end

local ending = ending_of(key.index, key.stats, key.root, arg.now, arg.ttl, arg.user_limit)
local function own()
  -- No record has said yet whose prediction this is.
  if arg.prediction ~= '' and recorded == '' then redis.call('SET', key.owner, id .. ':' .. arg.attempt, 'EX', arg.owner_ttl) end
  if arg.circuit_failures ~= '0' and f.tripped ~= arg.attempt then count_failure(ending, f, tonumber(arg.circuit_failures), tonumber(arg.circuit_pause)) end
end

local used = tonumber(f.attempt) - tonumber(f.snoozes or '0')
local history = f.history and f.history .. ',' .. arg.entry or arg.entry
local fields = {'error_code', arg.code, 'error_detail', arg.detail, 'error_retryable', arg.retryable, 'closed_attempt', arg.attempt,
  'history', history}
if arg.retryable == '1' and used < tonumber(f.max_attempts) and f.cancel_requested ~= '1' then
  local due_at = text(now + tonumber(f.retry_delay) * 2 ^ (used - 1) * (1 + tonumber(arg.jitter) / 2))
  -- The time at the provider was no waiting.
  local expire_at = tonumber(f.expire_at) + math.max(0, now - tonumber(f.submitted_at))
  local score = math.max(0, tonumber(f.score) - tonumber(arg.retry_bonus))
  redis.call('ZADD', key.index, score_of(DELAYED, tonumber(due_at)), id, score_of(ALARMS, expire_at), '!' .. id)
  redis.call('HSET', key.job, 'state', 'delayed', 'snooze_code', '', 'due_at', due_at, 'prediction', '', 'progress', '',
    'score', text(score), 'expire_at', text(expire_at), unpack(fields))
  release(ending, f)
  -- Its seat must say the same as its score, by which others are put before it or behind.
  if arg.retry_bonus ~= '0' then redis.call('ZADD', user_key(ending, f), text(ADMITTED + score), id) end
  redis.call('HINCRBY', key.stats, 'retried', 1)
  own()
  return {'delayed', due_at}
end
local outcome = f.cancel_requested == '1' and 'canceled' or 'failed'
if arg.prediction ~= '' then
  fields[#fields + 1] = 'prediction'
  fields[#fields + 1] = arg.prediction
end
end_job(ending, id, f, outcome, fields)
own()
if outcome == 'failed' and arg.retryable == '1' then bury(ending, id) end
return {'finished', outcome, follow_of(ending)}
