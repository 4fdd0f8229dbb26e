-- reclaim: releases reservations of a month whose jobs have no record: it was lost, or the script that was to write it
-- has stopped before.
-- With: keys, spending
-- KEYS: root
-- ARGV: now: moment, month: name, ids: names...
-- Returns: reclaimed: count
local records, reclaimed = {}, 0
for i, id in ipairs(rest.ids) do
  records[i] = job_key(id)
end
-- One command, where all jobs have their records.
if #records == 0 or redis.call('EXISTS', unpack(records)) == #records then return '0' end
for i, id in ipairs(rest.ids) do
  if redis.call('EXISTS', records[i]) == 0 then
    local entry = redis.call('HGET', key.root .. SPENDING .. arg.month, '=' .. id)
    local payer = string.match(entry or '', '([^:]*)$')
    settle_reservation(id, { ledger = arg.month .. ':' .. payer }, '0')
    reclaimed = reclaimed + 1
  end
end
return text(reclaimed)
