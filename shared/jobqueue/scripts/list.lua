-- list: a page of an owner's jobs, newest first, by what the history and then their hashes say of them.
-- With: walk
-- KEYS: index, root
-- ARGV: owner: name, user: text, status: text, queue: text, model: text, batch: text, high: number, low: number,
--       bound: text, page_size: count, names: names...
-- Returns: {{{id, values}, ...}, high, bound}
--   values: of the job's fields `names`, in their order; with high and bound the next page begins, high is '' for none
-- bound: below which member of the owner's the page begins, without what all his members begin with; '' for his first.
-- It walks past 1,000 entries and reads 100 jobs at most: two commands, and one for each job that may fit. Other owners'
-- entries are told by their text; nothing of them leaves here.
local WALKED, READ = 1000, 100
local STATUS = {queued = 'pending', backlog = 'pending', delayed = 'pending', submitting = 'processing', running = 'processing'}
local mine, limit, names = '@' .. arg.owner .. ':', tonumber(arg.page_size), {'queue', 'model', 'batch', 'state', 'outcome'}
local FILTERS = #names
for _, name in ipairs(rest.names) do names[#names + 1] = name end
-- No owner's name holds a colon, and a semicolon comes next to it.
local bound = arg.bound == '' and '@' .. arg.owner .. ';' or mine .. arg.bound
local rows, complete = walk_down(key.index, score_of(HISTORY, tonumber(arg.high)), score_of(HISTORY, tonumber(arg.low)), bound,
  WALKED)

local function rest_of(member) return string.sub(member, 1, #mine) == mine and string.sub(member, #mine + 1) end

local found, seen, last = {}, 0, 0
for i, row in ipairs(rows) do
  if #found == limit or seen == READ then break end
  last = i
  local rest = rest_of(row.member)
  local user, id = string.match(rest or '', '^(.*)|([^|]*)$')
  if id and (arg.user == '' or user == arg.user) then
    seen = seen + 1
    local values = redis.call('HMGET', key.root .. 'j:' .. id, unpack(names))
    local status = STATUS[values[4]] or values[5]
    if values[4] and fits(values, arg.queue, arg.model, arg.batch) and (arg.status == '' or status == arg.status) then
      found[#found + 1] = {id, {unpack(values, FILTERS + 1)}}
    end
  end
end
if last == #rows and complete then return {found, '', ''} end
local row = rows[last]
local rest = rest_of(row.member)
if rest then return {found, text(ms_of(row.score)), rest} end
-- Among others' entries of one moment: his own of it may be still to come, or cannot be.
if is_below(row.member, mine) then return {found, text(ms_of(row.score) - 1), ''} end
return {found, text(ms_of(row.score)), ''}
