"""Bugs in the scripts that single faults must find."""

from tests.faults.outbox_scenarios import (
    DELETED,
    FILED,
    FLAKY,
    HANGING,
    NOTIFIED,
    NOTIFIED_BATCH,
    REDELIVERED,
    SOURCE_DOWN,
)
from tests.faults.pushback_scenarios import CIRCUIT, PAUSED
from tests.faults.scenario import Scenario, WebhookMode
from tests.faults.scenarios import (
    ALL_OR_NOTHING,
    BACKLOG,
    BATCH,
    BATCH_CANCELED,
    CANCELING,
    CONTROLLED,
    EXPIRING,
    HEIRS,
    LIMITED,
    ORDINARY,
    REDRIVEN,
    RESUBMITTED,
    TWINS,
    UNKNOWN,
)
from tests.mutants.edit import Edit, script_edit

# Each bug: the edit of a script, and the scenario and webhook mode that notice it.
BREAKAGES: dict[str, tuple[Edit, Scenario, WebhookMode]] = {
    # Each tick looks at such a job in as many rounds as it may: two minutes with the three jobs of ORDINARY.
    "the end leaves the index alone": (script_edit("ending", "slot", ""), RESUBMITTED, "ok"),
    "the end leaves the user's set alone": (script_edit("ending", "seat", ""), ORDINARY, "ok"),
    "the end sets no time to live": (script_edit("ending", "ttl", ""), ORDINARY, "ok"),
    "a stale record counts": (script_edit("record", "attempt", "if false then"), ORDINARY, "ok"),
    "a second end counts": (script_edit("finish", "done", "if false then"), ORDINARY, "ok"),
    "rescue does not wait": (script_edit("rescue", "adoption window", ""), UNKNOWN, "lost"),
    "adoption is a guess": (script_edit("adopt", "twin", "local is_twin = false"), TWINS, "lost"),
    "an end forgets to promote": (script_edit("ending", "promotion", ""), BACKLOG, "ok"),
    "no job learns that another job waits for its seat": (script_edit("users", "heirs", ""), HEIRS, "ok"),
    "it promotes beyond the cap": (script_edit("seats", "cap", "<=", part="<"), BACKLOG, "ok"),
    "a job from the backlog is started": (
        script_edit("claim", "due", "part_in(head, DELAYED) or part_in(head, BACKLOG)", part="part_in(head, DELAYED)"),
        BACKLOG,
        "ok",
    ),
    "a lowered limit demotes no job": (script_edit("seats", "demotion", "do break end"), LIMITED, "ok"),
    "a pause is not honoured": (
        script_edit("room", "pause", "if true then", part="if not paused_until then"),
        PAUSED,
        "ok",
    ),
    "a probe is granted twice": (script_edit("claim", "one probe", ""), PAUSED, "ok"),
    "an accepted probe does not end the pause": (script_edit("record", "pause ends", ""), PAUSED, "ok"),
    "a circuit never opens": (script_edit("runs", "circuit opens", "if false then"), CIRCUIT, "ok"),
    "a circuit never closes": (script_edit("ending", "circuit", "if false then"), CIRCUIT, "ok"),
    "an open circuit is not honoured": (script_edit("probes", "circuit", ""), CIRCUIT, "ok"),
    "a start takes no token": (script_edit("claim", "token", ""), ORDINARY, "ok"),
    "a start at submit takes no token": (script_edit("enqueue", "token", "0", part="1"), ORDINARY, "ok"),
    "expire ends a job at the provider": (script_edit("expire", "waiting", "if false then"), EXPIRING, "ok"),
    "a live limit is not honoured": (
        script_edit("room", "live queue limit", "local limit = limits.queues[queue + 1]"),
        CONTROLLED,
        "ok",
    ),
    "a raised job keeps its place": (script_edit("reprioritize", "moved", ""), CONTROLLED, "ok"),
    "an end is not counted in its batch": (script_edit("ending", "outcome in batch", ""), BATCH, "ok"),
    "a failure leaves the others of its batch alone": (
        script_edit("ending", "all or nothing", "local fails_batch = false"),
        ALL_OR_NOTHING,
        "ok",
    ),
    "a cancelled batch keeps its backlog": (
        script_edit("ending", "waiting", "if f.state == 'backlog' then return false end\nif is_waiting(f.state) then"),
        BATCH_CANCELED,
        "ok",
    ),
    "a retry of a batch forgets who waits": (script_edit("batch_retry", "promotion", ""), BATCH, "ok"),
    "an ended job leaves the index before its record says so": (
        script_edit(
            "ending",
            "seat",
            "redis.call('ZREM', key.index, id, alarm_of(id))\nredis.call('ZREM', user_key(f.owner, f.user), id)",
        ),
        CANCELING,
        "ok",
    ),
    "an end that stopped half-way is not finished": (
        script_edit("ending", "unfinished end", "if true then return false end"),
        ORDINARY,
        "ok",
    ),
    "a job's record comes before its place in the index": (
        script_edit(
            "enqueue",
            "index first",
            "write_fields(key.job, fields, rest.fields)\nredis.call('ZADD', key.index, index_score, id, unpack(moves))",
        ),
        ORDINARY,
        "ok",
    ),
    "the records of a batch's jobs come before their places": (
        script_edit(
            "batch_create",
            "index first",
            "for _, job in ipairs(jobs) do write_job(job, common) end\nredis.call('ZADD', key.index, unpack(moves))",
        ),
        BATCH,
        "ok",
    ),
    "the rest of a batch is left out for good": (
        script_edit("batch_create", "rest of a batch", "if true then return { 'duplicate' } end"),
        BATCH,
        "ok",
    ),
    "a sweep overlooks a job at a wrong place of the index": (
        script_edit("places", "place in the index", "return true"),
        LIMITED,
        "ok",
    ),
    "a sweep overlooks a job at a wrong place of its user's set": (
        script_edit("rehome", "place in the user's set", "return true"),
        LIMITED,
        "ok",
    ),
    "a redriven job stays a dead letter": (script_edit("redrive", "dead letter", ""), REDRIVEN, "ok"),
    "the end of a job has no event": (script_edit("ending", "event posted", ""), NOTIFIED, "ok"),
    "the end of a batch has no event": (script_edit("ending", "batch event posted", ""), NOTIFIED_BATCH, "ok"),
    "the start of a run has no event": (
        script_edit("record", "event posted", "''", part="post(plan)"),
        NOTIFIED,
        "ok",
    ),
    "completion is sent while files are pending": (script_edit("ending", "event after files", "end\ndo"), FILED, "ok"),
    "a row that is claimed leaves its lane": (
        script_edit("outbox_claim", "lease of rows", "redis.call('ZREM', rows_key(lane.name), unpack(lane.rows))"),
        FLAKY,
        "ok",
    ),
    "a row that is claimed may be claimed again": (
        script_edit("outbox_claim", "lease of a row", "now", part="until_ms"),
        FLAKY,
        "ok",
    ),
    "files that are claimed may be claimed again": (
        script_edit("outbox_claim", "lease of files", "now", part="until_ms"),
        SOURCE_DOWN,
        "ok",
    ),
    "files that wait for another turn are left alone": (
        script_edit("outbox_keep", "retry", "redis.call('ZREM', key.outbox, arg.id)"),
        SOURCE_DOWN,
        "ok",
    ),
    "stored files stay in the outbox": (script_edit("outbox_keep", "outbox", ""), FILED, "ok"),
    "every try counts as a delivery": (
        script_edit("outbox_note", "state", "local new_state = 'delivered'"),
        FLAKY,
        "ok",
    ),
    "an event that was given up is not listed": (
        script_edit("outbox_note", "undelivered", ""),
        HANGING,
        "ok",
    ),
    "a lane is forgotten after a try": (script_edit("outbox", "lane kept", "if false then"), FLAKY, "ok"),
    "a deleted job stays in the outbox": (script_edit("delete", "outbox", ""), DELETED, "ok"),
    "a deleted job still has events": (script_edit("delete", "events", ""), DELETED, "ok"),
    "an event to be redelivered is not found": (
        script_edit("outbox_redeliver", "lane listed", ""),
        REDELIVERED,
        "ok",
    ),
}
