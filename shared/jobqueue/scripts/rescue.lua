-- rescue: decides about a submission whose lease ran out and whose outcome nobody knows. Until its adoption window
-- closes a webhook may still bring its prediction; then it is surely over at the provider and counts as a used attempt.
-- With: outbox, ending, seats
-- KEYS: index, job, stats, root
-- ARGV: id: name, attempt: count, now: moment, lease_now: moment?, ttl: seconds, max_rescues: count,
--       user_limit: count, entry: json
-- Returns: {waiting, adopt_until} | {requeued} | {finished, outcome, follow} | {stale}
local id = arg.id
local f = read(key.job, 'attempt', 'cancel_requested', 'snoozes', 'rescues', 'score', 'adopt_until', 'closed_attempt',
  'outcome', 'max_attempts', 'history', 'expire_at', unpack(ENDING))
if not f.attempt then return {'stale'} end
if f.attempt ~= arg.attempt then return {'stale'} end
if f.closed_attempt == arg.attempt then
  if f.state == 'done' then return {'finished', f.outcome, ''} end
  if f.state == 'queued' or f.state == 'backlog' then return {'requeued'} end
end
if f.state ~= 'submitting' then return {'stale'} end
local time = lease_time(arg.lease_now)
if time < tonumber(f.lease_until) or time < tonumber(f.adopt_until) then return {'waiting', f.adopt_until} end

local ending = ending_of(key.index, key.stats, key.root, arg.now, arg.ttl, arg.user_limit)
local rescues, used = tonumber(f.rescues or '0') + 1, tonumber(f.attempt) - tonumber(f.snoozes or '0')
local closed = {'closed_attempt', arg.attempt, 'rescues', text(rescues), 'history', f.history and f.history .. ',' .. arg.entry or arg.entry}
redis.call('HINCRBY', key.stats, 'rescued', 1)
if f.cancel_requested == '1' then
  end_job(ending, id, f, 'canceled', closed)
  return {'finished', 'canceled', follow_of(ending)}
end
if rescues >= tonumber(arg.max_rescues) or used >= tonumber(f.max_attempts) then
  end_job(ending, id, f, 'failed', {'error_code', 'submission_unknown', 'error_retryable', '1',
    'error_detail', 'Nobody knows whether the provider took the job.', unpack(closed)})
  bury(ending, id)
  return {'finished', 'failed', follow_of(ending)}
end
-- The time at the provider was no waiting.
local expire_at = tonumber(f.expire_at) + math.max(0, tonumber(arg.now) - tonumber(f.submitted_at))
redis.call('ZADD', key.index, score_of(READY + tonumber(f.lane), tonumber(f.score)), id, score_of(ALARMS, expire_at), '!' .. id)
redis.call('HSET', key.job, 'state', 'queued', 'expire_at', text(expire_at), unpack(closed))
reseat(ending, user_key(ending, f))
return {'requeued'}
