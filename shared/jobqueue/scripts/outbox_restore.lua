-- outbox_restore: puts back into the outbox what was lost from it: a lane with rows, or a job whose files are not stored.
-- With: outbox
-- KEYS: 1 outbox  2 job  3 prefix
-- ARGV: 1 lane  2 id  3 now
-- Returns: {restored} | {stands}
-- One of lane and id is ''.
if ARGV[1] ~= '' then
  if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return {'stands'} end
  place_lane(KEYS[3], ARGV[1])
  return {redis.call('EXISTS', KEYS[3] .. 'x:' .. ARGV[1]) == 1 and 'restored' or 'stands'}
end
if read(KEYS[2], 'storing').storing ~= '1' then return {'stands'} end
local score = text(tonumber(ARGV[3]) - BAND)
return {redis.call('ZADD', KEYS[1], 'NX', score, ARGV[2]) == 1 and 'restored' or 'stands'}
