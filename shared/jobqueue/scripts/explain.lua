-- explain: a job, why it waits and for how long. At most four commands, however long the queue is.
-- With: keys, room, users, runs
-- KEYS: index, job, root
-- ARGV: id: name, slot_limit: count, user_limit: count, names: names...
-- Returns: {values: values, outlook: row}
--   outlook: {position: count?, p50: count, p90: count, slots: count?, of_queue: count?, of_provider: count?,
--       seats: count?, cap: count?, gates: counts}
-- values: of the job's fields `names`, in their order.
-- outlook: as far as it is known; {} for a job that has ended.
-- position: among the ready jobs of its queue; in a backlog among the user's own, or the batch's; '' for other jobs.
local MAX_SEEN = 200 -- of the next jobs are looked at one by one; those behind them are counted
local NEEDED = { 'state', 'lane', 'score', 'owner', 'user', 'model', 'p50', 'p90', 'batch' }

-- The values of the fields that the caller names, and the fields that are needed here.
local function read_job()
  local names, values = rest.names, {}
  local asked = #names
  add(names, unpack(NEEDED))
  local found, f = redis.call('HMGET', key.job, unpack(names)), {}
  for i, name in ipairs(names) do
    if i <= asked then values[i] = found[i] or false end
    if found[i] then f[name] = found[i] end
  end
  return values, f
end

-- The outlook of a job in the backlog. Far from its head the times are those that were noted at submit.
local function outlook_in_backlog(f)
  local set, score = user_key(f.owner, f.user), tonumber(f.score)
  local user, position, p50, p90 = read_user(set, tonumber(arg.user_limit)), 1, f.p50 or '0', f.p90 or '0'
  if f.batch or not user.complete then
    position = redis.call('ZCOUNT', f.batch and batch_queue_key(f.batch) or set, 0, text(score))
  else
    for _, job in ipairs(user.waiting) do
      if job.id ~= arg.id and job.score <= score then position = position + 1 end
    end
    p50, p90 = usual_times(runs_key(tonumber(f.lane), f.model))
  end
  return { text(position), p50, p90, '', '', '', text(#user.seated), text(user.cap), {} }
end

-- The job's position as far as the head goes, and whether the head reaches it.
local function position_in_head(head, f)
  local lane, score, position, is_seen = tonumber(f.lane), tonumber(f.score), 0, false
  for _, row in ipairs(head.rows) do
    local is_ready = row.band >= READY and row.band < DELAYED
    local is_ahead = row.ms < score or (row.ms == score and row.id <= arg.id)
    if is_ready and is_ahead and queue_of(row.band - READY) == queue_of(lane) then position = position + 1 end
    is_seen = is_seen or row.id == arg.id
  end
  return position, is_seen
end

-- The outlook of a ready job, with all that may hold it up.
local function outlook_of_ready(f)
  local lane, score, p50, p90 = tonumber(f.lane), tonumber(f.score), f.p50 or '0', f.p90 or '0'
  local head = read_head(tonumber(arg.slot_limit), MAX_SEEN)
  local position, is_seen = position_in_head(head, f)
  if is_seen or head.complete then
    p50, p90 = usual_times(runs_key(lane, f.model))
  else
    -- Jobs of the queue at other providers are left out here.
    position = redis.call('ZCOUNT', key.index, score_of(READY + lane, 0), score_of(READY + lane, score))
  end
  local gates = {}
  for name, value in pairs(head.gates) do
    add(gates, name, text(value))
  end
  local of_queue, of_provider = head.by_queue[queue_of(lane)] or 0, head.by_provider[provider_of(lane)] or 0
  return { text(position), p50, p90, text(head.slots), text(of_queue), text(of_provider), '', '', gates }
end

local values, f = read_job()
if not f.state or f.state == 'done' then return { values, {} } end
if f.state == 'backlog' then return { values, outlook_in_backlog(f) } end
if f.state == 'queued' then return { values, outlook_of_ready(f) } end
local p50, p90 = usual_times(runs_key(tonumber(f.lane), f.model))
return { values, { '', p50, p90, '', '', '', '', '', {} } }
