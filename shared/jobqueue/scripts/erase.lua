-- erase: says what lives of a user who is being erased, and until when files may come back.
-- KEYS: user, erasure
-- ARGV: now: moment, quiet_after: milliseconds, is_longer: flag, kept_for: seconds, forgets: flag
-- Returns: {live: names, quiet_at: moment}
-- live: live jobs, and batches as `#batch`; the first 1,000.
-- quiet_after: upload URLs and copies from before now may bring files back for so long. The first call of an erasure
-- notes it; with is_longer, a later one that meets a copy does too.
-- forgets: 1 to forget the user's tag, if nothing of the user lives. A limit that the operator has set stays.
local MAX_LIVE = 1000
local now = tonumber(arg.now)

-- Until when files may come back; 0 where nothing says so.
local function note_quiet()
  local known, wanted = redis.call('GET', key.erasure), now + tonumber(arg.quiet_after)
  if arg.quiet_after == '0' or (known and arg.is_longer ~= '1') then return tonumber(known or '0') end
  if known and tonumber(known) >= wanted then return tonumber(known) end
  redis.call('SET', key.erasure, text(wanted), 'EX', arg.kept_for)
  return wanted
end

local live = {}
for _, member in ipairs(redis.call('ZRANGE', key.user, 0, MAX_LIVE + 1)) do
  local kind = string.sub(member, 1, 1)
  if kind ~= '=' and kind ~= '~' then add(live, member) end
end
local quiet_at = note_quiet()
if arg.forgets == '1' and #live == 0 then redis.call('ZREM', key.user, '~') end -- mutant: tag
return { live, text(quiet_at) }
