-- expire: ends a job that has waited longer than its queue allows.
-- With: outbox, ending
-- KEYS: index, job, stats, root
-- ARGV: id: name, now: moment, lease_now: moment?, ttl: seconds, user_limit: count
-- Returns: {finished, outcome, follow} | {stale}
-- stale: it does not wait, or not for so long. At the provider its alarm goes; a later claim of it looks at the time.
local f = read(key.job, 'expire_at', 'outcome', 'error_code', 'snooze_code', unpack(ENDING))
if f.state == 'done' and f.error_code == 'expired' then return {'finished', f.outcome, ''} end
if not f.state then
  redis.call('ZREM', key.index, arg.id, '!' .. arg.id)
  return {'stale'}
end
if not is_waiting(f.state) then
  redis.call('ZREM', key.index, '!' .. arg.id)
  return {'stale'}
end
if lease_time(arg.lease_now) < tonumber(f.expire_at) then return {'stale'} end
local why = (f.snooze_code or '') ~= '' and ' Its last submission was put off: ' .. f.snooze_code .. '.' or ''
local ending = ending_of(key.index, key.stats, key.root, arg.now, arg.ttl, arg.user_limit)
end_job(ending, arg.id, f, 'failed', {'error_code', 'expired',
  'error_detail', 'The job waited longer than its queue allows.' .. why, 'error_retryable', '1'})
return {'finished', 'failed', follow_of(ending)}
