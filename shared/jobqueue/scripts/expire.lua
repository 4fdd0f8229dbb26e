-- expire: ends a job that has waited longer than its queue allows.
-- With: outbox, ending
-- KEYS: 1 index  2 job  3 stats  4 prefix
-- ARGV: 1 id  2 now  3 lease_now  4 ttl  5 user_limit
-- Returns: {finished, outcome, follow} | {stale}
-- stale: it does not wait, or not for so long. At the provider its alarm goes; a later claim of it looks at the time.
local f = read(KEYS[2], 'expire_at', 'outcome', 'error_code', 'snooze_code', unpack(ENDING))
if f.state == 'done' and f.error_code == 'expired' then return {'finished', f.outcome, ''} end
if not f.state then
  redis.call('ZREM', KEYS[1], ARGV[1], '!' .. ARGV[1])
  return {'stale'}
end
if not is_waiting(f.state) then
  redis.call('ZREM', KEYS[1], '!' .. ARGV[1])
  return {'stale'}
end
if lease_time(ARGV[3]) < tonumber(f.expire_at) then return {'stale'} end
local why = (f.snooze_code or '') ~= '' and ' Its last submission was put off: ' .. f.snooze_code .. '.' or ''
local ending = ending_of(KEYS[1], KEYS[3], KEYS[4], ARGV[2], ARGV[4], ARGV[5])
end_job(ending, ARGV[1], f, 'failed', {'error_code', 'expired',
  'error_detail', 'The job waited longer than its queue allows.' .. why, 'error_retryable', '1'})
return {'finished', 'failed', follow_of(ending)}
