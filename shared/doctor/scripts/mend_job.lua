-- mend_job: gives a job back what its record says: its time to live, alarm, share, the next look at its slot, its place
-- in its batch's queue, and its pending events. It decides by its own look, and a repeat finds nothing to do. Places in
-- the index and the user's set are rehome's, files in the outbox are outbox_restore's.
-- With: keys, lost, users, places, outbox, events, faults
-- KEYS: index, job, outbox, root
-- ARGV: id: name, now: moment, lease_now: moment?, patience: milliseconds, late_after: milliseconds, ttl: seconds
-- Returns: mended: count
local mended = 0

-- What heals a fault, by its word.
local heals = {
  ttl_on_live = function() redis.call('PERSIST', key.job) end, -- mutant: persist
  -- It counts from now: the moment of the end may be long ago, and an owner may just be reading.
  no_ttl = function() redis.call('EXPIRE', key.job, math.max(FOLLOW_TTL, tonumber(arg.ttl))) end,
  unaccompanied = function(f)
    local moves = { score_of(ALARMS, tonumber(f.expire_at)), alarm_of(arg.id) }
    add_share(moves, arg.id, f.share, is_at_provider(f.state))
    redis.call('ZADD', key.index, unpack(moves))
  end,
  unwatched_slot = function(f) redis.call('ZADD', key.index, (scores_of(f)), arg.id) end,
  not_in_batch = function(f) redis.call('ZADD', batch_queue_key(f.batch), queue_score(f), arg.id) end,
  unlisted = function(f) redis.call('ZADD', lost_key(), f.submitted_at, lost_member(arg.id, f)) end,
  lost_event = function(f, event) put_back_event(f, event, arg.id) end,
}

local faults, f = faults_of(arg.id)
for _, fault in ipairs(faults) do
  local word, shown = string.match(fault, '^([^:]*):(.*)$')
  if heals[word] then
    heals[word](f, shown)
    mended = mended + 1
  end
end
return mended
