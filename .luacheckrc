-- Scripts are not modules: the loader sends each verb behind the libraries that its header names after `With:`. So
-- luacheck reads here which names a file finds in front of itself, as globals; from a file it does not name, nothing.
local QUEUE, CODES = 'shared/jobqueue/scripts/', 'shared/verification/scripts/'
local STATISTICS, DOCTOR = 'shared/statistics/scripts/', 'shared/doctor/scripts/'
local ALERTS = 'shared/alerts/scripts/'
-- Each may use those before it; see script.py.
local LIBRARIES = {
  'prelude', 'keys', 'spending', 'lost', 'room', 'startable', 'pauses', 'halts', 'users', 'places', 'tags', 'shares', 'runs', 'probes',
  'seats', 'yielding', 'outbox', 'entries', 'ending', 'retry', 'walk', 'codes', 'looks', 'events', 'faults', 'batches', 'lanes',
}
local FOLDERS = {}
for _, folder in ipairs({QUEUE, CODES, STATISTICS, DOCTOR, ALERTS}) do
  for file in require('lfs').dir(folder) do
    local name = file:match('^(.*)%.lua$')
    if name then FOLDERS[name] = folder end
  end
end

-- What Redis gives a script, and what the loader puts in place of names.
stds.script = {read_globals = {
  'arg', 'key', 'rest', 'KEYS', 'ARGV', 'redis', 'string', 'table', 'math',
  'ipairs', 'pairs', 'next', 'select', 'tonumber', 'tostring', 'type', 'unpack', 'error', 'pcall',
}}
std = 'script'
max_line_length = 120
max_cyclomatic_complexity = 10

local function lines_of(name)
  return assert(io.lines(FOLDERS[name] .. name .. '.lua'))
end

-- The names that a library gives to what follows it.
local function given_by(library)
  local names = {}
  for line in lines_of(library) do
    local list = line:match('^local function ([%w_]+)') or line:match('^local ([%w_, ]+)')
    for name in (list or ''):gmatch('[%w_]+') do names[#names + 1] = name end
  end
  return names
end

-- What Python shares with the scripts; the loader puts it in front of all libraries.
local shared = {}
for _, module in ipairs({'constants', 'keys'}) do
  for line in assert(io.lines('shared/jobqueue/' .. module .. '.py')) do
    shared[#shared + 1] = line:match('^([A-Z][A-Z_]+) = ')
  end
end

-- The libraries in front of a file.
local function before(name)
  local libraries = {}
  for _, library in ipairs(LIBRARIES) do
    if library == name then return libraries end
    libraries[#libraries + 1] = library
  end
  libraries = {'prelude'}
  for line in lines_of(name) do
    for library in (line:match('^%-%- With: (.*)$') or ''):gmatch('%w+') do libraries[#libraries + 1] = library end
  end
  return libraries
end

-- The verbs that a file calls as functions.
local function called_by(name)
  local verbs = {}
  for line in lines_of(name) do
    for verb in (line:match('^%-%- Calls: (.*)$') or ''):gmatch('[%w_]+') do verbs[#verbs + 1] = verb end
  end
  return verbs
end

for name, folder in pairs(FOLDERS) do
  local options = {read_globals = {unpack(shared)}}
  for _, library in ipairs(before(name)) do
    for _, given in ipairs(given_by(library)) do table.insert(options.read_globals, given) end
  end
  for _, verb in ipairs(called_by(name)) do table.insert(options.read_globals, verb) end
  files[folder .. name .. '.lua'] = options
end
for _, library in ipairs(LIBRARIES) do
  -- What a library defines is for others; that something uses it is a test's to say.
  files[FOLDERS[library] .. library .. '.lua'].ignore = {'211', '221'}
end
