-- record: notes the prediction that an attempt's submission created; from here on the job runs.
-- With: outbox
-- KEYS: index, job, owner, root
-- ARGV: id: name, attempt: count, prediction: name, now: moment, first_check: milliseconds, owner_ttl: seconds,
--       probe: text
-- Returns: {recorded, cancel_requested, follow} | {already} | {stale}
-- already: a webhook of this very prediction came first. stale: this prediction is nobody's; cancel it.
-- probe: the provider's gate, '' if none: its pause is over, since it took this submission.
local f = read(key.job, 'attempt', 'state', 'prediction', 'lane', 'cancel_requested', 's:processing', unpack(HOOK))
-- Whatever has become of the job: the provider took this submission.
if arg.probe ~= '' then redis.call('ZREM', key.index, arg.probe) end
if not f.attempt then return {'stale'} end
if f.prediction == arg.prediction then
  if f.attempt == arg.attempt and f.state == 'running' then return {'recorded', f.cancel_requested or '0', ''} end
  return {'already'}
end
-- Owned all the same: what comes too late and is cancelled must not be adopted by a submission that is searched for.
if f.attempt ~= arg.attempt or f.state ~= 'submitting' then
  redis.call('SET', key.owner, arg.id .. ':' .. arg.attempt, 'EX', arg.owner_ttl)
  return {'stale'}
end
local check_at = tonumber(arg.now) + tonumber(arg.first_check)
local plan = start_event(key.root, f, arg.id, arg.now)
redis.call('HSET', key.job, 'state', 'running', 'prediction', arg.prediction, 'started_at', arg.now, 'overdue_at', text(check_at),
  unpack(plan.fields))
redis.call('SET', key.owner, arg.id .. ':' .. arg.attempt, 'EX', arg.owner_ttl)
redis.call('ZADD', key.index, score_of(tonumber(f.lane), math.floor(check_at / 1000) * 1000), arg.id)
return {'recorded', f.cancel_requested or '0', post(key.root, plan.event)}
