-- alert_look: takes the turn to look for trouble, and reads what alerts are about. It costs the same however long the
-- queue is.
-- With: keys, room, startable, pauses
-- KEYS: index, stats, lost, root, dead, outbox, alerts
-- ARGV: now: moment, gap: milliseconds, lease_now: moment?, slot_limit: count, queue_limits: numbers,
--       provider_limits: numbers, lanes: numbers, most_dead: count?
-- Returns: {looked, known: text, silences: text, tick_at: moment?, webhook_refused_at: moment?, counters: numbers,
--       job: text, since: moment?, gates: counts, pauses: rows, unknown: count, lines: counts, dead: count,
--       dead_of: names, copies: counts, hosts: counts} | {early}
--   pauses: {provider: provider, since: moment, at: moment, code: name, status: count, refusals: count, models: names}
-- early: another caller has looked less than `gap` ago.
-- known, silences: what alert_put has written last.
-- counters: rescued, rehomed, lanes_restored and undelivered, as they are in the statistics.
-- job, since: the job that could have started the longest ago, and when; '' if none can start now.
-- lines: by lane, when the first ready job was submitted; a batch's job counts for nothing.
-- dead: how many dead letters came in the last hour; dead_of: from `most_dead` on, the models of the last of them.
-- copies: jobs whose files are not all stored, and when they ended.
-- hosts: of the 500 delivery lanes that are put off furthest, twenty of as many owners as can be, and how often in a
--   row their host has failed.
local HOUR = 3600000 -- ms
local MAX_LINES, MAX_LETTERS, MAX_COPIES, MAX_HOSTS = 8, 10, 5, 20
local MAX_ROWS = 500 -- of the outbox, in one command
local now = tonumber(arg.now)
local known = read(key.alerts, 'looked_at', 'state', 'silences')
-- A clock that was wrong must not put off all looks until then.
if math.abs(now - tonumber(known.looked_at or '0')) < tonumber(arg.gap) then return { 'early' } end -- mutant: turn
local limits = {
  slots = tonumber(arg.slot_limit),
  queues = numbers(arg.queue_limits),
  providers = numbers(arg.provider_limits),
}

-- The first ready job of each lane that has one; of a complete head without a command.
local function first_in_lines(head)
  local found, band = {}, READY
  while #found < MAX_LINES and band < DELAYED do
    local id
    if head.complete then
      local part = part_in(head, band)
      id = part and row_at(part, part.first).id
    else
      local last = '(' .. score_of(DELAYED, 0)
      local row = redis.call('ZRANGEBYSCORE', key.index, score_of(band, 0), last, 'WITHSCORES', 'LIMIT', 0, 1)
      if not row[1] then break end
      id, band = row[1], band_of(tonumber(row[2]))
    end
    if id then add(found, { lane = text(band - READY), id = id }) end
    band = band + 1
  end
  return found
end

-- When the first ready job of each lane was submitted.
local function lines_of(head)
  local flat = {}
  for _, line in ipairs(first_in_lines(head)) do
    local f = read(job_key(line.id), 'created_at', 'batch')
    if f.created_at and not f.batch then add(flat, line.lane, f.created_at) end
  end
  return flat
end

-- The models of the last dead letters, if there are many.
local function models_of_dead(count)
  local models = {}
  if arg.most_dead == '' or count < tonumber(arg.most_dead) then return models end
  for _, id in ipairs(redis.call('ZREVRANGE', key.dead, 0, MAX_LETTERS - 1)) do
    add(models, read(job_key(id), 'model').model)
  end
  return models
end

-- So many lanes, in turn one of each owner: one owner's lanes must not hide those of others.
local function spread(lanes)
  local taken, turns, chosen = {}, {}, {}
  for _, lane in ipairs(lanes) do
    local owner = string.match(lane.name, '^[^:]*')
    taken[owner] = (taken[owner] or 0) + 1 -- mutant: lanes of one owner
    turns[taken[owner]] = turns[taken[owner]] or {}
    add(turns[taken[owner]], lane)
  end
  for _, turn in ipairs(turns) do
    for _, lane in ipairs(turn) do
      if #chosen < MAX_HOSTS then add(chosen, lane) end
    end
  end
  return chosen
end

-- Jobs whose files wait, and lanes that wait: the first rows of the outbox, and the last ones if there are more.
local function outbox_rows()
  local copies, lanes = {}, {}
  local flat = redis.call('ZRANGE', key.outbox, 0, MAX_COPIES + MAX_HOSTS - 1, 'WITHSCORES')
  for i = 1, #flat, 2 do
    local score = tonumber(flat[i + 1])
    if score >= 0 then
      add(lanes, { name = flat[i], due = score })
    elseif #copies < MAX_COPIES then
      add(copies, flat[i])
    end
  end
  if #flat < 2 * (MAX_COPIES + MAX_HOSTS) then return copies, lanes end
  lanes = {}
  flat = redis.call('ZREVRANGEBYSCORE', key.outbox, '+inf', 0, 'WITHSCORES', 'LIMIT', 0, MAX_ROWS)
  for i = 1, #flat, 2 do
    add(lanes, { name = flat[i], due = tonumber(flat[i + 1]) })
  end
  return copies, spread(lanes)
end

-- When the jobs ended whose files wait.
local function ends_of(ids)
  local flat = {}
  for _, id in ipairs(ids) do
    local f = read(job_key(id), 'ended_at', 'storing')
    if f.ended_at and f.storing == '1' then add(flat, id, f.ended_at) end
  end
  return flat
end

-- How often in a row hosts have failed, of the lanes that are put off for longer than a lease.
local function failures_of(lanes)
  local flat = {}
  for _, lane in ipairs(lanes) do
    if lane.due > now + HOOK_LEASE then -- mutant: lanes put off
      local failures = read(host_key(lane.name), 'failures').failures
      if failures then add(flat, lane.name, failures) end
    end
  end
  return flat
end

-- The numbers of counters; 0 for one that there is not.
local function counters_of(f, names)
  local list = {}
  for _, name in ipairs(names) do
    add(list, f[name] or '0')
  end
  return list
end

-- What is known of a field; '' without one.
local function value_of(value) return value or '' end

local COUNTERS = { 'rescued', 'rehomed', 'lanes_restored', 'undelivered' }
local head = read_head(limits.slots, 1)
local job, since = oldest_startable(head, limits, lease_time(arg.lease_now))
local f = read(key.stats, 'tick_at', 'webhook_refused_at', unpack(COUNTERS))
local gates = gates_of(head)
local dead = redis.call('ZCOUNT', key.dead, text(now - HOUR), '+inf')
local copies, lanes = outbox_rows()
local answer = {
  'looked',
  value_of(known.state),
  value_of(known.silences),
  value_of(f.tick_at),
  value_of(f.webhook_refused_at),
  counters_of(f, COUNTERS),
  job,
  since,
  gates,
  pauses_in(gates),
  redis.call('ZCOUNT', key.lost, 0, '+inf'),
  lines_of(head),
  dead,
  models_of_dead(dead),
  ends_of(copies),
  failures_of(lanes),
}
redis.call('HSET', key.alerts, 'looked_at', arg.now) -- mutant: turn taken
return answer
