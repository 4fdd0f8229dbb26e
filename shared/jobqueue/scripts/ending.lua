-- What an end sets off; sent between the prelude and each verb that ends jobs. `ending` is what these verbs know:
-- index, stats, prefix (of all keys), now, ttl (s), and cap: the concurrency of a user who has none of his own.

-- What a verb must have read of a job to end it.
local ENDING = {'owner', 'user', 'lane', 'model', 'state', 'heirs', 'submitted_at', 'batch', 'number', 'policy',
  'probe', 'lease_until', unpack(HOOK)}

local function ending_of(index, stats, prefix, now, ttl, cap)
  return {index = index, stats = stats, prefix = prefix, now = now, ttl = ttl, cap = tonumber(cap), follow = {}}
end

-- What the caller has to do now: rows of the outbox, separated by commas; see post. The first one is leased to it.
local function follow_of(ending) return table.concat(ending.follow, ',') end

local function follow_up(ending, row)
  if row ~= '' then ending.follow[#ending.follow + 1] = row end
end

local function job_key(ending, id) return ending.prefix .. 'j:' .. id end
local function user_key(ending, f) return ending.prefix .. 'u:' .. f.owner .. ':' .. f.user end
local function runs_key(ending, f) return runs_of(ending.prefix, tonumber(f.lane), f.model) end

-- Drops a job that was lost with its hash.
local function forget(ending, user, id)
  redis.call('ZREM', user, id)
  redis.call('ZREM', ending.index, id, '!' .. id)
  redis.call('HINCRBY', ending.stats, 'missing', 1)
end

-- Takes the next job of a batch out of the user's backlog; nil when none is left there.
local function next_of_batch(ending, user, marker)
  local queue = ending.prefix .. 'q:' .. string.sub(marker, 2)
  local flat = redis.call('ZRANGEBYSCORE', queue, 0, '+inf', 'WITHSCORES', 'LIMIT', 0, 2)
  redis.call('ZADD', user, flat[4] or text(SPENT), marker)
  if flat[1] then redis.call('ZADD', queue, -1, flat[1]) end
  return flat[1]
end

-- Moves jobs from a user's backlog to the ready ones, as far as his concurrency admits them; says how many.
local function promote(ending, user)
  local known, promoted = read_user(user, ending.cap), 0
  for _, row in ipairs(known.waiting) do
    local is_batch = string.sub(row.id, 1, 1) == '#'
    while #known.admitted + promoted < known.cap do
      local id = row.id
      if is_batch then id = next_of_batch(ending, user, row.id) end
      if not id then break end
      local f = read(job_key(ending, id), 'state', 'lane', 'score')
      if f.state == 'backlog' then
        redis.call('ZADD', ending.index, score_of(READY + tonumber(f.lane), tonumber(f.score)), id)
        redis.call('ZADD', user, text(ADMITTED + tonumber(f.score)), id)
        redis.call('HSET', job_key(ending, id), 'state', 'queued')
        promoted = promoted + 1
      elseif not f.state then
        forget(ending, user, id)
      end
      if not is_batch then break end
    end
  end
  return promoted
end

local cancel_batch -- below: a batch may cancel its jobs when one has failed

-- Counts a job's end in its batch; the last one ends the batch.
local function settle(ending, id, f, outcome)
  local batch, queue = ending.prefix .. 'b:' .. f.batch, ending.prefix .. 'q:' .. f.batch
  redis.call('ZREM', queue, id)
  redis.call('HSET', batch, 's' .. f.number, outcome)
  if outcome == 'failed' and f.policy == 'all_or_nothing' then cancel_batch(ending, f.batch, ending.now) end
  if redis.call('ZCARD', queue) == 0 and redis.call('HSETNX', batch, 'ended_at', ending.now) == 1 then
    redis.call('ZREM', user_key(ending, f), '#' .. f.batch)
    local b, fields = read(batch, 'rounds', unpack(HOOK)), {}
    -- Each time it ends is an event of its own.
    local plan = plan_event(ending.prefix, b, f.batch, 'batch' .. (b.rounds or ''), tonumber(ending.now), #ending.follow == 0)
    note_event(fields, plan)
    if plan then redis.call('HSET', batch, unpack(fields)) end
    redis.call('EXPIRE', batch, plan and math.max(FOLLOW_TTL, ending.ttl) or ending.ttl)
    follow_up(ending, post(ending.prefix, plan))
    redis.call('HINCRBY', ending.stats, 'batches', 1)
  end
end

-- Lets another job be the probe, when this one was it and told nothing of what it tried.
local function release(ending, f)
  if (f.probe or '') == '' then return end
  local set_at = redis.call('ZSCORE', ending.index, f.probe)
  if set_at and tonumber(set_at) + BAND == tonumber(f.lease_until) then
    redis.call('ZADD', ending.index, text(-BAND + tonumber(ending.now)), f.probe)
  end
end

-- Ends a job: frees first and grows last, so that it works when the store takes no growth; only here a TTL is set. With a
-- `store_lease` (ms) its files are to be stored first, by the caller, and its owner is told after that.
local function end_job(ending, id, f, outcome, fields, store_lease)
  local user, key, gone = user_key(ending, f), job_key(ending, id), {id, '!' .. id}
  local now, plan = tonumber(ending.now), nil
  if store_lease then
    for _, part in ipairs({'storing', '1', 'turn', '1'}) do fields[#fields + 1] = part end
  else
    plan = plan_event(ending.prefix, f, id, outcome, now, #ending.follow == 0)
    note_event(fields, plan)
  end
  if outcome == 'completed' then gone[3] = circuit_of(provider_of(tonumber(f.lane)), f.model) end
  redis.call('ZREM', ending.index, unpack(gone))
  redis.call('ZREM', user, id)
  redis.call('HSET', key, 'state', 'done', 'outcome', outcome, 'ended_at', ending.now, unpack(fields))
  redis.call('EXPIRE', key, (store_lease or plan) and math.max(FOLLOW_TTL, ending.ttl) or ending.ttl)
  if store_lease then
    redis.call('ZADD', ending.prefix .. 'x', text(now + store_lease - BAND), id)
    follow_up(ending, 'store|' .. id)
  end
  follow_up(ending, post(ending.prefix, plan))
  redis.call('HINCRBY', ending.stats, outcome, 1)
  if outcome == 'completed' and f.submitted_at then
    -- One of 32 places, taken by chance: figures of about the last 32 runs, at the price of one write.
    local took = math.max(0, tonumber(ending.now) - tonumber(f.submitted_at))
    redis.call('HSET', runs_key(ending, f), 'failures', '0', 'opened', '0', 'open_until', '0',
      'at', ending.now, 'r' .. text(tonumber(ending.now) % 32), text(took))
  end
  if outcome ~= 'completed' then release(ending, f) end
  if f.batch then settle(ending, id, f, outcome) end
  -- Told when it was put before others of its user; a set cannot be asked for nothing.
  if f.heirs == '1' and f.state ~= 'backlog' then promote(ending, user) end
end

-- Ends a waiting job; asks for the end of one that is at the provider, where a tick or a poll will pass it on.
local function cancel_job(ending, id, f, token)
  if is_waiting(f.state) then
    end_job(ending, id, f, 'canceled', {'cancel_token', token})
    return true
  end
  -- First a write that frees: then an engine that takes no growth lets the script grow what it must.
  redis.call('HDEL', job_key(ending, id), 'cancel_token')
  redis.call('HSET', job_key(ending, id), 'cancel_requested', '1', 'cancel_token', token, 'overdue_at', ending.now)
  -- A running job is looked at by whoever comes next; a submission keeps its lease.
  if f.state == 'running' then
    redis.call('ZADD', ending.index, score_of(tonumber(f.lane), tonumber(ending.now)), id)
  end
  return false
end

-- Cancels what is left of a batch, those in the backlog first, so that none is promoted only to be cancelled.
cancel_batch = function(ending, batch, token)
  local ids, canceled, requested = redis.call('ZREVRANGE', ending.prefix .. 'q:' .. batch, 0, -1), 0, 0
  for _, id in ipairs(ids) do
    local f = read(job_key(ending, id), 'cancel_requested', unpack(ENDING))
    if not f.state or f.state == 'done' then
      redis.call('ZREM', ending.prefix .. 'q:' .. batch, id)
    elseif cancel_job(ending, id, f, token) then
      canceled = canceled + 1
    else
      requested = requested + 1
    end
  end
  return canceled, requested
end

-- Remembers a job that used up its attempts; entries whose jobs have expired go with the same call.
local function bury(ending, id)
  redis.call('ZADD', ending.prefix .. 'd', ending.now, id)
  redis.call('ZREMRANGEBYSCORE', ending.prefix .. 'd', '-inf', text(tonumber(ending.now) - tonumber(ending.ttl) * 1000))
end

-- Notes that a model has failed once more; so many failures in a row open its circuit, each time for twice as long.
local function count_failure(ending, f, threshold, pause)
  local runs, now = runs_key(ending, f), tonumber(ending.now)
  local known = read(runs, 'failures', 'opened', 'open_until')
  local failures, opened = tonumber(known.failures or '0') + 1, tonumber(known.opened or '0')
  redis.call('HSET', runs, 'failures', text(failures), 'at', ending.now)
  -- Failures of jobs that were under way when it opened do not make it stay open for longer.
  if failures < threshold or now < tonumber(known.open_until or '0') then return end
  local open_until = text(now + pause * 2 ^ math.min(opened, 4))
  redis.call('HSET', runs, 'opened', text(opened + 1), 'open_until', open_until)
  local gate = circuit_of(provider_of(tonumber(f.lane)), f.model)
  if redis.call('ZCOUNT', ending.index, '-inf', '(0') < MAX_CIRCUITS or redis.call('ZSCORE', ending.index, gate) then
    redis.call('ZADD', ending.index, text(-BAND + tonumber(open_until)), gate)
  end
end
