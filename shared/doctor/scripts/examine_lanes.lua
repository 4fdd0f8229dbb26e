-- examine_lanes: looks for delivery lanes that the outbox has lost, or puts off too long. It changes nothing.
-- With: keys, looks, lanes
-- KEYS: outbox, root
-- ARGV: now: moment, lease: milliseconds, late_after: milliseconds, lanes: names...
-- Returns: faults: pairs
-- faults: by lane, one of each; lanes without a fault are left out.
local found = {}
for _, lane in ipairs(rest.lanes) do
  local fault = look_safely(function(name) return { fault_of_lane(name) } end, lane)[1]
  if fault then add(found, lane, fault) end
end
return found
