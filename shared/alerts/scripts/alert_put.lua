-- alert_put: writes what is known of alerts, or of their silences, if it is still as the caller has read it.
-- KEYS: alerts
-- ARGV: field: name, seen: text, value: json
-- Returns: {set} | {stale}
-- Each value is unlike all before it, so a late copy of a call never brings an old one back.
local known = redis.call('HGET', key.alerts, arg.field) or ''
if known == arg.value then return { 'set' } end -- a repeat
if known ~= arg.seen then return { 'stale' } end -- mutant: changed alerts
redis.call('HSET', key.alerts, arg.field, arg.value)
return { 'set' }
