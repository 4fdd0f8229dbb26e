-- What is wrong with a delivery lane. A verb that uses this names outbox, root, now, lease and late_after.

-- When a lane has to be looked at, at the latest: its first event, the end of its host's pause, or a lease.
local function latest_look(lane, first)
  local free_at = tonumber(redis.call('HGET', host_key(lane), 'until') or '0')
  return math.max(tonumber(first), free_at, tonumber(arg.now) + tonumber(arg.lease))
end

-- The fault of a delivery lane; nil for none.
local function fault_of_lane(lane)
  local first = redis.call('ZRANGE', rows_key(lane), 0, 0, 'WITHSCORES')[2]
  if not first then return nil end -- the claim that meets it drops it
  local due, now = tonumber(redis.call('ZSCORE', key.outbox, lane) or nil), tonumber(arg.now)
  if not due then return 'lost_lane:' .. first end -- mutant: lost lane
  if due > latest_look(lane, first) + tonumber(arg.late_after) then return 'stuck_lane:' .. text((due - now) / 1000) end
  if due < now - tonumber(arg.late_after) then return 'late_lane:' .. text((now - due) / 1000) end -- mutant: late lane
  return nil
end
