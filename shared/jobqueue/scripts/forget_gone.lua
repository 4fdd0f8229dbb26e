-- forget_gone: drops what is left of a user's jobs whose records are gone: seats, entries, and ended batches.
-- With: keys
-- KEYS: index, root, user, archive
-- ARGV: ids: names...
-- Returns: {deleted}

-- Drops the batch of a job, if that has ended.
local function forget_batch(id)
  local batch = string.match(id, '^(bat_[^_]+)_')
  if not batch then return end
  if redis.call('HEXISTS', batch_key(batch), 'ended_at') == 1 then redis.call('DEL', batch_key(batch)) end
end

for _, id in ipairs(rest.ids) do
  -- Its id may be in use again.
  if redis.call('EXISTS', job_key(id)) == 0 then -- mutant: gone
    forget_batch(id)
    redis.call('ZREM', key.user, id)
    redis.call('ZREM', key.index, history_of(key.user, id))
    redis.call('ZREM', key.archive, id)
  end
end
return { 'deleted' }
