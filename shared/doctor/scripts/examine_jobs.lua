-- examine_jobs: compares jobs with their places in the index, sets, batches and the outbox. It changes nothing.
-- With: keys, lost, users, places, outbox, looks, events, faults
-- KEYS: index, outbox, root
-- ARGV: now: moment, lease_now: moment?, patience: milliseconds, late_after: milliseconds, ids: names...
-- Returns: {faults: pairs, users: pairs}
-- faults: by job, separated by spaces; jobs without faults are left out.
-- users: the owner and user of each of these jobs that has a record.
local found, users = {}, {}
for _, id in ipairs(rest.ids) do
  local faults, f = look_safely(faults_of, id)
  if #faults > 0 then
    add(found, id, table.concat(faults, ' '))
    if f.owner and f.user then add(users, id, f.owner .. ':' .. f.user) end
  end
end
return { found, users }
