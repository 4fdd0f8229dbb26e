"""Bugs in the scripts that single faults have to find."""

from tests.faults.following import (
    DELETED,
    FILED,
    FLAKY,
    HANGING,
    REDELIVERED,
    SOURCE_DOWN,
    TOLD,
    TOLD_BATCH,
)
from tests.faults.scenario import Scenario, WebhookMode
from tests.faults.scenarios import (
    ALL_OR_NOTHING,
    BACKLOG,
    BATCH,
    BATCH_CANCELED,
    CIRCUIT,
    CONTROLLED,
    EXPIRING,
    HEIRS,
    LIMITED,
    ORDINARY,
    PAUSED,
    REDRIVEN,
    TWINS,
    UNKNOWN,
)

NOT_SUBMITTING = "if f.attempt ~= ARGV[2] or f.state ~= 'submitting' then"
WAITING = "if not is_waiting(f.state) then"
DUE = "row.band == DELAYED and row.ms <= time"
HEIRS_TOLD = "redis.call('HSET', key, 'heirs', '1')"
CHARGED = "move('~r' .. text(provider), bucket_after(head, providers, provider, count, time))"
CANCEL_JOB = "local function cancel_job(ending, id, f, token)\n"
QUEUE_LIMIT = "(gates['=q' .. text(k)] or concurrency[k + 1])"
MOVED = "redis.call('ZADD', KEYS[1], score_of(READY + tonumber(f.lane), score), ARGV[1])"
LASTS = "redis.call('EXPIRE', key, (store_lease or plan) and math.max(FOLLOW_TTL, ending.ttl) or ending.ttl)\n"
POSTED = "follow_up(ending, post(ending.prefix, plan))\n"
COUNTED = "redis.call('HINCRBY', ending.stats"
ROWS_LEASED = "redis.call('ZADD', prefix .. 'x:' .. lane.name, unpack(leases))"
TURN_BEGUN = "for _, part in ipairs({'storing', '1', 'turn', '1'}) do fields[#fields + 1] = part end\n"
# What is broken: in which file, which text by which one, and the scenario and webhooks that notice.
BREAKAGES: dict[str, tuple[str, str, str, Scenario, WebhookMode]] = {
    "the end leaves the index alone":
        ("ending", "redis.call('ZREM', ending.index, unpack(gone))\n", "", ORDINARY, "ok"),
    "the end leaves the user's set alone":
        ("ending", "redis.call('ZREM', user, id)\nredis.call('HSET'", "redis.call('HSET'", ORDINARY, "ok"),
    "the end sets no time to live":
        ("ending", LASTS, "", ORDINARY, "ok"),
    "a stale record counts":
        ("record", NOT_SUBMITTING, "if false then", ORDINARY, "ok"),
    "a second end counts":
        ("finish", "if f.state == 'done' then", "if false then", ORDINARY, "ok"),
    "rescue does not wait":
        ("rescue", "or time < tonumber(f.adopt_until) then", "then", UNKNOWN, "lost"),
    "adoption is a guess":
        ("adopt", "g.state == 'submitting'", "false", TWINS, "lost"),
    "an end forgets to promote":
        ("ending", "if f.heirs == '1' and f.state ~= 'backlog' then", "if false then", BACKLOG, "ok"),
    "nobody is told that somebody waits for his seat":
        ("prelude", HEIRS_TOLD, "", HEIRS, "ok"),
    "it promotes beyond the cap":
        ("ending", "#known.admitted + promoted < known.cap", "#known.admitted + promoted <= known.cap", BACKLOG, "ok"),
    "a job from the backlog is started":
        ("claim", DUE, f"({DUE} or row.band == BACKLOG)", BACKLOG, "ok"),
    "a lowered limit demotes nobody":
        ("seats", "if not is_over and not (best and best < job.score) then break end", "do break end", LIMITED, "ok"),
    "a pause is not honoured":
        ("prelude", "if paused_until then", "if false then", PAUSED, "ok"),
    "a probe is granted twice":
        ("claim", "move(gate, text(-BAND + lease_until))", "", PAUSED, "ok"),
    "an accepted probe does not end the pause":
        ("record", "if ARGV[7] ~= '' then", "if false then", PAUSED, "ok"),
    "a circuit never opens":
        ("ending", "if failures < threshold or", "if true or", CIRCUIT, "ok"),
    "a circuit never closes":
        ("ending", "if outcome == 'completed' then gone[3] =", "if false then gone[3] =", CIRCUIT, "ok"),
    "an open circuit is not honoured":
        ("claim", "if open_until and open_until > time then", "if false then", CIRCUIT, "ok"),
    "a start takes no token":
        ("claim", CHARGED, "", ORDINARY, "ok"),
    "a start at submit takes no token":
        ("enqueue", "provider_of(lane), 1, time)", "provider_of(lane), 0, time)", ORDINARY, "ok"),
    "expire ends a job at the provider":
        ("expire", WAITING, "if false then", EXPIRING, "ok"),
    "a live limit is not honoured":
        ("prelude", QUEUE_LIMIT, "concurrency[k + 1]", CONTROLLED, "ok"),
    "a raised job keeps its place":
        ("reprioritize", MOVED, "", CONTROLLED, "ok"),
    "an end is not counted in its batch":
        ("ending", "redis.call('HSET', batch, 's' .. f.number, outcome)\n", "", BATCH, "ok"),
    "a failure leaves the others of its batch alone":
        ("ending", "f.policy == 'all_or_nothing' then", "false then", ALL_OR_NOTHING, "ok"),
    "a cancelled batch keeps its backlog":
        ("ending", CANCEL_JOB, f"{CANCEL_JOB}if f.state == 'backlog' then return false end\n", BATCH_CANCELED, "ok"),
    "a retry of a batch forgets who waits":
        ("batch_retry", "promote(ending, KEYS[6])\n", "", BATCH, "ok"),
    "a redriven job stays a dead letter":
        ("redrive", "redis.call('ZREM', KEYS[2], ARGV[1])\n", "", REDRIVEN, "ok"),
    "the end of a job is told to nobody":
        ("ending", f"{POSTED}{COUNTED}, outcome", f"{COUNTED}, outcome", TOLD, "ok"),
    "the end of a batch is told to nobody":
        ("ending", f"{POSTED}{COUNTED}, 'batches'", f"{COUNTED}, 'batches'", TOLD_BATCH, "ok"),
    "the start of a run is told to nobody":
        ("record", "return {'recorded', f.cancel_requested or '0', post(KEYS[4], plan.event)}",
         "return {'recorded', f.cancel_requested or '0', ''}", TOLD, "ok"),
    "completion is told while files are pending":
        ("ending", f"{TURN_BEGUN}else\n", f"{TURN_BEGUN}end\ndo\n", FILED, "ok"),
    "a row that is claimed leaves its lane":
        ("outbox_claim", ROWS_LEASED, ROWS_LEASED.replace("ZADD", "ZREM").replace("leases", "lane.rows"), FLAKY, "ok"),
    "a row that is claimed may be claimed again":
        ("outbox_claim", "leases[#leases + 1] = text(until_ms)", "leases[#leases + 1] = text(now)", FLAKY, "ok"),
    "files that are claimed may be claimed again":
        ("outbox_claim", "move(until_ms - BAND, job.id)", "move(now - BAND, job.id)", SOURCE_DOWN, "ok"),
    "files that wait for another turn are left alone":
        ("outbox_keep", "redis.call('ZADD', KEYS[1], text(tonumber(ARGV[5]) - BAND), ARGV[1])",
         "redis.call('ZREM', KEYS[1], ARGV[1])", SOURCE_DOWN, "ok"),
    "stored files stay in the outbox":
        ("outbox_keep", "redis.call('ZREM', KEYS[1], ARGV[1])\n", "", FILED, "ok"),
    "every try counts as a delivery":
        ("outbox_note", "word == 'retry' and 'pending' or word)", "'delivered')", FLAKY, "ok"),
    "what was given up is kept from the operator":
        ("outbox_note", "redis.call('ZADD', KEYS[6], ARGV[8], row)\n", "", HANGING, "ok"),
    "a lane is forgotten after a try":
        ("outbox", "if first[1] then", "if false then", FLAKY, "ok"),
    "a deleted job stays in the outbox":
        ("delete", "if f.storing == '1' then redis.call('ZREM', KEYS[5], ARGV[1]) end", "", DELETED, "ok"),
    "a deleted job is still told of":
        ("delete", "untell(f.hook_lane, rows)", "", DELETED, "ok"),
    "what is to be told once more is found by nobody":
        ("outbox_redeliver", "redis.call('ZADD', KEYS[1], 'LT', due, f.hook_lane)\n", "", REDELIVERED, "ok"),
}  # fmt: skip
