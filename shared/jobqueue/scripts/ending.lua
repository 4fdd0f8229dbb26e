-- What the end of a job sets off. A verb that uses this names index, stats, root, now, ttl and user_limit.

-- What a verb must have read of a job to end it.
local ENDING = {
  'owner',
  'user',
  'lane',
  'model',
  'state',
  'heirs',
  'submitted_at',
  'attempt',
  'lost',
  'likeness',
  'batch',
  'number',
  'policy',
  'probe',
  'lease_until',
  'share',
  'bounded',
  unpack(HOOK),
}

-- What this script leaves to its caller: rows of the outbox, the first of them leased; see post.
local follow_ups = {}

-- Leaves a row of the outbox to the caller.
local function follow_up(row)
  if row ~= '' then add(follow_ups, row) end
end

-- What the caller has to do now: rows of the outbox, separated by commas.
local function follow() return table.concat(follow_ups, ',') end

-- Seconds for which an ended job or batch is kept; longer if anything is left to do for it.
local function kept_for(has_follow_up)
  local ttl = tonumber(arg.ttl)
  return has_follow_up and math.max(FOLLOW_TTL, ttl) or ttl
end

-- 1. Frees a job's slot and its seat; its model's circuit closes with a success.
local function vacate(id, f, outcome)
  local gone = { id, companions(id) }
  if outcome == 'completed' then add(gone, circuit_gate(provider_of(tonumber(f.lane)), f.model)) end -- mutant: circuit
  redis.call('ZREM', key.index, unpack(gone)) -- mutant: slot
  redis.call('ZREM', user_key(f.owner, f.user), id) -- mutant: seat
end

-- 2. Writes the end into the job's record, with what will follow; only here a job gets a TTL.
local function close_record(id, outcome, fields, has_follow_up)
  fields.state, fields.outcome, fields.ended_at = 'done', outcome, arg.now
  write_fields(job_key(id), fields)
  redis.call('EXPIRE', job_key(id), kept_for(has_follow_up)) -- mutant: ttl
end

-- 3. Adds the job's files to the outbox, leased to the caller.
local function store_files(id, store_lease)
  redis.call('ZADD', outbox_key(), storing_score(tonumber(arg.now) + store_lease), id)
  follow_up('store|' .. id)
end

-- 4. Counts the end; of a success also how long the run took.
local function count_end(f, outcome)
  redis.call('HINCRBY', key.stats, outcome, 1)
  if outcome == 'completed' and f.submitted_at then count_success(f, tonumber(arg.now)) end
end

-- 5. Lets another job be the probe, if this one was it and could not say what it tried.
local function release_probe(f)
  if (f.probe or '') == '' then return end
  local set_at = redis.call('ZSCORE', key.index, f.probe)
  if set_at and tonumber(set_at) + BAND == tonumber(f.lease_until) then
    redis.call('ZADD', key.index, gate_score(tonumber(arg.now)), f.probe)
  end
end

-- 6. Notes a job's end in its batch.
local function note_in_batch(id, f, outcome)
  redis.call('ZREM', batch_queue_key(f.batch), id)
  redis.call('HSET', batch_key(f.batch), 's' .. f.number, outcome) -- mutant: outcome in batch
end

-- 7. Ends a batch that has no live job left, once.
local function end_batch(f)
  local batch = batch_key(f.batch)
  if redis.call('ZCARD', batch_queue_key(f.batch)) > 0 then return end
  if redis.call('HSETNX', batch, 'ended_at', arg.now) == 0 then return end -- mutant: batch ends once
  redis.call('ZREM', user_key(f.owner, f.user), '#' .. f.batch)
  local b, fields = read(batch, 'rounds', unpack(HOOK)), {}
  -- Each time it ends is an event of its own.
  local event = 'batch' .. (b.rounds or '') -- mutant: batch event
  local plan = plan_event(b, f.batch, event, #follow_ups == 0)
  note_event(fields, plan)
  if plan then write_fields(batch, fields) end
  redis.call('EXPIRE', batch, kept_for(plan))
  follow_up(post(plan)) -- mutant: batch event posted
  redis.call('HINCRBY', key.stats, 'batches', 1)
end

-- Ends a job itself. It frees first and grows last, so that it works when the store takes no growth. With a
-- `store_lease` (ms) its files are stored first, by the caller, and its owner is notified after that.
local function end_itself(id, f, outcome, fields, store_lease)
  local plan
  if store_lease then
    fields.storing, fields.turn = '1', '1'
  else -- mutant: event after files
    plan = plan_event(f, id, outcome, #follow_ups == 0) -- mutant: one lease
    note_event(fields, plan)
  end
  vacate(id, f, outcome)
  close_record(id, outcome, fields, store_lease or plan)
  if store_lease then store_files(id, store_lease) end
  follow_up(post(plan)) -- mutant: event posted
  count_end(f, outcome)
  if outcome ~= 'completed' then release_probe(f) end
  if f.batch then note_in_batch(id, f, outcome) end
end

-- Does what a job's end makes possible: its batch may end, and the next job of its key and its user may become ready.
local function pass_on(f)
  if f.batch then end_batch(f) end
  if is_at_provider(f.state) then release_held(f) end
  -- `heirs` is noted when others begin to wait for its seat; a set cannot be asked for nothing.
  if f.heirs == '1' and f.state ~= 'backlog' then promote(user_key(f.owner, f.user)) end -- mutant: promotion
end

-- Ends a waiting job; asks for the end of one at a provider, which a tick or a poll passes on. Returns whether it is
-- over.
local function cancel_job(id, f, token)
  if is_waiting(f.state) then -- mutant: waiting
    end_itself(id, f, 'canceled', { cancel_token = token })
    pass_on(f)
    return true
  end
  if is_lost(f) then leave_seat(id, f) end
  -- First a write that frees: then an engine that takes no growth lets the script grow what it must.
  redis.call('HDEL', job_key(id), 'cancel_token')
  write_fields(job_key(id), { cancel_requested = '1', cancel_token = token, overdue_at = arg.now })
  -- The next caller looks at a running job; a submission keeps its lease.
  if f.state == 'running' then redis.call('ZADD', key.index, score_of(tonumber(f.lane), tonumber(arg.now)), id) end
  return false
end

-- Cancels what is left of a batch, its backlog first, so that no job gets a seat only to be cancelled. Returns how many
-- ended and how many were asked to.
local function cancel_batch(batch, token)
  local canceled, requested = 0, 0
  for _, id in ipairs(redis.call('ZREVRANGE', batch_queue_key(batch), 0, -1)) do
    local f = read(job_key(id), 'cancel_requested', unpack(ENDING))
    if not f.state or f.state == 'done' then
      redis.call('ZREM', batch_queue_key(batch), id)
    elseif cancel_job(id, f, token) then
      canceled = canceled + 1
    else
      requested = requested + 1
    end
  end
  return canceled, requested
end

-- Counts and refuses the end of a prediction that a deleted incarnation of the job has made. The lost submission of
-- another job must not adopt it either.
local function refuse_replaced()
  redis.call('HINCRBY', key.stats, 'replaced', 1)
  if arg.prediction ~= '' then redis.call('SET', key.job_of_prediction, this_attempt(), 'EX', arg.prediction_ttl) end
  return { 'replaced' }
end

-- Ends a job, and with it what its end decides: first the job, then the rest of its batch, then what may follow.
local function end_job(id, f, outcome, fields, store_lease)
  end_itself(id, f, outcome, fields, store_lease)
  local fails_batch = outcome == 'failed' and f.policy == 'all_or_nothing' -- mutant: all or nothing
  if f.batch and fails_batch then cancel_batch(f.batch, arg.now) end
  pass_on(f)
end

-- Lists a job that used up its attempts as a dead letter; entries whose jobs have expired go with the same call.
local function bury(id)
  redis.call('ZADD', dead_key(), arg.now, id)
  redis.call('ZREMRANGEBYSCORE', dead_key(), '-inf', text(tonumber(arg.now) - tonumber(arg.ttl) * 1000))
end
