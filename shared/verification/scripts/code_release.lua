-- code_release: takes back a code whose mail was not sent; its address has again what it had before. A code that was
-- tried meanwhile counts as sent: its mailbox has no mail, so the tries are guesses, and each code brings a few.
-- With: codes
-- KEYS: codes, client
-- ARGV: lease_now: moment?, token: name, client_span: milliseconds, is_counted: flag
-- Returns: {set} | {stale}
-- stale: the address has another code by now, or this one was taken back before.
-- is_counted: whether the call still counts for its client address.
local record, calls = read_parts(key.codes, ADDRESS), read_calls(lease_time(arg.lease_now))
if record.token ~= arg.token then return { 'stale' } end -- mutant: release of another code
local sent = listed(record.sent)
if record.tries == '' then sent[#sent] = nil end -- mutant: guesses before the mail
write_parts_of(key.codes, ADDRESS, {
  token = '',
  tag = record.before_tag,
  expires_at = record.before_expires_at,
  tries = record.before_tries,
  used_by = record.before_used_by,
  sent = table.concat(sent, ','),
  before_tag = '',
  before_expires_at = '',
  before_tries = '',
  before_used_by = '',
}, DAY)
local count = tonumber(calls.count) or 0
if arg.is_counted == '0' and count > 0 then
  calls.count = text(count - 1)
  write_calls(calls)
end
return { 'set' }
