-- examine_batches: compares batches with their jobs and their time to live. It changes nothing.
-- With: keys, looks, events, batches
-- KEYS: root
-- ARGV: batches: names...
-- Returns: {faults: pairs, users: pairs}
-- faults: by batch, separated by spaces; batches without faults are left out.
-- users: the owner and user of each of these batches that has a record.
local found, users = {}, {}
for _, id in ipairs(rest.batches) do
  local faults, b = look_safely(faults_of_batch, id)
  if #faults > 0 then
    add(found, id, table.concat(faults, ' '))
    if b.owner and b.user then add(users, id, b.owner .. ':' .. b.user) end
  end
end
return { found, users }
