-- outbox_undelivered: a page of the events that were given up, the last first.
-- With: keys, walk
-- KEYS: undelivered, root
-- ARGV: high: number, bound: text, page_size: count
-- Returns: {events: rows, high: number?, bound: text}
--   events: {row: name, at: moment, is_kept: flag, incarnation: text}
-- row: each event and its holder, as event|id.
-- is_kept: whether its job or batch still exists.
-- The next page begins with high and bound; high is '' if there is none.
local rows, complete = walk_down(key.undelivered, arg.high, '-inf', arg.bound, tonumber(arg.page_size))
local found = {}
for _, row in ipairs(rows) do
  local event, id = string.match(row.member, '^([^|]*)|(.*)$')
  local f = read(holder_key(event, id), 'owner', 'incarnation')
  add(found, { row.member, text(row.score), flag(f.owner ~= nil), f.incarnation or '' })
end
if complete then return { found, '', '' } end
local last = rows[#rows]
return { found, text(last.score), last.member } -- mutant: end of the page
