-- outbox_claim: leases what is due in the outbox to this caller.
-- With: keys, outbox
-- KEYS: outbox, root
-- ARGV: now: moment, lease: milliseconds, most_jobs: count, most_lanes: count, rows: count, only: text
-- Returns: {jobs: counts, lanes: rows}
--   lanes: {lane: name, failures: count, held_until: moment?, rows: names...}
-- jobs: each job's id and its turn.
-- turn: the number with which the caller writes about the job's files.
-- held_until: while some URL of the host gets nothing; '' if none is held.
-- Of a host that fails one row is handed out, as a probe, or the rows that have waited for half a day.
-- only: the one job whose files are wanted, '' for all that is due.
local now, until_ms = tonumber(arg.now), tonumber(arg.now) + tonumber(arg.lease)

-- A job in the outbox, and whether its files still have to be stored.
local function job_of(id) return { id = id, is_storing = read(job_key(id), 'storing').storing == '1' } end

-- The jobs whose files are due: the one that the caller asks for, or the first ones.
local function due_jobs()
  local jobs = {}
  if arg.only ~= '' then
    local score = redis.call('ZSCORE', key.outbox, arg.only)
    if score and tonumber(score) <= tonumber(storing_score(now)) then add(jobs, job_of(arg.only)) end
  elseif arg.most_jobs ~= '0' then
    local ids = redis.call('ZRANGEBYSCORE', key.outbox, '-inf', storing_score(now), 'LIMIT', 0, arg.most_jobs)
    for _, id in ipairs(ids) do
      add(jobs, job_of(id))
    end
  end
  return jobs
end

-- The rows of a lane that are due before a moment.
local function rows_before(lane, moment, count)
  return redis.call('ZRANGEBYSCORE', rows_key(lane), '-inf', text(moment), 'LIMIT', 0, count)
end

-- A lane with its due rows. Of a host that fails only one row is due, as a probe, or those that are long overdue.
local function lane_of(name)
  local known = read(host_key(name), 'failures', 'held')
  local failures, held = known.failures or '0', known.held or ''
  local before = now
  if failures ~= '0' then before = now - LONG_OVERDUE end -- mutant: failing host
  local rows = rows_before(name, before, arg.rows)
  if #rows == 0 and failures ~= '0' then rows = rows_before(name, now, 1) end
  if held ~= '' and tonumber(held) <= now then held = '' end
  return { name = name, failures = failures, held = held, rows = rows }
end

-- The delivery lanes that are due.
local function due_lanes()
  local lanes = {}
  if arg.only ~= '' or arg.most_lanes == '0' then return lanes end
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', key.outbox, 0, text(now), 'LIMIT', 0, arg.most_lanes)) do
    add(lanes, lane_of(name))
  end
  return lanes
end

-- Leases the jobs to this caller, each with a new turn. Returns ids and turns; adds to `moves` and `gone`.
local function lease_jobs(jobs, moves, gone)
  local leased = {}
  for _, job in ipairs(jobs) do
    if job.is_storing then
      local turn = redis.call('HINCRBY', job_key(job.id), 'turn', 1) -- mutant: turn
      add(leased, job.id, text(turn))
      add(moves, storing_score(until_ms), job.id) -- mutant: lease of files
    else
      add(gone, job.id)
    end
  end
  return leased
end

-- Leases the rows of the lanes to this caller. Returns what it gets of each; adds to `moves`.
local function lease_lanes(lanes, moves)
  local leased = {}
  for _, lane in ipairs(lanes) do
    if #lane.rows > 0 then
      local leases = {}
      for _, row in ipairs(lane.rows) do
        add(leases, text(until_ms), row) -- mutant: lease of a row
      end
      redis.call('ZADD', rows_key(lane.name), unpack(leases)) -- mutant: lease of rows
      add(leased, { lane.name, lane.failures, lane.held, unpack(lane.rows) })
      -- No other caller takes of it before this one has recorded how one of them went.
      add(moves, text(until_ms), lane.name) -- mutant: lease of the lane
    else
      schedule_lane(lane.name)
    end
  end
  return leased
end

-- All that is due is read before anything is written.
local jobs = due_jobs()
local lanes = due_lanes()
local moves, gone = {}, {}
local leased_jobs = lease_jobs(jobs, moves, gone)
local leased_lanes = lease_lanes(lanes, moves)
if #moves > 0 then redis.call('ZADD', key.outbox, unpack(moves)) end
if #gone > 0 then redis.call('ZREM', key.outbox, unpack(gone)) end -- mutant: gone
return { leased_jobs, leased_lanes }
