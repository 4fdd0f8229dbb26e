-- batch_create: admits all jobs of a batch, or none. The batch is one task of its user; as many of its jobs are ready as
-- his concurrency admits, the others wait in his backlog, in their order.
-- KEYS: index, batch, user, root, batch_queue
-- ARGV: batch_id: name, fingerprint: name, now: moment, user_limit: count, user_queued: count, queue_size: count,
--       cost: count?, heirs: flag, lane: count, expire_at: moment, widths: numbers, fields: names...
-- Returns: {created} | {duplicate} | {conflict} | {user_limit, live, allowed} | {queue_full, waiting}
-- fields: the batch's, those that all jobs have in common, then each job's: id and score, and what it has of its own;
-- widths: how many parts each of these takes. cost: as for enqueue; the tags of the jobs follow each other.
local index, batch_key, user_key = key.index, key.batch, key.user
local now, lane, widths = tonumber(arg.now), tonumber(arg.lane), numbers(arg.widths)
local known = redis.call('HGET', batch_key, 'fingerprint')
if known then return {known == arg.fingerprint and 'duplicate' or 'conflict'} end

local user = read_user(user_key, tonumber(arg.user_limit))
local tasks, allowed = tasks_of(user_key, user), math.max(tonumber(arg.user_queued), user.cap)
if tasks >= allowed then return {'user_limit', text(tasks), text(allowed)} end
local count = count_waiting(index)
if count + #widths - 2 > tonumber(arg.queue_size) then return {'queue_full', text(count)} end
local gates = arg.cost ~= '' and read_head(index, 0, 0).gates or {}

local parts, at = rest.fields, 0
local function take(width)
  local list = {unpack(parts, at + 1, at + width)}
  at = at + width
  return list
end
local function put(list, ...)
  for _, part in ipairs({...}) do list[#list + 1] = part end
end

local moves, seats, queued, first_waiting = {}, {}, {}, nil
-- A batch comes behind what waits in its user's backlog already.
local free = #user.waiting == 0 and user.cap - #user.admitted or 0
local tag = math.max(gates['~v'] or FIRST_TAG, user.tag)
local batch_fields, common = take(widths[1]), take(widths[2])
local jobs, order = {}, {}
for n = 0, #widths - 3 do
  local own = take(widths[n + 3])
  local score = tonumber(own[2])
  if arg.cost ~= '' then
    score = math.max(0, tag - score)
    tag = tag + tonumber(arg.cost)
  end
  jobs[n] = {own = own, score = score, number = n}
  order[#order + 1] = jobs[n]
end
table.sort(order, function(a, b) if a.score ~= b.score then return a.score < b.score end return a.number < b.number end)
for i = 1, math.min(free, #order) do order[i].is_ready = true end
for n = 0, #jobs do
  local own, score, is_ready = jobs[n].own, jobs[n].score, jobs[n].is_ready
  local id = own[1]
  local fields = {'state', is_ready and 'queued' or 'backlog', 'attempt', '0', 'fingerprint', arg.fingerprint, 'score', text(score),
    'heirs', '1', 'batch', arg.batch_id, 'number', text(n), unpack(common)}
  put(fields, unpack(own, 3))
  redis.call('HSET', key.root .. 'j:' .. id, unpack(fields))
  put(moves, score_of(is_ready and READY + lane or BACKLOG, score), id,
    entries_of(key.root, user_key, id, tonumber(arg.expire_at), now))
  put(queued, is_ready and '-1' or text(score), id)
  if is_ready then put(seats, text(ADMITTED + score), id) else first_waiting = math.min(first_waiting or score, score) end
end
put(seats, first_waiting and text(first_waiting) or text(SPENT), '#' .. arg.batch_id)
if arg.cost ~= '' then put(seats, text(SPECIAL + tag), '~') end
redis.call('HSET', batch_key, 'fingerprint', arg.fingerprint, unpack(batch_fields))
redis.call('ZADD', key.batch_queue, unpack(queued))
redis.call('ZADD', index, unpack(moves))
redis.call('ZADD', user_key, unpack(seats))
-- Who is put before an empty backlog must know that somebody waits for his place when he ends.
if first_waiting and #user.waiting == 0 and arg.heirs ~= '1' then tell_heirs(key.root, user) end
return {'created'}
