-- record: notes the prediction that an attempt's submission created; from here on the job runs.
-- With: outbox
-- KEYS: 1 index  2 job  3 owner  4 prefix
-- ARGV: 1 id  2 attempt  3 prediction  4 now  5 first_check  6 owner_ttl  7 probe
-- Returns: {recorded, cancel_requested, follow} | {already} | {stale}
-- already: a webhook of this very prediction came first. stale: this prediction is nobody's; cancel it.
-- probe: the provider's gate, '' if none: its pause is over, since it took this submission.
local f = read(KEYS[2], 'attempt', 'state', 'prediction', 'lane', 'cancel_requested', 's:processing', unpack(HOOK))
-- Whatever has become of the job: the provider took this submission.
if ARGV[7] ~= '' then redis.call('ZREM', KEYS[1], ARGV[7]) end
if not f.attempt then return {'stale'} end
if f.prediction == ARGV[3] then
  if f.attempt == ARGV[2] and f.state == 'running' then return {'recorded', f.cancel_requested or '0', ''} end
  return {'already'}
end
-- Owned all the same: what comes too late and is cancelled must not be adopted by a submission that is searched for.
if f.attempt ~= ARGV[2] or f.state ~= 'submitting' then
  redis.call('SET', KEYS[3], ARGV[1] .. ':' .. ARGV[2], 'EX', ARGV[6])
  return {'stale'}
end
local check_at = tonumber(ARGV[4]) + tonumber(ARGV[5])
local plan = start_event(KEYS[4], f, ARGV[1], ARGV[4])
redis.call('HSET', KEYS[2], 'state', 'running', 'prediction', ARGV[3], 'started_at', ARGV[4], 'overdue_at', text(check_at),
  unpack(plan.fields))
redis.call('SET', KEYS[3], ARGV[1] .. ':' .. ARGV[2], 'EX', ARGV[6])
redis.call('ZADD', KEYS[1], score_of(tonumber(f.lane), math.floor(check_at / 1000) * 1000), ARGV[1])
return {'recorded', f.cancel_requested or '0', post(KEYS[4], plan.event)}
