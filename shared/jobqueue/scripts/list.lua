-- list: a page of an owner's jobs, newest first, by what the history and then their hashes say of them.
-- With: walk
-- KEYS: 1 index  2 prefix
-- ARGV: 1 owner  2 user  3 status  4 queue  5 model  6 batch  7 high  8 low  9 bound  10 limit  11.. names
-- Returns: {{{id, values}, ...}, high, bound}
--   values: of the job's fields `names`, in their order; with high and bound the next page begins, high is '' for none
-- bound: below which member of the owner's the page begins, without what all his members begin with; '' for his first.
-- It walks past 1,000 entries and reads 100 jobs at most: two commands, and one for each job that may fit. Other owners'
-- entries are told by their text; nothing of them leaves here.
local WALKED, READ = 1000, 100
local STATUS = {queued = 'pending', backlog = 'pending', delayed = 'pending', submitting = 'processing', running = 'processing'}
local mine, limit, names = '@' .. ARGV[1] .. ':', tonumber(ARGV[10]), {'queue', 'model', 'batch', 'state', 'outcome'}
local FILTERS = #names
for _, name in ipairs({unpack(ARGV, 11)}) do names[#names + 1] = name end
-- No owner's name holds a colon, and a semicolon comes next to it.
local bound = ARGV[9] == '' and '@' .. ARGV[1] .. ';' or mine .. ARGV[9]
local rows, complete = walk_down(KEYS[1], score_of(HISTORY, tonumber(ARGV[7])), score_of(HISTORY, tonumber(ARGV[8])), bound,
  WALKED)

local function rest_of(member) return string.sub(member, 1, #mine) == mine and string.sub(member, #mine + 1) end

local found, seen, last = {}, 0, 0
for i, row in ipairs(rows) do
  if #found == limit or seen == READ then break end
  last = i
  local rest = rest_of(row.member)
  local user, id = string.match(rest or '', '^(.*)|([^|]*)$')
  if id and (ARGV[2] == '' or user == ARGV[2]) then
    seen = seen + 1
    local values = redis.call('HMGET', KEYS[2] .. 'j:' .. id, unpack(names))
    local status = STATUS[values[4]] or values[5]
    if values[4] and fits(values, ARGV[4], ARGV[5], ARGV[6]) and (ARGV[3] == '' or status == ARGV[3]) then
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
