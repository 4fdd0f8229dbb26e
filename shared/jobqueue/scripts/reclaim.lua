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
    local set = key.root .. SPENDING .. arg.month
    -- The submit that stopped may have been the first of its day, and the last of the month.
    if reclaimed == 0 then redis.call('EXPIRE', set, SPENDING_KEPT_FOR) end -- mutant: reclaimed month
    local entry = redis.call('HGET', set, '=' .. id)
    local payer = string.match(entry or '', '([^:]*)$')
    settle_reservation(id, { ledger = arg.month .. ':' .. payer }, '0')
    reclaimed = reclaimed + 1
  end
end
return text(reclaimed)
