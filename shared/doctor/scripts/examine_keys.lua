-- examine_keys: the times to live of keys. It changes nothing.
-- With: keys
-- KEYS: root
-- ARGV: names: names...
-- Returns: ttls: pairs
-- ttls: seconds by name, without the root; -1 for a key that never expires. Keys that are gone are left out.
local ttls = {}
for _, name in ipairs(rest.names) do
  local left = redis.call('TTL', key.root .. name)
  if left ~= -2 then add(ttls, name, text(left)) end
end
return ttls
