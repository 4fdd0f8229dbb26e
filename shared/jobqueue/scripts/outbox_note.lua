-- outbox_note: notes a try to deliver an event, and what follows from it for the event and for its host.
-- With: keys, outbox
-- KEYS: holder, stats, root, lane_rows, lane_state, undelivered
-- ARGV: event: name, id: name, incarnation: text, lane: text, tag: text, tries: number, word: name, due: number,
--       now: moment, entry: json?, was_failing: flag, pause: milliseconds?, jitter: fraction, lane_ttl: seconds
-- Returns: {noted} | {stale} | {lost}
-- word: delivered | retry (at `due`) | failed (tried often enough) | disabled (the URL is gone)
--       held (not tried: its URL gets nothing before `due`)
-- tries: how many were noted before this one.
-- pause: ms for which the host gets nothing, '' if this try says nothing against it.
--        Above MAX_BACKOFF it binds the URL alone.
-- stale: another caller has noted more, or the try was for a deleted incarnation of the job.
-- A success counts from any caller; anything else only from one that knows of all tries before.
local MAX_ENTRIES = 30 -- of an event's log
local MAX_DOUBLINGS = 20 -- of a host's first pause, as a guard against overflow
local row, now, word = arg.event .. '|' .. arg.id, tonumber(arg.now), arg.word
local state, count, log = 's:' .. arg.event, 'n:' .. arg.event, 'l:' .. arg.event

-- Whether the event needs no further try, or the job that has the id now has none; a success counts even after it was
-- given up.
local function is_over(f)
  if not f.owner or not f[state] then return true end
  if f[state] == 'delivered' then return true end -- mutant: delivered
  return f[state] ~= 'pending' and word ~= 'delivered'
end

-- Lists the event for the operator as one that is never delivered.
local function list_undelivered()
  redis.call('HINCRBY', key.stats, 'undelivered', 1)
  redis.call('ZADD', key.undelivered, arg.now, row) -- mutant: undelivered
end

-- Removes the row of an event that is over. It was lost if its job expired before it was delivered.
local function drop_row(f)
  local is_lost = redis.call('ZREM', key.lane_rows, row) == 1 and not f.owner
  if is_lost then list_undelivered() end
  schedule_lane(arg.lane)
  return { is_lost and 'lost' or 'stale' }
end

-- The answer if this try does not count; else nil.
local function refusal(f)
  if f.owner and is_replaced(f) then return { 'stale' } end
  if is_over(f) then return drop_row(f) end
  local has_others_tried = (f[count] or '0') ~= arg.tries
  if word ~= 'delivered' and has_others_tried then return { 'stale' } end -- mutant: tries
  return nil
end

-- Sets when the row is due again.
local function put_off_row()
  redis.call('ZADD', key.lane_rows, arg.due, row)
  keep_for_events(key.holder)
end

-- Removes the row; if the script stops before this, a later call finds that the event is over.
local function remove_row()
  redis.call('ZREM', key.lane_rows, row) -- mutant: row removed
end

-- Writes the try into the event's log, which keeps the last entries.
local function write_log(f)
  local entries = {}
  for entry in string.gmatch(f[log] or '', '[^\n]+') do
    add(entries, entry)
  end
  add(entries, arg.entry)
  local kept = table.concat(entries, '\n', math.max(1, #entries - MAX_ENTRIES + 1))
  local new_state = word == 'retry' and 'pending' or word -- mutant: state
  redis.call('HSET', key.holder, count, text(tonumber(f[count] or '0') + 1), log, kept, state, new_state)
end

-- Leaves the URL alone as long as it asks for; other URLs of its host are not bound by that.
local function hold_url(last, asked)
  local free_at = now + asked
  local held = math.max(free_at, tonumber(last or '0'))
  write_fields(key.lane_state, { ['held:' .. arg.tag] = text(free_at), held = text(held) })
end

-- Leaves the host alone: for twice as long at each failure, or as long as it asks for.
local function back_off()
  local known = read(key.lane_state, 'failures', 'held')
  local failures, asked = tonumber(known.failures or '0'), tonumber(arg.pause)
  if asked > MAX_BACKOFF then -- mutant: long pause
    hold_url(known.held, asked)
    asked = 0
  end
  local doubled = FIRST_BACKOFF * 2 ^ math.min(failures, MAX_DOUBLINGS) -- mutant: backoff
  local backoff = math.floor(math.min(doubled, MAX_BACKOFF) * (1 + tonumber(arg.jitter) / 2))
  local free_at = now + math.max(backoff, asked) -- mutant: pause
  write_fields(key.lane_state, { failures = text(failures + 1), ['until'] = text(free_at) })
  redis.call('EXPIRE', key.lane_state, arg.lane_ttl)
end

-- Writes what the try says of the host, and of its URL.
local function note_host()
  if arg.pause ~= '' then
    back_off()
  elseif arg.was_failing == '1' then
    redis.call('HDEL', key.lane_state, 'failures', 'until') -- mutant: success
  end
  if word == 'disabled' then
    redis.call('HSET', key.lane_state, 'gone:' .. arg.tag, arg.now) -- mutant: gone
    redis.call('EXPIRE', key.lane_state, arg.lane_ttl)
  end
end

-- Writes what the operator's list says of the event: one that was given up is there.
local function note_for_operator(f)
  if word == 'failed' or word == 'disabled' then
    list_undelivered()
    redis.call('ZREMRANGEBYSCORE', key.undelivered, '-inf', text(now - tonumber(arg.lane_ttl) * 1000))
  elseif word == 'delivered' and f[state] ~= 'pending' then
    redis.call('ZREM', key.undelivered, row) -- mutant: late success
  end
end

local f = read(key.holder, 'owner', 'incarnation', state, count, log)
local answer = refusal(f)
if answer then return answer end
if word == 'retry' or word == 'held' then put_off_row() end
if word == 'held' then
  schedule_lane(arg.lane)
  return { 'noted' }
end
write_log(f)
note_host()
note_for_operator(f)
if word ~= 'retry' then remove_row() end
schedule_lane(arg.lane)
return { 'noted' }
