-- outbox_note: notes a try to deliver an event, and what follows from it for the event and for its host.
-- With: outbox
-- KEYS: holder, stats, root, lane_rows, lane_state, undelivered
-- ARGV: event: name, id: name, lane: text, tag: text, tries: number, word: name, due: number, now: moment,
--       entry: json?, was_failing: flag, pause: milliseconds?, jitter: fraction, lane_ttl: seconds
-- Returns: {noted} | {stale} | {lost}
-- word: delivered | retry (at `due`) | failed (tried often enough) | disabled (the URL is gone). tries: how many were
-- noted before this one. pause: ms that the host asks to be left alone, '' if this says nothing against it.
-- A success counts whoever brings it; anything else only from who knows of all tries before.
local MAX_ENTRIES = 30
local row, now, word = arg.event .. '|' .. arg.id, tonumber(arg.now), arg.word
local state, count, log = 's:' .. arg.event, 'n:' .. arg.event, 'l:' .. arg.event
local f = read(key.holder, 'owner', state, count, log)
local is_over = not f.owner or f[state] == 'delivered' or (f[state] ~= 'pending' and word ~= 'delivered')
if is_over then
  -- A row whose job is there no more, though nobody deleted it: it was not told in time.
  local is_lost = redis.call('ZREM', key.lane_rows, row) == 1 and not f.owner
  if is_lost then
    redis.call('HINCRBY', key.stats, 'undelivered', 1)
    redis.call('ZADD', key.undelivered, arg.now, row)
  end
  place_lane(key.root, arg.lane)
  return {is_lost and 'lost' or 'stale'}
end
if word ~= 'delivered' and (f[count] or '0') ~= arg.tries then return {'stale'} end
if word == 'retry' then
  redis.call('ZADD', key.lane_rows, arg.due, row)
  -- What it tells of must be there as long as it may be tried; what lives has no end yet.
  local left = redis.call('TTL', key.holder)
  if left >= 0 and left < FOLLOW_TTL then redis.call('EXPIRE', key.holder, FOLLOW_TTL) end
else
  redis.call('ZREM', key.lane_rows, row)
end
local entries = {}
for entry in string.gmatch(f[log] or '', '[^\n]+') do entries[#entries + 1] = entry end
entries[#entries + 1] = arg.entry
local kept = table.concat(entries, '\n', math.max(1, #entries - MAX_ENTRIES + 1))
redis.call('HSET', key.holder, count, text(tonumber(f[count] or '0') + 1), log, kept, state, word == 'retry' and 'pending' or word)

if arg.pause ~= '' then
  local failures = tonumber(redis.call('HGET', key.lane_state, 'failures') or '0')
  local doubled = math.min(5000 * 2 ^ math.min(failures, 20), 900000) * (1 + tonumber(arg.jitter) / 2)
  local free_at = now + math.max(math.floor(doubled), tonumber(arg.pause))
  redis.call('HSET', key.lane_state, 'failures', text(failures + 1), 'until', text(free_at))
  redis.call('EXPIRE', key.lane_state, arg.lane_ttl)
elseif arg.was_failing == '1' then
  redis.call('HDEL', key.lane_state, 'failures', 'until')
end
if word == 'disabled' then
  redis.call('HSET', key.lane_state, 'gone:' .. arg.tag, arg.now)
  redis.call('EXPIRE', key.lane_state, arg.lane_ttl)
end
place_lane(key.root, arg.lane)
if word == 'failed' or word == 'disabled' then
  redis.call('HINCRBY', key.stats, 'undelivered', 1)
  redis.call('ZADD', key.undelivered, arg.now, row)
  redis.call('ZREMRANGEBYSCORE', key.undelivered, '-inf', text(now - tonumber(arg.lane_ttl) * 1000))
elseif word == 'delivered' and f[state] ~= 'pending' then
  redis.call('ZREM', key.undelivered, row) -- a late success of what had been given up
end
return {'noted'}
