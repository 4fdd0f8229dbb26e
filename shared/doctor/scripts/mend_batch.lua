-- mend_batch: gives a batch back the time to live that its record says, and its pending events. A repeat finds nothing
-- to do. Its jobs and its marker are rehome's.
-- With: keys, outbox, events, batches
-- KEYS: batch, outbox, root
-- ARGV: batch_id: name, now: moment, ttl: seconds
-- Returns: mended: count
local b, mended = read_all(key.batch), 0
if not b.owner then return 0 end
for _, event in ipairs(lost_events_of_batch(arg.batch_id, b)) do
  put_back_event(b, event, arg.batch_id)
  mended = mended + 1
end
if not lifetime_fault(arg.batch_id, b) then return mended end
if b.ended_at then
  redis.call('EXPIRE', key.batch, math.max(FOLLOW_TTL, tonumber(arg.ttl)))
else
  redis.call('PERSIST', key.batch)
end
return mended + 1
