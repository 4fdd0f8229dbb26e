-- mend_batch: gives a batch the time to live that its record says. A repeat finds nothing to do.
-- With: keys, batches
-- KEYS: batch, root
-- ARGV: batch_id: name, ttl: seconds
-- Returns: mended: count
local b = read(key.batch, 'owner', 'ended_at')
local fault = b.owner and lifetime_fault(arg.batch_id, b)
if not fault then return 0 end
if b.ended_at then
  redis.call('EXPIRE', key.batch, math.max(FOLLOW_TTL, tonumber(arg.ttl)))
else
  redis.call('PERSIST', key.batch)
end
return 1
