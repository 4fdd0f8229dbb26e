-- code_check: tries a code for its address once; a right one is right only this time.
-- With: codes
-- KEYS: codes, client
-- ARGV: lease_now: moment?, token: name, tag: name, client_limit: count, client_span: milliseconds
-- Returns: {right} | {wrong} | {limited, by: name, wait: count}
-- wrong: also if the address has no code, if it is too old, was used, or was tried too often. Each of these costs the
-- same commands, so that neither answer nor price shows whether an address is known.
local time = lease_time(arg.lease_now)
local record, calls = read_parts(key.codes, ADDRESS), read_calls(time)
local tries = listed(record.tries)

-- Whether this call has tried a code before; then it is a repeat.
local function is_repeat()
  return holds(tries, arg.token) or calls.last == arg.token -- mutant: repeated try
end

-- Whether the address has a code that may still be tried.
local function is_open()
  if record.tag == '' or record.used_by ~= '' then return false end -- mutant: single use
  if time >= tonumber(record.expires_at) then return false end -- mutant: life of a code
  return #tries < CODE_TRIES -- mutant: five tries
end

if record.used_by == arg.token then return { 'right' } end
if is_repeat() then return { 'wrong' } end
local wait = wait_of_client(calls, time)
if wait then return { 'limited', 'client', wait } end
if not is_open() then
  count_call(calls)
  write_calls(calls)
  return { 'wrong' }
end
local is_right = record.tag == arg.tag
tries[#tries + 1] = arg.token
record.tries, record.used_by = table.concat(tries, ','), is_right and arg.token or ''
-- First the try: a script that stops behind it has counted it, and its repeat is answered from it.
write_parts_of(key.codes, ADDRESS, record, DAY)
count_call(calls)
if is_right then return { 'right' } end
return { 'wrong' }
