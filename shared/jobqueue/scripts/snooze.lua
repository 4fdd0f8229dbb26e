-- snooze: puts back a job whose submission surely did not happen; it uses up no attempt.
-- With: outbox, ending, seats
-- KEYS: index, job, stats, root
-- ARGV: id: name, attempt: count, now: moment, delay: milliseconds, code: text, ttl: seconds, token: text,
--       user_limit: count, pause: flag
-- Returns: {delayed, due_at} | {queued} | {finished, outcome, follow} | {already} | {stale}
-- token, unless empty: only if the attempt was begun by the call that bore it.
-- pause: 1 when the whole provider takes nothing for `delay` ms; the job keeps its place, and all wait together.
-- finished: a cancellation was asked for meanwhile, and nothing runs at the provider.
local f = read(key.job, 'attempt', 'cancel_requested', 'snoozes', 'closed_attempt', 'due_at', 'outcome', 'token', 'score',
  'expire_at', unpack(ENDING))
if not f.attempt then return {'stale'} end
if f.closed_attempt == arg.attempt then
  if f.state == 'delayed' then return {'delayed', f.due_at} end
  if f.state == 'queued' or f.state == 'backlog' then return {'queued'} end
  if f.state == 'done' then return {'finished', f.outcome, ''} end
  return {'already'}
end
if f.attempt ~= arg.attempt or f.state ~= 'submitting' then return {'stale'} end
if arg.token ~= '' and f.token ~= arg.token then return {'stale'} end
-- A longer pause that somebody else was told stands; the probe's own hold of the gate is over.
local function pause_until(gate, due)
  local set_at = redis.call('ZSCORE', key.index, gate)
  local held_until = set_at and tonumber(set_at) + BAND or 0
  if held_until == tonumber(f.lease_until) then held_until = 0 end
  return text(-BAND + math.max(held_until, due))
end
local ending = ending_of(key.index, key.stats, key.root, arg.now, arg.ttl, arg.user_limit)
local due, lane = tonumber(arg.now) + tonumber(arg.delay), tonumber(f.lane)
local alarm = score_of(ALARMS, tonumber(f.expire_at))
local pause, pauses = '~p' .. text(provider_of(lane)), arg.pause == '1'
if f.cancel_requested == '1' then
  end_job(ending, arg.id, f, 'canceled', {'closed_attempt', arg.attempt})
  if pauses then redis.call('ZADD', key.index, pause_until(pause, due), pause) end
  return {'finished', 'canceled', follow_of(ending)}
end
local snoozes = {'snoozes', text(tonumber(f.snoozes or '0') + 1), 'snooze_code', arg.code, 'closed_attempt', arg.attempt}
if pauses then
  redis.call('ZADD', key.index, score_of(READY + lane, tonumber(f.score)), arg.id, pause_until(pause, due), pause,
    alarm, '!' .. arg.id)
  redis.call('HSET', key.job, 'state', 'queued', unpack(snoozes))
else
  redis.call('ZADD', key.index, score_of(DELAYED, due), arg.id, alarm, '!' .. arg.id)
  redis.call('HSET', key.job, 'state', 'delayed', 'due_at', text(due), unpack(snoozes))
end
redis.call('HINCRBY', key.stats, 'snoozed', 1)
if pauses then
  -- His limit may have been lowered while the job was away.
  reseat(ending, user_key(ending, f))
  return {'queued'}
end
release(ending, f)
return {'delayed', text(due)}
