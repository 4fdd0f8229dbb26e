-- snooze: puts back a job whose submission surely did not happen; it uses up no attempt.
-- KEYS: 1 index  2 job  3 stats  4 user prefix
-- ARGV: 1 id  2 attempt  3 now  4 delay  5 code  6 ttl  7 token
-- Returns: {delayed, due_at} | {finished, outcome} | {already} | {stale}
-- token, unless empty: only if the attempt was begun by the call that bore it.
-- finished: a cancellation was asked for meanwhile, and nothing runs at the provider.
local f = redis.call('HMGET', KEYS[2], 'attempt', 'state', 'owner', 'user', 'cancel_requested', 'snoozes', 'closed_attempt',
  'due_at', 'outcome', 'token')
if not f[1] then return {'stale'} end
if f[7] == ARGV[2] then
  if f[2] == 'delayed' then return {'delayed', f[8]} end
  if f[2] == 'done' then return {'finished', f[9]} end
  return {'already'}
end
if f[1] ~= ARGV[2] or f[2] ~= 'submitting' then return {'stale'} end
if ARGV[7] ~= '' and f[10] ~= ARGV[7] then return {'stale'} end
if f[5] == '1' then
  end_job(KEYS[1], KEYS[2], KEYS[3], KEYS[4] .. f[3] .. ':' .. f[4], ARGV[1], 'canceled', ARGV[3], ARGV[6],
    {'closed_attempt', ARGV[2]})
  return {'finished', 'canceled'}
end
local due = tonumber(ARGV[3]) + tonumber(ARGV[4])
redis.call('ZADD', KEYS[1], score_of(DELAYED, due), ARGV[1])
redis.call('HSET', KEYS[2], 'state', 'delayed', 'due_at', text(due), 'snoozes', text(tonumber(f[6] or '0') + 1),
  'snooze_code', ARGV[5], 'closed_attempt', ARGV[2])
redis.call('HINCRBY', KEYS[3], 'snoozed', 1)
return {'delayed', text(due)}
