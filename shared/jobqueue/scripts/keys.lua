-- The keys that only a script can know. keys.py has their letters, as JOBS and so on, and says what each key holds. A
-- verb that uses these functions names `root`.

local function job_key(id) return key.root .. JOBS .. id end
local function user_key(owner, user) return key.root .. USERS .. owner .. ':' .. user end
local function batch_key(batch) return key.root .. BATCHES .. batch end

-- HASH: the job or batch that an event is about.
local function holder_key(event, id) return string.sub(event, 1, 5) == 'batch' and batch_key(id) or job_key(id) end

local function batch_queue_key(batch) return key.root .. BATCH_QUEUES .. batch end
local function dead_key() return key.root .. DEAD end

-- HASH: how runs of a model at a lane's provider went.
local function runs_key(lane, model) return key.root .. RUNS .. text(provider_of(lane)) .. ':' .. run_of(model) end

local function outbox_key() return key.root .. OUTBOX end
local function undelivered_key() return key.root .. UNDELIVERED end
local function lost_key() return key.root .. LOST end
local function stats_key() return key.root .. STATS end
-- ZSET: jobs that wait for a slot of their API key.
local function held_key(owner) return key.root .. HELD .. owner end
-- ZSET: jobs of a user, `owner:user`, that the history no longer lists.
local function archive_key(user) return key.root .. ARCHIVES .. user end

-- ZSET: the active users of an API key; see tags.lua.
local function active_key(owner) return key.root .. ACTIVE .. owner end

-- HASH: when the operator's pauses began and ended; see halts.lua.
local function halts_key() return key.root .. PAUSES .. 'halts' end

local function rows_key(lane) return key.root .. LANE_ROWS .. lane end
local function host_key(lane) return key.root .. HOSTS .. lane end

-- The member of the history for a job of a user, given the user's key.
local function history_of(users_key, id) return '@' .. string.sub(users_key, #user_key('', '')) .. '|' .. id end
