-- snooze: puts back a job whose submission surely did not happen; it uses up no attempt.
-- With: outbox, ending, seats
-- KEYS: 1 index  2 job  3 stats  4 prefix
-- ARGV: 1 id  2 attempt  3 now  4 delay  5 code  6 ttl  7 token  8 user_limit  9 pause
-- Returns: {delayed, due_at} | {queued} | {finished, outcome, follow} | {already} | {stale}
-- token, unless empty: only if the attempt was begun by the call that bore it.
-- pause: 1 when the whole provider takes nothing for `delay` ms; the job keeps its place, and all wait together.
-- finished: a cancellation was asked for meanwhile, and nothing runs at the provider.
local f = read(KEYS[2], 'attempt', 'cancel_requested', 'snoozes', 'closed_attempt', 'due_at', 'outcome', 'token', 'score',
  'expire_at', unpack(ENDING))
if not f.attempt then return {'stale'} end
if f.closed_attempt == ARGV[2] then
  if f.state == 'delayed' then return {'delayed', f.due_at} end
  if f.state == 'queued' or f.state == 'backlog' then return {'queued'} end
  if f.state == 'done' then return {'finished', f.outcome, ''} end
  return {'already'}
end
if f.attempt ~= ARGV[2] or f.state ~= 'submitting' then return {'stale'} end
if ARGV[7] ~= '' and f.token ~= ARGV[7] then return {'stale'} end
-- A longer pause that somebody else was told stands; the probe's own hold of the gate is over.
local function pause_until(gate, due)
  local set_at = redis.call('ZSCORE', KEYS[1], gate)
  local held_until = set_at and tonumber(set_at) + BAND or 0
  if held_until == tonumber(f.lease_until) then held_until = 0 end
  return text(-BAND + math.max(held_until, due))
end
local ending = ending_of(KEYS[1], KEYS[3], KEYS[4], ARGV[3], ARGV[6], ARGV[8])
local due, lane = tonumber(ARGV[3]) + tonumber(ARGV[4]), tonumber(f.lane)
local alarm = score_of(ALARMS, tonumber(f.expire_at))
local pause, pauses = '~p' .. text(provider_of(lane)), ARGV[9] == '1'
if f.cancel_requested == '1' then
  end_job(ending, ARGV[1], f, 'canceled', {'closed_attempt', ARGV[2]})
  if pauses then redis.call('ZADD', KEYS[1], pause_until(pause, due), pause) end
  return {'finished', 'canceled', follow_of(ending)}
end
local snoozes = {'snoozes', text(tonumber(f.snoozes or '0') + 1), 'snooze_code', ARGV[5], 'closed_attempt', ARGV[2]}
if pauses then
  redis.call('ZADD', KEYS[1], score_of(READY + lane, tonumber(f.score)), ARGV[1], pause_until(pause, due), pause,
    alarm, '!' .. ARGV[1])
  redis.call('HSET', KEYS[2], 'state', 'queued', unpack(snoozes))
else
  redis.call('ZADD', KEYS[1], score_of(DELAYED, due), ARGV[1], alarm, '!' .. ARGV[1])
  redis.call('HSET', KEYS[2], 'state', 'delayed', 'due_at', text(due), unpack(snoozes))
end
redis.call('HINCRBY', KEYS[3], 'snoozed', 1)
if pauses then
  -- His limit may have been lowered while the job was away.
  reseat(ending, user_key(ending, f))
  return {'queued'}
end
release(ending, f)
return {'delayed', text(due)}
