-- Pending events of jobs and batches that no delivery lane has. A verb that uses this names root.

-- Whether an event of a job or batch waits for a delivery that no lane knows of.
local function is_event_lost(f, event, id)
  if f['s:' .. event] ~= 'pending' or not f.hook_lane then return false end
  return not redis.call('ZSCORE', rows_key(f.hook_lane), event .. '|' .. id) -- mutant: lost event
end

-- Puts an event back into its lane; the verb names outbox and now too. The lane first: it is dropped if no event
-- follows, and then the event is still found.
local function put_back_event(f, event, id)
  local free_at = tonumber(redis.call('HGET', host_key(f.hook_lane), 'until') or '0')
  local due = text(math.max(tonumber(arg.now), free_at))
  redis.call('ZADD', key.outbox, 'LT', due, f.hook_lane) -- mutant: lane of an event
  redis.call('ZADD', rows_key(f.hook_lane), arg.now, event .. '|' .. id)
end
