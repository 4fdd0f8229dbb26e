-- What is kept of an address and of a client address. Each is one text, so that one command writes it with its time to
-- live: a script that stops half-way leaves no record without an end.
local CODE_GAP = 60000 -- ms between two codes for one address
local MAX_CODES = 10 -- for one address in a day

-- token: of the call that made the code. tag: the code, keyed and hashed. tries: tokens of the calls that tried it.
-- used_by: the token of the one that was right. sent: when codes were sent, oldest first. before_*: the code before.
local ADDRESS = {
  'token',
  'tag',
  'expires_at',
  'tries',
  'used_by',
  'sent',
  'before_tag',
  'before_expires_at',
  'before_tries',
  'before_used_by',
}
-- began: when the count began. last: the token of the last call.
local CLIENT = { 'began', 'count', 'last' }

-- The named parts of a text; '' for those that it does not have.
local function read_parts(from, names)
  local parts, i = {}, 0
  for part in string.gmatch((redis.call('GET', from) or '') .. '|', '([^|]*)|') do
    i = i + 1
    if names[i] then parts[names[i]] = part end
  end
  for _, name in ipairs(names) do
    parts[name] = parts[name] or ''
  end
  return parts
end

-- Writes the named parts as one text, which the store deletes after so many ms.
local function write_parts_of(to, names, parts, ttl)
  local list = {}
  for i, name in ipairs(names) do
    list[i] = parts[name]
  end
  redis.call('SET', to, table.concat(list, '|'), 'PX', text(ttl))
end

-- The calls of the client address within the present span.
local function read_calls(time)
  local calls = read_parts(key.client, CLIENT)
  local began = tonumber(calls.began) or 0
  if began + tonumber(arg.client_span) <= time then return { began = text(time), count = '0', last = calls.last } end
  return calls
end

-- How many s a client address with too many calls has to wait; nil if it may call.
local function wait_of_client(calls, time)
  local most = tonumber(arg.client_limit)
  if most == 0 or (tonumber(calls.count) or 0) < most then return nil end -- mutant: client limit
  return text(math.ceil((tonumber(calls.began) + tonumber(arg.client_span) - time) / 1000))
end

-- Writes the calls of the client address.
local function write_calls(calls) write_parts_of(key.client, CLIENT, calls, tonumber(arg.client_span)) end

-- Counts a call of the client address.
local function count_call(calls)
  calls.count, calls.last = text((tonumber(calls.count) or 0) + 1), arg.token
  write_calls(calls)
end

-- The moments of a list that are at most a day old.
local function within_a_day(moments, time)
  local list = {}
  for _, moment in ipairs(moments) do
    if moment + DAY > time then list[#list + 1] = text(moment) end
  end
  return list
end

-- The parts of a list that commas separate.
local function listed(csv)
  local list = {}
  for part in string.gmatch(csv, '[^,]+') do
    list[#list + 1] = part
  end
  return list
end

-- Whether the token is in the list.
local function holds(list, token)
  for _, one in ipairs(list) do
    if one == token then return true end
  end
  return false
end
