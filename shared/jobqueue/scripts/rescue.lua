-- rescue: decides about a submission whose lease ran out and whose outcome nobody knows. Until its adoption window
-- closes a webhook may still bring its prediction; then it is surely over at the provider and counts as a used attempt.
-- With: outbox, ending, seats
-- KEYS: 1 index  2 job  3 stats  4 prefix
-- ARGV: 1 id  2 attempt  3 now  4 lease_now  5 ttl  6 max_rescues  7 user_limit  8 entry
-- Returns: {waiting, adopt_until} | {requeued} | {finished, outcome, follow} | {stale}
local id = ARGV[1]
local f = read(KEYS[2], 'attempt', 'cancel_requested', 'snoozes', 'rescues', 'score', 'adopt_until', 'closed_attempt',
  'outcome', 'max_attempts', 'history', 'expire_at', unpack(ENDING))
if not f.attempt then return {'stale'} end
if f.attempt ~= ARGV[2] then return {'stale'} end
if f.closed_attempt == ARGV[2] then
  if f.state == 'done' then return {'finished', f.outcome, ''} end
  if f.state == 'queued' or f.state == 'backlog' then return {'requeued'} end
end
if f.state ~= 'submitting' then return {'stale'} end
local time = lease_time(ARGV[4])
if time < tonumber(f.lease_until) or time < tonumber(f.adopt_until) then return {'waiting', f.adopt_until} end

local ending = ending_of(KEYS[1], KEYS[3], KEYS[4], ARGV[3], ARGV[5], ARGV[7])
local rescues, used = tonumber(f.rescues or '0') + 1, tonumber(f.attempt) - tonumber(f.snoozes or '0')
local closed = {'closed_attempt', ARGV[2], 'rescues', text(rescues), 'history', f.history and f.history .. ',' .. ARGV[8] or ARGV[8]}
redis.call('HINCRBY', KEYS[3], 'rescued', 1)
if f.cancel_requested == '1' then
  end_job(ending, id, f, 'canceled', closed)
  return {'finished', 'canceled', follow_of(ending)}
end
if rescues >= tonumber(ARGV[6]) or used >= tonumber(f.max_attempts) then
  end_job(ending, id, f, 'failed', {'error_code', 'submission_unknown', 'error_retryable', '1',
    'error_detail', 'Nobody knows whether the provider took the job.', unpack(closed)})
  bury(ending, id)
  return {'finished', 'failed', follow_of(ending)}
end
-- The time at the provider was no waiting.
local expire_at = tonumber(f.expire_at) + math.max(0, tonumber(ARGV[3]) - tonumber(f.submitted_at))
redis.call('ZADD', KEYS[1], score_of(READY + tonumber(f.lane), tonumber(f.score)), id, score_of(ALARMS, expire_at), '!' .. id)
redis.call('HSET', KEYS[2], 'state', 'queued', 'expire_at', text(expire_at), unpack(closed))
reseat(ending, user_key(ending, f))
return {'requeued'}
