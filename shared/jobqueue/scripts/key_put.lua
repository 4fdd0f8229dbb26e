-- key_put: writes records of API keys, if the first of them is still as the caller has read it.
-- KEYS: api_keys
-- ARGV: id: name, seen: text, fields: pairs...
-- Returns: {set} | {stale}
-- seen: the record of `id`; '' for a key that is new.
-- fields: pairs of the HASH, of which the first is `id` with its new record; see api_keys.py. One command writes all,
-- so a rotation is never half done.
local record = redis.call('HGET', key.api_keys, arg.id) or ''
if record == rest.fields[2] then return { 'set' } end -- a repeat
if record ~= arg.seen then return { 'stale' } end -- mutant: changed key
redis.call('HSET', key.api_keys, unpack(rest.fields))
return { 'set' }
