-- code_send: gives an address a new code, in place of the one before, and counts the mail that will bring it.
-- With: codes
-- KEYS: codes, client, blocked
-- ARGV: lease_now: moment?, sent_at: moment, patience: milliseconds, token: name, tag: name, client_limit: count,
--       client_span: milliseconds, names: names...
-- Returns: {made, expires_at: moment, again_at: moment} | {limited, by: name, wait: count} | {blocked} |
--       {late, late_at: moment}
-- names: the address, and the domains that it belongs to; blocked: one of them is in the list.
-- wait: in s. by: gap, day or client.
-- An address that had codes before, and one that had none, cost the same commands.
local time = lease_time(arg.lease_now)
local record, calls = read_parts(key.codes, ADDRESS), read_calls(time)
local found = redis.call('ZMSCORE', key.blocked, unpack(rest.names))
if record.token == arg.token then -- a repeat
  local sent = listed(record.sent)
  return { 'made', record.expires_at, text(tonumber(sent[#sent]) + CODE_GAP) }
end
if is_late_copy(time) then return { 'late', text(time) } end
for i = 1, #rest.names do
  if found[i] then return { 'blocked' } end -- mutant: blocked
end
local wait = wait_of_client(calls, time)
if wait then return { 'limited', 'client', wait } end

-- Why the address gets no code now, and how many s it has to wait; nil if it gets one.
local function refusal(sent)
  local last, first = tonumber(sent[#sent]), tonumber(sent[#sent - MAX_CODES + 1])
  if last and last + CODE_GAP > time then return 'gap', last + CODE_GAP - time end -- mutant: code gap
  if first then return 'day', first + DAY - time end -- mutant: codes a day
  return nil
end

local sent = within_a_day(numbers(record.sent), time)
local by, ms = refusal(sent)
if by then return { 'limited', by, text(math.ceil(ms / 1000)) } end

sent[#sent + 1] = text(time)
local made = {
  token = arg.token,
  tag = arg.tag,
  expires_at = text(time + CODE_LIFE),
  tries = '',
  used_by = '',
  sent = table.concat(sent, ','),
  before_tag = record.tag,
  before_expires_at = record.expires_at,
  before_tries = record.tries,
  before_used_by = record.used_by,
}
count_call(calls)
write_parts_of(key.codes, ADDRESS, made, DAY)
return { 'made', made.expires_at, text(time + CODE_GAP) }
