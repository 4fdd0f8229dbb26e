-- snooze: puts back a job whose submission surely did not happen; it uses up no attempt. A job that alone is refused
-- again and again ends.
-- With: keys, spending, lost, room, pauses, users, tags, shares, runs, seats, yielding, outbox, entries, ending
-- KEYS: index, job, stats, root
-- ARGV: id: name, attempt: count, incarnation: text, now: moment, delay: milliseconds, code: text, status: count,
--       ttl: seconds, token: text, user_limit: count, statistics: flag, pause: flag
-- Returns: {delayed, due_at: moment} | {finished, outcome: name, follow: text} | {already} | {stale}
-- token, unless empty: only if the attempt was begun by the call with this token.
-- pause: 1 if the provider has refused the job and so takes nothing for `delay` ms; then another job is the probe.
-- status: of the provider's answer, 0 without one.
-- finished: a caller asked for the end meanwhile, and nothing runs at the provider; or the job was refused too often.
local MAX_REFUSALS = 5 -- of one job; after each of them but the last another job was accepted
-- What a refused job ends with. Too many submissions are never a job's own fault.
local ENDS_WITH = { provider_auth = 'provider_refused', billing = 'billing' }
local f = read(
  key.job,
  'attempt',
  'incarnation',
  'cancel_requested',
  'snoozes',
  'closed_attempt',
  'due_at',
  'token',
  'expire_at',
  'refused_as',
  'refused_in',
  'faults',
  unpack(ENDING)
)
local now, delay = tonumber(arg.now), tonumber(arg.delay)

-- The answer if this attempt is closed already; nil if it is not.
local function replay()
  if f.closed_attempt ~= arg.attempt then return nil end -- mutant: repeat
  -- Its seat may have gone to another job.
  if f.due_at and (f.state == 'delayed' or f.state == 'backlog') then return { 'delayed', f.due_at } end
  if f.state == 'done' then return replay_end(arg.id, f) end
  return { 'already' }
end

-- Whether the attempt is not the one that is being submitted, or was begun by another call.
local function is_stale()
  if f.attempt ~= arg.attempt or f.state ~= 'submitting' then return true end -- mutant: attempt
  return arg.token ~= '' and f.token ~= arg.token
end

-- Notes that the outcome of the submission is known: there was none.
local function note_outcome() settle_lost(arg.id, f, 'reported') end

-- Puts the job aside for a while.
local function put_aside(fields, wait)
  local due_at = text(now + wait)
  note_outcome()
  fields.state, fields.due_at, fields.snooze_code = 'delayed', due_at, arg.code -- mutant: delayed
  write_fields(key.job, fields)
  local moves = { score_of(DELAYED, tonumber(due_at)), arg.id }
  add(moves, score_of(ALARMS, tonumber(f.expire_at)), alarm_of(arg.id))
  add_share(moves, arg.id, f.share, false)
  redis.call('ZADD', key.index, unpack(moves))
  release_held(f)
  return { 'delayed', due_at }
end

-- The pause that a refusal sets or makes longer: its name, and until when it lasts.
local function judge_pause(known, gate)
  local set_at = redis.call('ZSCORE', key.index, gate)
  local paused_until = set_at and tonumber(set_at) + BAND or 0
  -- If this job was the probe, the gate has the end of its lease, which says nothing now.
  local is_probe = paused_until == tonumber(f.lease_until)
  local ends_at = now + delay
  -- What was refused while others were accepted does not stop them again: a job that nothing speaks against probes at
  -- once, and all others when `delay` is over.
  if arg.code ~= 'rate_limited' and is_suspect(known, f) then ends_at = now end -- mutant: suspect
  if is_probe then paused_until = 0 end
  local is_same = set_at and known.since > known.lifted
  local name = is_same and known.since or math.max(now, known.since + 1)
  return name, math.max(paused_until, ends_at)
end

-- How often in a row the job was refused for the same reason, each time with another job accepted after it.
local function count_faults(known)
  if f.refused_as ~= arg.code or tonumber(f.refused_in) > known.lifted then return 0 end -- mutant: disproved
  return tonumber(f.faults) + 1
end

-- Ends the job, which alone is refused.
local function give_up(fields, faults)
  local said = 'The provider has refused this job ' .. text(faults + 1) .. ' times (status ' .. arg.status .. ')'
  fields.error_code, fields.error_retryable = ENDS_WITH[arg.code], flag(arg.code == 'billing')
  fields.error_detail = said .. ' and has accepted others in between.'
  end_job(arg.id, f, 'failed', fields, { note = note_outcome, is_dead = true })
  return { 'finished', 'failed', follow() }
end

-- Pauses the provider, and puts the refused job aside, longer each time that others are accepted after its refusal.
local function refuse(fields)
  local provider = provider_of(tonumber(f.lane))
  local gate, known = pause_gate(provider), read_refusals(provider)
  local faults, pause, ends_at = count_faults(known), judge_pause(known, gate)
  fields.refusals, fields.faults = text(tonumber(f.refusals or '0') + 1), text(faults)
  fields.refused_as, fields.refused_in = arg.code, text(pause)
  local answer
  -- First: a held job of this provider is not one that can start.
  redis.call('ZADD', key.index, gate_score(ends_at), gate)
  if f.cancel_requested == '1' then
    end_job(arg.id, f, 'canceled', fields, { note = note_outcome })
    answer = { 'finished', 'canceled', follow() }
  elseif ENDS_WITH[arg.code] and faults + 1 >= MAX_REFUSALS then -- mutant: refused for ever
    answer = give_up(fields, faults)
  else
    answer = put_aside(fields, delay * 2 ^ math.min(faults, MAX_DOUBLINGS)) -- mutant: growing delay
  end
  settle_circuits(f) -- mutant: refused probe of a circuit
  -- The user's other jobs at this provider cannot start now either.
  if answer[1] == 'delayed' and f.heirs == '1' then yield_seats(user_key(f.owner, f.user)) end
  local said = { at = arg.now, code = arg.code, status = arg.status, suspects_until = text(now + delay) }
  note_refusal(provider, known, f, pause, said)
  return answer
end

-- Puts the job aside as it is; one that was cancelled meanwhile ends.
local function put_off(fields)
  if f.cancel_requested == '1' then
    end_job(arg.id, f, 'canceled', fields, { note = note_outcome })
    return { 'finished', 'canceled', follow() }
  end
  local answer = put_aside(fields, delay)
  settle_probe(f)
  return answer
end

if not f.attempt or is_replaced(f) then return { 'stale' } end
local repeated = replay()
if repeated then return repeated end
if is_stale() then
  if arg.token == '' or f.token == arg.token then settle_late(f) end
  return { 'stale' }
end

local snoozes = text(tonumber(f.snoozes or '0') + 1) -- mutant: snoozes
local fields = { snoozes = snoozes, closed_attempt = arg.attempt }
local answer = arg.pause == '1' and refuse(fields) or put_off(fields)
redis.call('HINCRBY', key.stats, 'snoozed', 1) -- mutant: snoozed
return answer
