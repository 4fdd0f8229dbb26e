-- cancel: ends a waiting job at once; asks for the end of one that is at the provider.
-- KEYS: 1 index  2 job  3 stats  4 user prefix
-- ARGV: 1 id  2 owner  3 token  4 now  5 ttl
-- Returns: {not_found} | {canceled} | {cancel_requested, attempt, prediction, provider} | {already_terminal, outcome}
local f = redis.call('HMGET', KEYS[2], 'state', 'owner', 'user', 'attempt', 'prediction', 'provider', 'outcome',
  'cancel_token', 'queue_number')
if not f[1] or f[2] ~= ARGV[2] then return {'not_found'} end
if f[1] == 'done' then
  if f[8] == ARGV[3] and f[7] == 'canceled' then return {'canceled'} end
  return {'already_terminal', f[7]}
end
if f[1] == 'queued' or f[1] == 'delayed' then
  end_job(KEYS[1], KEYS[2], KEYS[3], KEYS[4] .. f[2] .. ':' .. f[3], ARGV[1], 'canceled', ARGV[4], ARGV[5],
    {'cancel_token', ARGV[3]})
  return {'canceled'}
end
-- First a write that frees: then an engine that takes no growth lets the script grow what it must.
redis.call('HDEL', KEYS[2], 'cancel_token')
redis.call('HSET', KEYS[2], 'cancel_requested', '1', 'cancel_token', ARGV[3], 'overdue_at', ARGV[4])
-- A running job is looked at by whoever comes next; a submission keeps its lease.
if f[1] == 'running' then redis.call('ZADD', KEYS[1], score_of(tonumber(f[9]), tonumber(ARGV[4])), ARGV[1]) end
return {'cancel_requested', f[4], f[5] or '', f[6]}
