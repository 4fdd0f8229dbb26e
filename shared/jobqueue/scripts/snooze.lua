-- snooze: puts back a job whose submission surely did not happen; it uses up no attempt.
-- With: keys, lost, room, users, shares, runs, seats, outbox, ending
-- KEYS: index, job, stats, root
-- ARGV: id: name, attempt: count, incarnation: text, now: moment, delay: milliseconds, code: text, ttl: seconds,
--       token: text, user_limit: count, pause: flag
-- Returns: {delayed, due_at: moment} | {queued} | {finished, outcome: name, follow: text} | {already} | {stale}
-- token, unless empty: only if the attempt was begun by the call with this token.
-- pause: 1 if the provider takes nothing for `delay` ms: the job keeps its score, and all its provider's jobs wait.
-- finished: a caller asked for the end meanwhile, and nothing runs at the provider.
local f = read(
  key.job,
  'attempt',
  'incarnation',
  'cancel_requested',
  'snoozes',
  'closed_attempt',
  'due_at',
  'token',
  'score',
  'expire_at',
  unpack(ENDING)
)

-- The answer if this attempt is closed already; nil if it is not.
local function replay()
  if f.closed_attempt ~= arg.attempt then return nil end -- mutant: repeat
  if f.state == 'delayed' then return { 'delayed', f.due_at } end
  if f.state == 'queued' or f.state == 'backlog' then return { 'queued' } end
  if f.state == 'done' then return replay_end(arg.id, f) end
  return { 'already' }
end

-- Whether the attempt is not the one that is being submitted, or was begun by another call.
local function is_stale()
  if f.attempt ~= arg.attempt or f.state ~= 'submitting' then return true end -- mutant: attempt
  return arg.token ~= '' and f.token ~= arg.token
end

-- The score of the provider's pause: until `due`, or longer if another job was refused for longer.
local function pause_score(gate, due)
  local set_at = redis.call('ZSCORE', key.index, gate)
  local paused_until = set_at and tonumber(set_at) + BAND or 0
  -- If this job was the probe, the gate has the end of its lease, which says nothing now.
  if paused_until == tonumber(f.lease_until) then paused_until = 0 end
  return gate_score(math.max(paused_until, due))
end

-- Notes that the outcome of the submission is known: there was none.
local function note_outcome() settle_lost(arg.id, f, 'reported') end

if not f.attempt or is_replaced(f) then return { 'stale' } end
local answer = replay()
if answer then return answer end
if is_stale() then return { 'stale' } end

local due, lane = tonumber(arg.now) + tonumber(arg.delay), tonumber(f.lane)
local pause, pauses = pause_gate(provider_of(lane)), arg.pause == '1'
if f.cancel_requested == '1' then
  end_job(arg.id, f, 'canceled', { closed_attempt = arg.attempt }, { note = note_outcome })
  if pauses then redis.call('ZADD', key.index, pause_score(pause, due), pause) end
  return { 'finished', 'canceled', follow() }
end
local snoozes = text(tonumber(f.snoozes or '0') + 1) -- mutant: snoozes
local fields = { snoozes = snoozes, snooze_code = arg.code, closed_attempt = arg.attempt }
local moves = { score_of(ALARMS, tonumber(f.expire_at)), alarm_of(arg.id) }
add_share(moves, arg.id, f.share, false)
if pauses then
  fields.state = 'queued'
  add(moves, score_of(READY + lane, tonumber(f.score)), arg.id, pause_score(pause, due), pause)
else
  fields.state, fields.due_at = 'delayed', text(due) -- mutant: delayed
  add(moves, score_of(DELAYED, due), arg.id)
end
note_outcome()
write_fields(key.job, fields)
redis.call('ZADD', key.index, unpack(moves))
redis.call('HINCRBY', key.stats, 'snoozed', 1)
release_held(f)
if pauses then
  -- The user's limit may have been lowered while the job was away.
  reseat(user_key(f.owner, f.user))
  return { 'queued' }
end
release_probe(f)
return { 'delayed', text(due) }
