"""One function a verb: (model, call, reply) -> the reply it should give. ``reply`` is the store's own."""

from collections.abc import Callable
from typing import Any

from shared.jobqueue.constants import (
    ALARMS,
    BACKLOG,
    BAND,
    DAY,
    DELAYED,
    HISTORY,
    LIMIT_SPAN,
    READY,
    SEATED,
    SLOT_SHARES,
    SPECIAL,
    WAITING_SHARES,
)
from shared.signing.shares import shares_of_key
from tests.model import attempts, outbox, spending, unknown
from tests.model.call import Call
from tests.model.claim import claim
from tests.model.deployment import queue_of
from tests.model.enqueue import enqueue
from tests.model.halts import extend, note_halt
from tests.model.state import Job, Model, user_of
from tests.model.users import end, promote, reseat, waits, yield_seats

MAX_REHOMED = 1000
LIMIT_KEPT_FOR = 400  # days


def cancel(model: Model, call: Call, reply: Any) -> Any:
    name, token, now = call["id"], call["token"], call.number("now")
    job = model.jobs.get(name)
    if not job or job["owner"] != call["owner"]:
        return ["not_found"]
    if job["state"] == "done":
        is_mine = job.get("cancel_token") == token and job["outcome"] == "canceled"
        return ["canceled"] if is_mine else ["already_terminal", job["outcome"]]
    if waits(job):
        return ["canceled", end(model, name, "canceled", now, cancel_token=token)]
    if unknown.is_lost(job):
        unknown.leave_seat(model, name)
    job.update(cancel_requested="1", cancel_token=token, overdue_at=now)
    if job["state"] == "running":
        model.put_slot(name, now)
    return ["cancel_requested", str(job["attempt"]), job.get("prediction", ""), str(job["lane"]), ""]


def expire(model: Model, call: Call, reply: Any) -> Any:
    name, job = call["id"], model.jobs.get(call["id"])
    if job and job["state"] == "done" and job.get("error_code") == "expired":
        return ["finished", job["outcome"]]
    if job is None:
        model.pop(name)
    if job is None or not waits(job):
        model.index.pop(f"!{name}", None)
        return ["stale"]
    time = call.number("lease_now")
    if time < job["expire_at"] or extend(model, name, time):
        return ["stale"]
    follow = end(model, name, "failed", call.number("now"), error_code="expired")
    model.dead.add(name)
    return ["finished", "failed", follow]


def reprioritize(model: Model, call: Call, reply: Any) -> Any:
    name, priority, job = call["id"], call.number("priority"), model.jobs.get(call["id"])
    if not job or job["owner"] != call["owner"]:
        return ["not_found"]
    if not waits(job):
        return ["not_waiting"]
    if model.deployment.settings.priority_policy == "multiplicative":
        score = job["created_at"] * (6 - priority)
    else:
        score = max(0, job["score"] - (priority - job["priority"]) * model.deployment.step)
    job.update(score=score, priority=priority)
    user = user_of(job)
    model.seat(user, name, score if job["state"] == "backlog" else SEATED + score)
    if job["state"] != "delayed":
        model.put(name, BACKLOG if job["state"] == "backlog" else READY + job["lane"], score)
    reseat(model, user)
    return ["moved"]


def limit(model: Model, call: Call, reply: Any) -> Any:
    is_late = bool(call.rest) and _is_late(model, call)
    if is_late:
        return ["1", _gates(model), _pauses(model)]
    for name, value in zip(call.rest[::2], call.rest[1::2], strict=True):
        note_halt(model, name, value, call["now"])
        if value:
            model.set_gate(name, int(value))
        else:
            model.index.pop(name, None)
            if name.startswith("~p"):
                model.refusals.pop(name[2:], None)
    return ["0", _gates(model), _pauses(model)]


def _is_late(model: Model, call: Call) -> bool:
    if model.limits_mark == call.number("mark"):
        return False
    if model.limits_mark != call.number("seen"):
        return True
    model.limits_mark = call.number("mark")
    return False


def limit_user(model: Model, call: Call, reply: Any) -> Any:
    if _is_late(model, call):
        return ["stale"]
    if call["concurrency"]:
        days = call.number("now") // DAY
        model.seat(call.user, "=", SPECIAL + days * LIMIT_SPAN + call.number("concurrency"))
    else:
        model.unseat(call.user, "=")
    reseat(model, call.user)
    return ["set"]


def rehome(model: Model, call: Call, reply: Any) -> Any:
    user, seen, homes, lost = call.user, set[str](), 0, list[str]()
    members = [name for name, _ in model.ranked(user)][:MAX_REHOMED] if call["whole"] == "1" else []
    _age_specials(model, user, members, call.number("now") // DAY)
    for name in [*(n for n in members if n not in ("=", "~")), *call.rest]:
        job = model.jobs.get(name)
        if not job or job["state"] == "done":
            lost += [] if name in seen else [name]
        elif name not in seen and (name not in model.index or (name in call.rest and _lacks_seat(model, user, name))):
            homes += 1
            _home(model, name, job, call.number("now"))
        seen.add(name)
    for name in lost:
        model.unseat(user, name)
        model.pop(name)
    if homes:
        model.counters["rehomed"] += homes
    yield_seats(model, user, call.number("now"))
    promote(model, user)
    return ["checked", str(homes), str(len(lost)), "0", ""]  # no job of this model is in a batch


def _age_specials(model: Model, user: str, members: list[str], today: int) -> None:
    if "~" in members:
        virtual_time, tag = model.gate("~v"), model.user(user).tag
        if virtual_time is None or virtual_time >= tag:
            model.unseat(user, "~")
    if "=" in members:
        is_idle = not set(members) - {"=", "~"}
        days, limit = divmod(model.sets[user]["="] - SPECIAL, LIMIT_SPAN)
        if not is_idle and days < today:
            model.seat(user, "=", SPECIAL + today * LIMIT_SPAN + limit)
        elif is_idle and days + LIMIT_KEPT_FOR < today:
            model.unseat(user, "=")


def _home(model: Model, name: str, job: Job, now: int) -> None:
    if name not in model.index:
        _put_back(model, name, job, now)
    if not unknown.has_left_seat(job):
        model.seat(user_of(job), name, job["score"] + (0 if job["state"] == "backlog" else SEATED))


def _lacks_seat(model: Model, user: str, name: str) -> bool:
    return not model.has_seat(user, name) and not unknown.has_left_seat(model.jobs[name])


def _put_back(model: Model, name: str, job: Job, now: int) -> None:
    match job["state"]:
        case "queued":
            model.put(name, READY + job["lane"], job["score"])
        case "delayed":
            model.put(name, DELAYED, job["due_at"])
        case "backlog":
            model.put(name, BACKLOG, job["score"])
        case _:
            model.put_slot(name, now)
    model.put(f"!{name}", ALARMS, job["expire_at"])
    model.account(name)


def stats(model: Model, call: Call, reply: Any) -> Any:
    bands = [row.band for row in model.rows()]
    counts = []
    for k in range(len(model.deployment.queues)):
        counts.append(sum(0 <= band < READY and queue_of(band) == k for band in bands))
        counts.append(sum(READY <= band < DELAYED and queue_of(band - READY) == k for band in bands))
    open_ones = [member for member, since in model.lost.items() if since >= 0]
    return [bands.count(DELAYED), len(model.dead), counts, reply[3], bands.count(BACKLOG), _gates(model),
            len(open_ones), reply[7], _of_keys(model), _pauses(model)]  # fmt: skip


def _of_keys(model: Model) -> list[int]:
    """The running and the waiting jobs of each API key."""
    shares = [model.index[name] - ALARMS * BAND for name in model.index if name.startswith("%")]
    found = []
    for name in model.deployment.settings.callers:
        of_key = shares_of_key(name)
        found += [sum(share - first in of_key for share in shares) for first in (SLOT_SHARES, WAITING_SHARES)]
    return found


def _gates(model: Model) -> list[str]:
    return [part for row in model.rows() if row.band < 0 for part in (row.id, str(model.index[row.id] + BAND))]


def _pauses(model: Model) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for gate in [row.id for row in model.rows() if row.id.startswith("~p")]:
        if known := model.refusals.get(gate[2:]):
            said = [known[part] for part in ("since", "at", "code", "status", "refusals")]
            marks = {name[6:]: mark.rstrip("+-") for name, mark in known.items() if name.startswith("model:")}
            rows.append([gate[2:], *said, sorted(name for name, mark in marks.items() if mark == known["since"])])
    return rows


def trim(model: Model, call: Call, reply: Any) -> Any:
    history = sorted((row.ms, row.id) for row in model.rows() if row.band == HISTORY)
    gone = [name for at, name in history if at < call.number("oldest")]
    archived = [name for _, name in history[len(gone) :][: max(0, len(history) - len(gone) - call.number("most"))]]
    for name in (*gone, *archived):
        del model.index[name]
    return [len(gone), len(archived)]


def forget_runs(model: Model, call: Call, reply: Any) -> Any:
    """No run is a month old here."""
    return 0


def explain(model: Model, call: Call, reply: Any) -> Any:
    """Only reads: the sole check is that it changes nothing."""
    return reply


MODELLED: dict[str, Callable[[Model, Call, Any], Any]] = {
    "enqueue": enqueue, "claim": claim, "record": attempts.record, "finish": attempts.finish, "fail": attempts.fail,
    "snooze": attempts.snooze, "cancel": cancel, "rescue": attempts.rescue, "expire": expire, "trip": attempts.trip,
    "check": attempts.check, "progress": attempts.progress, "adopt": attempts.adopt, "rehome": rehome,
    "explain": explain, "reprioritize": reprioritize, "limit": limit, "limit_user": limit_user, "stats": stats,
    "trim": trim, "delete": outbox.delete, "outbox_claim": outbox.claim, "outbox_keep": outbox.keep,
    "outbox_note": outbox.note, "outbox_redeliver": outbox.redeliver,
    "outbox_restore": outbox.restore,
    "outbox_release": outbox.release,
    "forget_runs": forget_runs, "reclaim": spending.reclaim,
}  # fmt: skip
