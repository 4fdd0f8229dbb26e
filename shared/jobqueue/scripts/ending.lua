-- What the end of a job sets off. A verb that uses this names index, stats, root, now, ttl, user_limit and statistics.

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
  'cost',
  'weighed',
  'bounded',
  'amid',
  'snooze_code',
  'left_seat',
  'refusals',
  'outcome',
  'error_code',
  'created_at',
  'snoozes',
  'rescues',
  'error_retryable',
  'redriven_as',
  'price',
  'ledger',
  'paid',
  'charged',
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

-- The end of a job is written in this order, so that a script which stops after any command leaves what is found:
--   1. Its seat is free. This comes first: an engine that takes no growth lets a script grow once it has freed.
--   2. What will follow has its rows in the outbox, which drops a row whose record says nothing of it.
--   3. The record says `done`.
--   4. What the end sets off: its cost in the accounts, dead letter, batch, the user's next job.
--   5. The job leaves the index, and its batch's queue. While a job that has ended is in the index, a claim or a repeat
--      finds it, and does 4 again; while it is in the queue, a sweep does.

-- 1. Frees a job's seat.
local function free_seat(id, f)
  redis.call('ZREM', user_key(f.owner, f.user), id) -- mutant: seat
end

-- 5. Frees a job's slot; circuits of its model close with a success, for all and for its user.
local function leave_index(id, f, outcome)
  local gone, provider = { id, companions(id) }, provider_of(tonumber(f.lane))
  if outcome == 'completed' then -- mutant: circuit
    add(gone, circuit_gate(provider, f.model), own_circuit_gate(provider, f.model, f.share))
  end
  redis.call('ZREM', key.index, unpack(gone)) -- mutant: slot
end

-- 3. Writes the end into the job's record, with what will follow; only here a job gets a TTL.
local function close_record(id, outcome, fields, has_follow_up)
  fields.state, fields.outcome, fields.ended_at = 'done', outcome, arg.now
  write_fields(job_key(id), fields)
  redis.call('EXPIRE', job_key(id), kept_for(has_follow_up)) -- mutant: ttl
end

-- 2. Adds the job's files to the outbox, leased to the caller.
local function store_files(id, store_lease)
  redis.call('ZADD', outbox_key(), storing_score(tonumber(arg.now) + store_lease), id)
  follow_up('store|' .. id)
end

-- Counts the end; of a success also how long the run took.
local function count_end(f, outcome)
  redis.call('HINCRBY', key.stats, outcome, 1)
  if outcome == 'completed' and f.submitted_at then count_success(f, tonumber(arg.now)) end
end

-- Notes a job's end in its batch.
local function note_in_batch(f, outcome)
  redis.call('HSET', batch_key(f.batch), 's' .. f.number, outcome) -- mutant: outcome in batch
end

-- How many retries of its batch came before a job was made.
local function round_of(id) return tonumber(string.match(id, 'r(%d+)$') or '0') end

-- Whether a retry has given a job's place in its batch to another one.
local function is_replaced_in_batch(id, f)
  local current = redis.call('HGET', batch_key(f.batch), 'i' .. f.number)
  return current and round_of(current) > round_of(id)
end

-- Notes the end of a job in its batch once more, unless a retry has taken the job's place.
local function note_again(id, f)
  if is_replaced_in_batch(id, f) then return end
  note_in_batch(f, f.outcome)
  if round_of(id) > 0 then redis.call('HSET', batch_key(f.batch), 'i' .. f.number, id) end
end

-- Writes the end of a batch, with the event that is planned of it.
local function close_batch(f, b)
  local fields = { ended_at = arg.now }
  -- Each time it ends is an event of its own.
  local event = 'batch' .. (b.rounds or '') -- mutant: batch event
  local plan = plan_event(b, f.batch, event, #follow_ups == 0)
  note_event(fields, plan)
  follow_up(post(plan)) -- mutant: batch event posted
  write_fields(batch_key(f.batch), fields)
  redis.call('HINCRBY', key.stats, 'batches', 1)
  return plan
end

-- Ends a batch that has no live job left, once. It leaves its user's set last, where a sweep finds it.
local function end_batch(f)
  local batch = batch_key(f.batch)
  if redis.call('ZCARD', batch_queue_key(f.batch)) > 0 then return end
  local b = read(batch, 'ended_at', 'rounds', unpack(HOOK))
  local has_event = b.ended_at or close_batch(f, b) -- mutant: batch ends once
  redis.call('EXPIRE', batch, kept_for(has_event))
  redis.call('ZREM', user_key(f.owner, f.user), '#' .. f.batch)
end

-- Lists a job that used up its attempts, or its time to wait, as a dead letter; entries whose jobs are gone go with the
-- same call.
local function bury(id)
  redis.call('ZADD', dead_key(), arg.now, id)
  redis.call('ZREMRANGEBYSCORE', dead_key(), '-inf', text(tonumber(arg.now) - tonumber(arg.ttl) * 1000))
end

-- Ends a job itself, but for its places in the index and in its batch's queue. With a `store_lease` (ms) its files are
-- stored first, by the caller, and its owner is notified after that. `note` writes what must be there before the record
-- says `done`. `is_accepted`: the provider has accepted the current attempt. A success of an earlier one leaves the
-- probe of the current attempt, whose answer is still to come. A run that has ended has its `attempt` and `bill`.
local function end_itself(id, f, outcome, fields, more)
  local plan
  if f.price then charge(f, fields, more.attempt, more.bill) end
  if more.store_lease then
    fields.storing, fields.turn = '1', '1'
  else -- mutant: event after files
    plan = plan_event(f, id, outcome, #follow_ups == 0) -- mutant: one lease
    note_event(fields, plan)
  end
  free_seat(id, f)
  if more.note then more.note() end
  if more.store_lease then store_files(id, more.store_lease) end
  follow_up(post(plan)) -- mutant: event posted
  close_record(id, outcome, fields, more.store_lease or plan)
  settle_reservation(id, f, fields.charged)
  note_end(f, outcome, fields)
  count_end(f, outcome)
  refund(f)
  if outcome ~= 'completed' then
    settle_probe(f, more.is_accepted)
  elseif more.is_accepted then -- mutant: late success
    settle_pause(f, true)
  end
  if more.is_dead then bury(id) end
  if f.batch then note_in_batch(f, outcome) end
end

-- Makes the next job of the key and of the user ready, if others wait for this one's slot or seat.
local function pass_on(id, f)
  if is_held(f) then redis.call('ZREM', held_key(f.owner), id) end -- mutant: held job that is over
  if is_at_provider(f.state) then release_held(f) end
  if is_released(f) then release_next(f.owner) end -- mutant: release passed on
  -- `heirs` is noted when others begin to wait for its seat; a set cannot be asked for nothing.
  if f.heirs ~= '1' or f.state == 'backlog' then return end
  local set = user_key(f.owner, f.user)
  -- It was started while other jobs could not be: those that can go first.
  local user = f.amid == '1' and yield_seats(set) or nil -- mutant: amid a pause
  promote(set, user) -- mutant: promotion
end

-- Removes an ended job from where it is found: at last from the index, or from its batch's queue, which a sweep reads.
local function leave(id, f, outcome)
  if not f.batch then
    pass_on(id, f)
    leave_index(id, f, outcome)
    return
  end
  leave_index(id, f, outcome)
  redis.call('ZREM', batch_queue_key(f.batch), id)
  end_batch(f)
  pass_on(id, f)
end

-- Does again what follows a job's end, except for the rest of its batch: the script that ended it has stopped.
local function repeat_end(id, f)
  redis.call('EXPIRE', job_key(id), kept_for(true))
  local may_be_dead = f.error_retryable == '1' or f.error_code == 'provider_refused'
  if f.outcome == 'failed' and may_be_dead and not f.redriven_as then bury(id) end -- mutant: redriven meanwhile
  settle_reservation(id, f, f.charged) -- mutant: settlement after a stop
  if f.batch then note_again(id, f) end
end

-- Ends a waiting job; asks for the end of one at a provider, which a tick or a poll passes on. Returns whether it is
-- over.
local function cancel_job(id, f, token)
  if is_waiting(f.state) then -- mutant: waiting
    end_itself(id, f, 'canceled', { cancel_token = token }, {})
    leave(id, f, 'canceled')
    return true
  end
  local fields = { cancel_requested = '1', cancel_token = token, overdue_at = arg.now }
  if is_lost(f) and not has_left_seat(f) then leave_seat(id, f, fields) end
  -- First a write that frees: then an engine that takes no growth lets the script grow what it must.
  redis.call('HDEL', job_key(id), 'cancel_token')
  write_fields(job_key(id), fields)
  -- The next caller looks at a running job; a submission keeps its lease.
  if f.state == 'running' then
    redis.call('ZADD', key.index, slot_score('running', tonumber(f.lane), tonumber(arg.now)), id)
  end
  return false
end

-- Cancels what is left of a batch except for one job, its backlog first, so that no job gets a seat only to be
-- cancelled. Returns how many ended and how many were asked to.
local function cancel_batch(batch, token, but)
  local canceled, requested = 0, 0
  for _, id in ipairs(redis.call('ZREVRANGE', batch_queue_key(batch), 0, -1)) do
    local f = id ~= but and read(job_key(id), 'cancel_requested', unpack(ENDING)) or {}
    if f.state == 'done' then
      repeat_end(id, f)
      leave(id, f, f.outcome)
    elseif not f.state then
      if id ~= but then redis.call('ZREM', batch_queue_key(batch), id) end
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

-- What the end of a job decides for the rest of its batch, and then what may follow.
local function follow_end(id, f, outcome)
  local fails_batch = outcome == 'failed' and f.policy == 'all_or_nothing' -- mutant: all or nothing
  if f.batch and fails_batch then cancel_batch(f.batch, arg.now, id) end
  leave(id, f, outcome)
end

-- Ends a job, and with it what its end decides. `more` may have a store_lease, a note, and is_dead: it used up its
-- attempts, or its time to wait.
local function end_job(id, f, outcome, fields, more)
  end_itself(id, f, outcome, fields, more or {})
  follow_end(id, f, outcome)
end

-- Does again what follows the end of a job, if it is over but still in the index. Returns whether it was.
local function settle(id, f)
  if not redis.call('ZSCORE', key.index, id) then return false end -- mutant: unfinished end
  repeat_end(id, f)
  follow_end(id, f, f.outcome)
  return true
end

-- The answer to a repeat when the job has ended; what the first call has left undone is done.
local function replay_end(id, f)
  settle(id, f)
  return { 'finished', f.outcome, follow() }
end
