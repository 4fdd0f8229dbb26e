-- outbox_claim: hands what is due in the outbox to this caller for a while.
-- With: outbox
-- KEYS: 1 outbox  2 prefix
-- ARGV: 1 now  2 lease  3 most_jobs  4 most_lanes  5 rows
-- Returns: {{id, turn, ...}, {{lane, failures, row ...}, ...}}
-- turn: what its holder writes about the job's files with; of a host that fails only one row is handed out, as a probe.
local prefix, now, until_ms = KEYS[2], tonumber(ARGV[1]), tonumber(ARGV[1]) + tonumber(ARGV[2])
local jobs, lanes, moves, gone = {}, {}, {}, {}
local function move(score, member)
  moves[#moves + 1] = text(score)
  moves[#moves + 1] = member
end

if ARGV[3] ~= '0' then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', text(now - BAND), 'LIMIT', 0, ARGV[3])) do
    local key = prefix .. 'j:' .. id
    if read(key, 'storing').storing == '1' then
      jobs[#jobs + 1] = id
      jobs[#jobs + 1] = text(redis.call('HINCRBY', key, 'turn', 1))
      move(until_ms - BAND, id)
    else
      gone[#gone + 1] = id
    end
  end
end
if ARGV[4] ~= '0' then
  for _, lane in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], 0, text(now), 'LIMIT', 0, ARGV[4])) do
    local failures = redis.call('HGET', prefix .. 'h:' .. lane, 'failures') or '0'
    local rows = redis.call('ZRANGEBYSCORE', prefix .. 'x:' .. lane, '-inf', text(now), 'LIMIT', 0,
      failures == '0' and ARGV[5] or 1)
    if #rows > 0 then
      local leases = {}
      for _, row in ipairs(rows) do
        leases[#leases + 1] = text(until_ms)
        leases[#leases + 1] = row
      end
      redis.call('ZADD', prefix .. 'x:' .. lane, unpack(leases))
      lanes[#lanes + 1] = {lane, failures, unpack(rows)}
      -- Nobody else takes of it before this caller has recorded how one of them went.
      move(until_ms, lane)
    else
      place_lane(prefix, lane, 0)
    end
  end
end
if #moves > 0 then redis.call('ZADD', KEYS[1], unpack(moves)) end
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
return {jobs, lanes}
