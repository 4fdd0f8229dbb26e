-- code_block: adds addresses and domains to the list of those that get no code, and removes others.
-- KEYS: blocked
-- ARGV: entries: pairs...
-- Returns: {set, count: count}
-- entries: pairs of an entry and '1', or '' to remove it. count: of the entries in the list after it.
local added, removed = {}, {}
for i = 1, #rest.entries, 2 do
  if rest.entries[i + 1] == '1' then
    add(added, '0', rest.entries[i])
  else
    add(removed, rest.entries[i])
  end
end
if #added > 0 then redis.call('ZADD', key.blocked, unpack(added)) end
if #removed > 0 then redis.call('ZREM', key.blocked, unpack(removed)) end
return { 'set', text(redis.call('ZCARD', key.blocked)) }
