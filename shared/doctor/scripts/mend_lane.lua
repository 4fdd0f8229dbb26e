-- mend_lane: sets when a delivery lane is due, if the outbox puts it off too long.
-- With: keys, outbox, lanes
-- KEYS: outbox, root
-- ARGV: lane: text, now: moment, lease: milliseconds, late_after: milliseconds
-- Returns: mended: count
local fault = fault_of_lane(arg.lane)
if not fault or not string.match(fault, '^stuck_lane') then return 0 end -- mutant: stuck lane
schedule_lane(arg.lane)
return 1
