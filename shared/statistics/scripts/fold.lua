-- fold: writes the sums of entries, once, and drops these entries; unless another fold has come in between.
-- KEYS: sums, entries
-- ARGV: seen: text, mark: name, first_left: text, ttl: seconds, old: text, fields: pairs...
-- Returns: {set} | {stale}
-- seen: the mark of the fold before this one, as the caller has read it; '' if there was none.
-- first_left: the least id of an entry that the sums do not have.
-- old: names of fields that are no longer kept, separated by commas.
-- One command writes all sums and the mark. So a script that stops leaves the sums as they were, or whole; entries that
-- it has not dropped are skipped by the next fold, which knows up to which id it has summed.
local mark = redis.call('HGET', key.sums, 'mark') or ''
local is_repeat = mark == arg.mark
if not is_repeat and mark ~= arg.seen then return { 'stale' } end -- mutant: another fold
if not is_repeat then redis.call('HSET', key.sums, 'mark', arg.mark, unpack(rest.fields)) end -- mutant: summed twice
redis.call('XTRIM', key.entries, 'MINID', arg.first_left) -- mutant: entries dropped
redis.call('EXPIRE', key.sums, arg.ttl)
redis.call('EXPIRE', key.entries, arg.ttl) -- also while it is empty
local old = {}
for name in string.gmatch(arg.old, '[^,]+') do
  add(old, name)
end
if #old > 0 then redis.call('HDEL', key.sums, unpack(old)) end
return { 'set' }
