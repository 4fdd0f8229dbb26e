-- outbox_undelivered: the events that were given up before a moment, the last first.
-- With: keys
-- KEYS: undelivered, root
-- ARGV: before: number, most: count
-- Returns: {events: rows}
--   events: {row: name, at: moment, is_kept: flag, incarnation: text}
-- row: each event and its holder, as event|id.
-- is_kept: whether its job or batch still exists.
local flat =
  redis.call('ZREVRANGEBYSCORE', key.undelivered, '(' .. arg.before, '-inf', 'WITHSCORES', 'LIMIT', 0, arg.most)
local rows = {}
for i = 1, #flat, 2 do
  local event, id = string.match(flat[i], '^([^|]*)|(.*)$')
  local f = read(holder_key(event, id), 'owner', 'incarnation')
  add(rows, { flat[i], text(tonumber(flat[i + 1])), flag(f.owner ~= nil), f.incarnation or '' })
end
return { rows }
