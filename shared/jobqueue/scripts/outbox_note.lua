-- outbox_note: notes a try to deliver an event, and what follows from it for the event and for its host.
-- With: outbox
-- KEYS: 1 holder  2 stats  3 prefix  4 lane_rows  5 lane_state  6 undelivered
-- ARGV: 1 event  2 id  3 lane  4 tag  5 tries  6 word  7 due  8 now  9 entry  10 was_failing  11 pause  12 jitter  13 ttl
-- Returns: {noted} | {stale} | {lost}
-- word: delivered | retry (at `due`) | failed (tried often enough) | disabled (the URL is gone). tries: how many were
-- noted before this one. pause: ms that the host asks to be left alone, '' if this says nothing against it.
-- A success counts whoever brings it; anything else only from who knows of all tries before.
local MAX_ENTRIES = 30
local row, now, word = ARGV[1] .. '|' .. ARGV[2], tonumber(ARGV[8]), ARGV[6]
local state, count, log = 's:' .. ARGV[1], 'n:' .. ARGV[1], 'l:' .. ARGV[1]
local f = read(KEYS[1], 'owner', state, count, log)
local is_over = not f.owner or f[state] == 'delivered' or (f[state] ~= 'pending' and word ~= 'delivered')
if is_over then
  -- A row whose job is there no more, though nobody deleted it: it was not told in time.
  local is_lost = redis.call('ZREM', KEYS[4], row) == 1 and not f.owner
  if is_lost then
    redis.call('HINCRBY', KEYS[2], 'undelivered', 1)
    redis.call('ZADD', KEYS[6], ARGV[8], row)
  end
  place_lane(KEYS[3], ARGV[3])
  return {is_lost and 'lost' or 'stale'}
end
if word ~= 'delivered' and (f[count] or '0') ~= ARGV[5] then return {'stale'} end
if word == 'retry' then
  redis.call('ZADD', KEYS[4], ARGV[7], row)
  -- What it tells of must be there as long as it may be tried; what lives has no end yet.
  local left = redis.call('TTL', KEYS[1])
  if left >= 0 and left < FOLLOW_TTL then redis.call('EXPIRE', KEYS[1], FOLLOW_TTL) end
else
  redis.call('ZREM', KEYS[4], row)
end
local entries = {}
for entry in string.gmatch(f[log] or '', '[^\n]+') do entries[#entries + 1] = entry end
entries[#entries + 1] = ARGV[9]
local kept = table.concat(entries, '\n', math.max(1, #entries - MAX_ENTRIES + 1))
redis.call('HSET', KEYS[1], count, text(tonumber(f[count] or '0') + 1), log, kept, state, word == 'retry' and 'pending' or word)

if ARGV[11] ~= '' then
  local failures = tonumber(redis.call('HGET', KEYS[5], 'failures') or '0')
  local doubled = math.min(5000 * 2 ^ math.min(failures, 20), 900000) * (1 + tonumber(ARGV[12]) / 2)
  local free_at = now + math.max(math.floor(doubled), tonumber(ARGV[11]))
  redis.call('HSET', KEYS[5], 'failures', text(failures + 1), 'until', text(free_at))
  redis.call('EXPIRE', KEYS[5], ARGV[13])
elseif ARGV[10] == '1' then
  redis.call('HDEL', KEYS[5], 'failures', 'until')
end
if word == 'disabled' then
  redis.call('HSET', KEYS[5], 'gone:' .. ARGV[4], ARGV[8])
  redis.call('EXPIRE', KEYS[5], ARGV[13])
end
place_lane(KEYS[3], ARGV[3])
if word == 'failed' or word == 'disabled' then
  redis.call('HINCRBY', KEYS[2], 'undelivered', 1)
  redis.call('ZADD', KEYS[6], ARGV[8], row)
  redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', text(now - tonumber(ARGV[13]) * 1000))
elseif word == 'delivered' and f[state] ~= 'pending' then
  redis.call('ZREM', KEYS[6], row) -- a late success of what had been given up
end
return {'noted'}
