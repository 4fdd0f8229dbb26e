-- outbox_claim: hands what is due in the outbox to this caller for a while.
-- With: outbox
-- KEYS: outbox, root
-- ARGV: now: moment, lease: milliseconds, most_jobs: count, most_lanes: count, rows: count, only: text
-- Returns: {{id, turn, ...}, {{lane, failures, row ...}, ...}}
-- turn: what its holder writes about the job's files with. Of a host that fails one row is handed out, as a probe, or
-- those that have waited for half a day. only: the job whose files alone are wanted, '' for whatever is due.
local prefix, now, until_ms = key.root, tonumber(arg.now), tonumber(arg.now) + tonumber(arg.lease)
local jobs, lanes, moves, gone = {}, {}, {}, {}
local function move(score, member)
  moves[#moves + 1] = text(score)
  moves[#moves + 1] = member
end

-- What is due is read first, and written only then.
local due_jobs, due_lanes = {}, {}
if arg.only ~= '' then
  local score = redis.call('ZSCORE', key.outbox, arg.only)
  if score and tonumber(score) <= now - BAND then
    due_jobs[1] = {id = arg.only, is_storing = read(prefix .. 'j:' .. arg.only, 'storing').storing == '1'}
  end
elseif arg.most_jobs ~= '0' then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key.outbox, '-inf', text(now - BAND), 'LIMIT', 0, arg.most_jobs)) do
    due_jobs[#due_jobs + 1] = {id = id, is_storing = read(prefix .. 'j:' .. id, 'storing').storing == '1'}
  end
end
if arg.only == '' and arg.most_lanes ~= '0' then
  for _, lane in ipairs(redis.call('ZRANGEBYSCORE', key.outbox, 0, text(now), 'LIMIT', 0, arg.most_lanes)) do
    local failures = redis.call('HGET', prefix .. 'h:' .. lane, 'failures') or '0'
    local most, before = arg.rows, now
    if failures ~= '0' then before = now - LONG_OVERDUE end
    local rows = redis.call('ZRANGEBYSCORE', prefix .. 'x:' .. lane, '-inf', text(before), 'LIMIT', 0, most)
    if #rows == 0 and failures ~= '0' then
      rows = redis.call('ZRANGEBYSCORE', prefix .. 'x:' .. lane, '-inf', text(now), 'LIMIT', 0, 1)
    end
    due_lanes[#due_lanes + 1] = {name = lane, failures = failures, rows = rows}
  end
end

for _, job in ipairs(due_jobs) do
  if job.is_storing then
    jobs[#jobs + 1] = job.id
    jobs[#jobs + 1] = text(redis.call('HINCRBY', prefix .. 'j:' .. job.id, 'turn', 1))
    move(until_ms - BAND, job.id)
  else
    gone[#gone + 1] = job.id
  end
end
for _, lane in ipairs(due_lanes) do
  if #lane.rows > 0 then
    local leases = {}
    for _, row in ipairs(lane.rows) do
      leases[#leases + 1] = text(until_ms)
      leases[#leases + 1] = row
    end
    redis.call('ZADD', prefix .. 'x:' .. lane.name, unpack(leases))
    lanes[#lanes + 1] = {lane.name, lane.failures, unpack(lane.rows)}
    -- Nobody else takes of it before this caller has recorded how one of them went.
    move(until_ms, lane.name)
  else
    place_lane(prefix, lane.name)
  end
end
if #moves > 0 then redis.call('ZADD', key.outbox, unpack(moves)) end
if #gone > 0 then redis.call('ZREM', key.outbox, unpack(gone)) end
return {jobs, lanes}
