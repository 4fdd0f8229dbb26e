-- outbox_restore: puts back into the outbox what was lost from it: a lane with rows, or a job whose files are not stored.
-- With: outbox
-- KEYS: outbox, job, root
-- ARGV: lane: text, id: text, now: moment
-- Returns: {restored} | {stands}
-- One of lane and id is ''.
if arg.lane ~= '' then
  if redis.call('ZSCORE', key.outbox, arg.lane) then return {'stands'} end
  place_lane(key.root, arg.lane)
  return {redis.call('EXISTS', key.root .. 'x:' .. arg.lane) == 1 and 'restored' or 'stands'}
end
if read(key.job, 'storing').storing ~= '1' then return {'stands'} end
local score = text(tonumber(arg.now) - BAND)
return {redis.call('ZADD', key.outbox, 'NX', score, arg.id) == 1 and 'restored' or 'stands'}
