"""The expected effect of the verbs of one attempt: record, finish, fail, snooze, rescue, check, progress, adopt."""

from typing import Any

from shared.jobqueue.constants import ALARMS, DELAYED, READY, SEATED
from tests.model import outbox, spending, unknown
from tests.model.call import Call, hash_of
from tests.model.circuits import count_failure
from tests.model.claim import claim
from tests.model.refusals import absolve, lift, refuse, settle, settle_late, settle_pause
from tests.model.state import Job, Model, user_of
from tests.model.users import end, release_held, reseat, yield_seats

MAX_RESCUES = 3
MAX_REFUSALS = 5
MADE_NOTHING: Job = {"bill": "free"}


def record(model: Model, call: Call, reply: Any) -> Any:
    name, attempt, prediction, now = call["id"], call.number("attempt"), call["prediction"], call.number("now")
    job = model.jobs.get(name)
    if call["probe"]:
        lift(model, call["probe"], job)
    if not job:
        return ["stale"]
    asked = job.get("cancel_requested", "0")
    if job.get("prediction") == prediction:
        return ["recorded", asked] if (job["attempt"], job["state"]) == (attempt, "running") else ["already"]
    model.owners[prediction] = f"{name}:{attempt}:"
    if (job["attempt"], job["state"]) != (attempt, "submitting"):
        unknown.account_for(model, name, attempt)
        return ["stale"]
    unknown.settle(model, name, "reported")
    check_at = now + call.number("first_check")
    job.update(state="running", prediction=prediction, overdue_at=check_at)
    if job.get("refusals") and not call["probe"]:
        absolve(model, job)
    if "refusals" in job:
        job.update(refusals=0, refused_as="")
    model.put_slot(name, check_at // 1000 * 1000)
    return ["recorded", asked, outbox.begin(model, name, now)]


def finish(model: Model, call: Call, reply: Any) -> Any:
    name, attempt, prediction, now = call["id"], call.number("attempt"), call["prediction"], call.number("now")
    job, outcome = model.jobs.get(name), call["outcome"]
    if not job:
        return ["unknown"]
    recorded = job.get("prediction", "")
    if job["state"] == "done" and recorded == prediction:
        waiting, claimed = _take_next(model, call, reply, is_expected=True)
        return ["already", job["outcome"], waiting, job.get("other", ""), claimed]
    if job["state"] == "done":
        _count_double(model, job, prediction if outcome == job["outcome"] == "completed" else "")
        settle_late(model, job, attempt, now, True)
        return ["stale"]
    is_other = attempt == job["attempt"] and recorded not in ("", prediction)
    if attempt > job["attempt"] or is_other or not _may_end(job, attempt, outcome):
        return ["stale"]
    changes: Job = {"prediction": prediction, "finished_attempt": attempt}
    if outcome == "canceled" and job.get("cancel_requested") != "1":
        outcome = "failed"
        changes["error_code"] = "expired"
    other = recorded if recorded != prediction else ""
    if "files" in (said := hash_of(call.rest)):
        changes["files"] = said["files"]
    store_until = now + call.number("store_lease") if outcome == "completed" and call["store_lease"] else None
    if recorded != prediction:
        model.owners[prediction] = f"{name}:{attempt}:"
        _note_outcomes(model, call, name)
    changes |= {"other": other} if other else {}
    is_accepted = attempt == job["attempt"]
    follow = end(model, name, outcome, now, store_until, is_accepted, attempt, call["bill"], **changes)
    _count_foreign(model, call)
    waiting, claimed = _take_next(model, call, reply, is_expected=call["expects"] == "1")
    return ["finished", outcome, waiting, other, follow, claimed]


def _take_next(model: Model, call: Call, reply: Any, *, is_expected: bool) -> tuple[str, Any]:
    """What the call that ended a job claims for its caller; and whether jobs wait that it has not taken."""
    waiting = model.waiting(call.number("now"))
    if not call["want"] or (not is_expected and waiting == "0"):
        return waiting, []
    return "0", claim(model, call, reply)


def _count_foreign(model: Model, call: Call) -> None:
    """Files of unknown hosts, which are not stored."""
    if call["foreign"] != "0":
        model.counters["files_foreign"] += call.number("foreign")


def _may_end(job: Job, attempt: int, outcome: str) -> bool:
    """A success counts from any attempt, a failure or cancellation only from the current one."""
    return outcome == "completed" or (attempt == job["attempt"] and job["state"] in ("submitting", "running"))


def _note_outcomes(model: Model, call: Call, name: str) -> None:
    """What became known of this attempt's submission, and what will not be known of a later one."""
    job, attempt = model.jobs[name], call.number("attempt")
    if attempt == job["attempt"] and job["state"] == "submitting":
        unknown.settle(model, name, "reported")
        return
    unknown.account_for(model, name, attempt)
    if attempt != job["attempt"] and job["state"] in ("submitting", "running"):
        _count_double(model, job, call["prediction"])
        if job["state"] == "submitting":
            unknown.give_up(model, name, call.number("now"), call.number("prediction_ttl"))


def _count_double(model: Model, job: Job, prediction: str) -> None:
    """Two predictions of the job may have been paid for; counted once."""
    if prediction and "doubled" not in job:
        job["doubled"] = prediction
        model.counters["doubled"] += 1


def fail(model: Model, call: Call, reply: Any) -> Any:
    name, attempt, prediction, now = call["id"], call.number("attempt"), call["prediction"], call.number("now")
    job, retryable = model.jobs.get(name), call["retryable"] == "1"
    if not job:
        return ["unknown"]
    if job.get("closed_attempt") == attempt:
        return _closed(job)
    recorded = job.get("prediction", "")
    at_provider = job["attempt"] == attempt and job["state"] in ("submitting", "running")
    if not at_provider or "" != prediction != recorded != "":
        settle_late(model, job, attempt, now, bool(prediction))
        return ["stale"]
    if prediction and not recorded:
        model.owners[prediction] = f"{name}:{attempt}:"
    used, canceled = attempt - job.get("snoozes", 0), job.get("cancel_requested") == "1"
    before = job.get("history", ())
    closed: Job = {"closed_attempt": attempt, "error_code": call["code"], "history": (*before, call["code"])}
    may_help = call["code"] not in before if call["once"] == "1" else retryable
    unknown.settle(model, name, "reported")
    may_retry = may_help and used < job["max_attempts"] and not canceled
    may_retry = may_retry and _is_in_time(job, now, float(call["jitter"]))
    if may_retry and spending.pay_again(model, name, call, call["bill"]):
        answer = ["delayed", _retry(model, name, now, float(call["jitter"]), closed, bool(prediction))]
    else:
        changes: Job = {"prediction": prediction} if prediction else {}
        changes |= {"is_accepted": bool(prediction), "attempt": attempt, "bill": call["bill"], **closed}
        follow = end(model, name, "canceled" if canceled else "failed", now, **changes)
        model.dead |= {name} if retryable and not canceled else set()
        answer = ["finished", job["outcome"], follow]
    if call["circuit_failures"] != "0" and job.get("tripped") != attempt:
        count_failure(model, job, now)
    return answer


def _retry(model: Model, name: str, now: int, jitter: float, closed: Job, is_accepted: bool = False) -> str:
    """Puts the job back until its next attempt is due; returns when that is."""
    job = model.jobs[name]
    wait = _backoff(job, jitter)
    score = max(0, job["score"] - model.deployment.bonus)
    due_at = int(f"{now + wait:.0f}")
    job.update(closed, state="delayed", due_at=due_at, prediction="", progress="", snooze_code="", score=score)
    model.put(name, DELAYED, due_at)
    _wait_on(model, name, job, now)
    settle(model, job, now, is_accepted)
    if model.deployment.bonus:
        model.seat(user_of(job), name, SEATED + score)
    release_held(model, job, now)
    model.counters["retried"] += 1
    return str(due_at)


def _backoff(job: Job, jitter: float) -> float:
    used, first = job["attempt"] - job.get("snoozes", 0), job["retry_delay"]
    return float(min(first * 2 ** (used - 1), max(first, 3_600_000)) * (1 + jitter / 2))


def _is_in_time(job: Job, now: int, jitter: float) -> bool:
    """Whether another attempt could begin before the job has waited too long."""
    return bool(now + _backoff(job, jitter) < job["expire_at"] + max(0, now - job["submitted_at"]))


def _wait_on(model: Model, name: str, job: Job, now: int) -> None:
    """Time at the provider does not count as waiting."""
    job["expire_at"] += max(0, now - job["submitted_at"])
    model.put(f"!{name}", ALARMS, job["expire_at"])
    model.account(name)


def _closed(job: Job) -> list[str]:
    if job["state"] == "delayed":
        return ["delayed", str(job["due_at"])]
    return ["finished", job["outcome"]] if job["state"] == "done" else ["already"]


def snooze(model: Model, call: Call, reply: Any) -> Any:
    name, attempt, now = call["id"], call.number("attempt"), call.number("now")
    job = model.jobs.get(name)
    if not job:
        return ["stale"]
    if job.get("closed_attempt") == attempt:
        left_seat = job["state"] == "backlog" and "due_at" in job
        return ["delayed", str(job["due_at"])] if left_seat else _closed(job)
    if (job["attempt"], job["state"]) != (attempt, "submitting") or call["token"] not in ("", job["token"]):
        if call["token"] in ("", job.get("token")):
            settle_late(model, job, attempt, now)
        return ["stale"]
    delay, faults = call.number("delay"), 0
    unknown.settle(model, name, "reported")
    closed: Job = {"snoozes": job.get("snoozes", 0) + 1, "closed_attempt": attempt}
    if call["pause"] == "1":
        pause, faults = refuse(model, job, now, delay, {"code": call["code"], "status": call["status"]})
        closed |= {"refusals": job.get("refusals", 0) + 1, "faults": faults}
        closed |= {"refused_as": call["code"], "refused_in": pause}
    code = {"provider_auth": "provider_refused", "billing": "billing"}.get(call["code"])
    model.counters["snoozed"] += 1
    is_canceled, is_over = job.get("cancel_requested") == "1", code and faults >= MAX_REFUSALS - 1
    if is_canceled or is_over:
        error: Job = {} if is_canceled else {"error_code": code}
        follow = end(model, name, "canceled" if is_canceled else "failed", now, **closed, **error)
        model.dead |= set() if is_canceled else {name}
        return ["finished", job["outcome"], follow]
    due_at = now + delay * 2 ** min(faults, 4)
    job.update(closed, state="delayed", due_at=due_at, snooze_code=call["code"])
    model.put(name, DELAYED, due_at)
    model.put(f"!{name}", ALARMS, job["expire_at"])
    model.account(name)
    release_held(model, job, now)
    settle(model, job, now)
    if call["pause"] == "1" and job["heirs"] == "1":
        yield_seats(model, user_of(job), now)
    return ["delayed", str(due_at)]


def rescue(model: Model, call: Call, reply: Any) -> Any:
    name, attempt, now = call["id"], call.number("attempt"), call.number("now")
    job = model.jobs.get(name)
    if not job or job["attempt"] != attempt:
        return ["stale"]
    if job.get("closed_attempt") == attempt and job["state"] in ("done", "queued", "backlog"):
        return ["finished", job["outcome"]] if job["state"] == "done" else ["requeued"]
    if job.get("closed_attempt") == attempt and job["state"] == "delayed":
        return ["delayed", str(job["due_at"])]
    if job["state"] != "submitting":
        return ["stale"]
    time, used = call.number("lease_now"), attempt - job.get("snoozes", 0)
    if job.get("lost") != attempt and time < job["lease_until"]:
        return ["waiting", str(job["adopt_until"])]
    is_missing = _is_missing(call, job)
    if not is_missing and time < job["adopt_until"]:
        _wait(model, call, name)
        return ["waiting", str(job["adopt_until"])]
    unknown.give_up(model, name, now, call.number("prediction_ttl"))
    return _miss(model, call, name, used) if is_missing else _close(model, call, name, used)


def _missed_at(job: Job) -> int | None:
    attempt, _, missed_at = job.get("missed", "").partition(":")
    return int(missed_at) if attempt == str(job["attempt"]) else None


def _is_missing(call: Call, job: Job) -> bool:
    """Whether the operator or two lists, half a minute apart, say that nothing was made."""
    missed_at = _missed_at(job)
    if call["proof"] == "operator":
        return bool(job.get("lost") == job["attempt"])
    asked_at = call.number("lease_now") - call.number("took")
    return call["proof"] == "list" and missed_at is not None and asked_at >= missed_at + call.number("list_gap")


def _wait(model: Model, call: Call, name: str) -> None:
    job, time, gap = model.jobs[name], call.number("lease_now"), call.number("list_gap")
    if call["proof"] == "list" and _missed_at(job) is None:
        job.update(missed=f"{job['attempt']}:{time}", overdue_at=call.number("now") + gap)
        model.put_slot(name, (time + gap + 999) // 1000 * 1000)
    if job.get("lost") != job["attempt"]:
        unknown.note(model, name)


def _close(model: Model, call: Call, name: str, used: int) -> Any:
    """The adoption window is closed: nothing will be known of the attempt."""
    job, now = model.jobs[name], call.number("now")
    model.counters["rescued"] += 1
    rescues, attempt = job.get("rescues", 0) + 1, job["attempt"]
    closed: Job = {"closed_attempt": attempt, "rescues": rescues}
    if job.get("cancel_requested") == "1":
        follow = end(model, name, "canceled", now, attempt=attempt, **closed)
    elif rescues >= MAX_RESCUES or used >= job["max_attempts"] or not spending.pay_again(model, name, call, ""):
        follow = end(model, name, "failed", now, attempt=attempt, **closed, error_code="submission_unknown")
        model.dead.add(name)
    else:
        job.update(closed, state="queued")
        model.put(name, READY + job["lane"], job["score"])
        _wait_on(model, name, job, now)
        settle(model, job, now)
        reseat(model, user_of(job))
        release_held(model, job, now)
        return ["requeued"]
    return ["finished", job["outcome"], follow]


def _miss(model: Model, call: Call, name: str, used: int) -> Any:
    """The attempt has made nothing: it has failed."""
    job, now = model.jobs[name], call.number("now")
    model.counters["missed" if call["proof"] == "list" else "settled"] += 1
    closed: Job = {"closed_attempt": job["attempt"]}
    if job.get("cancel_requested") == "1":
        return ["finished", "canceled", end(model, name, "canceled", now, **closed, **MADE_NOTHING)]
    closed["error_code"] = "provider_down"
    if used >= job["max_attempts"] or not _is_in_time(job, now, float(call["jitter"])):
        follow = end(model, name, "failed", now, **closed, **MADE_NOTHING)
        model.dead.add(name)
        return ["finished", "failed", follow]
    return ["delayed", _retry(model, name, now, float(call["jitter"]), closed)]


def trip(model: Model, call: Call, reply: Any) -> Any:
    name, attempt, now = call["id"], call.number("attempt"), call.number("now")
    job = model.jobs.get(name)
    if not job or (job["attempt"], job["state"]) != (attempt, "submitting") or job.get("lost") == attempt:
        if job:
            settle_late(model, job, attempt, now)
        return ["stale"]
    job["tripped"] = attempt
    unknown.note(model, name)
    if call["look_in"]:
        job["overdue_at"] = now + call.number("look_in")
        look_at = min(call.number("lease_now") + call.number("look_in"), job["lease_until"])
        model.put_slot(name, look_at // 1000 * 1000)
    settle(model, job, now)
    if call["circuit_failures"] != "0":
        count_failure(model, job, now)
    return ["counted"]


def check(model: Model, call: Call, reply: Any) -> Any:
    name, now = call["id"], call.number("now")
    job = model.jobs.get(name)
    if not job or job["state"] != "running" or now < job["overdue_at"]:
        return ["wait"]
    if now < job.get("checked_at", 0) + call.number("gap"):
        return ["wait"]
    job["checked_at"] = now
    model.put_slot(name, (now + model.deployment.check) // 1000 * 1000)
    said = [job["attempt"], job["lane"], "running", job["prediction"], job["submitted_at"]]
    return ["ask", name, *(str(part) for part in (*said, job.get("cancel_requested", "0"), job["deadline"])), ""]


def progress(model: Model, call: Call, reply: Any) -> Any:
    job = model.jobs.get(call.keys["job"].partition(":j:")[2])
    asked = (call.number("attempt"), "running", call["prediction"])
    if not job or (job["attempt"], job["state"], job.get("prediction")) != asked:
        return ["stale"]
    if call.number("progress") > int(job.get("progress") or -1):
        job["progress"] = call["progress"]
    return ["noted"]


def adopt(model: Model, call: Call, reply: Any) -> Any:
    name, attempt, now = call["id"], call.number("attempt"), call.number("now")
    job = model.jobs.get(name)
    if not job or job["attempt"] != attempt or job["state"] not in ("submitting", "running"):
        return ["stale"]
    if job["state"] == "running":
        return ["adopted", job["prediction"]]
    # What another attempt has had is not this one's, also when it was an attempt of the same job.
    me = f"{name}:{attempt}:"
    kinds = dict(zip(call.rest[::2], call.rest[1::2], strict=True))
    free = {prediction: kind for prediction, kind in kinds.items() if model.owners.get(prediction, me) == me}
    sure = [p for p, kind in free.items() if kind == "marked"] or [p for p, kind in free.items() if kind == "named"]
    if not sure and (not free or len(free) > 1 or "doubtful" in free.values() or _has_twin(model, call, name, job)):
        return ["ambiguous"] if free else ["none"]
    own = sure or list(free)
    if len(own) > 1:
        return ["ambiguous"]
    job.update(state="running", prediction=own[0], overdue_at=now)
    model.owners[own[0]] = me
    model.put_slot(name, now)
    model.counters["settled" if kinds[own[0]] == "named" else "adopted"] += 1
    unknown.account_for(model, name, attempt)
    settle_pause(model, job, now, is_accepted=True)
    return ["adopted", own[0], outbox.begin(model, name, now)]


def _has_twin(model: Model, call: Call, name: str, job: Job) -> bool:
    """Whether another job's submission, which may be over, could have made what this one could."""
    away = [model.jobs[row.id] for row in model.slots() if row.id != name and row.id in model.jobs]
    if any(other["likeness"] == job["likeness"] and other["state"] == "submitting" for other in away):
        return True
    for entry, at in model.lost.items():
        likeness, _, attempt = entry.partition("|")
        is_near = at < 0 and abs(-at - job["submitted_at"]) <= call.number("twin_reach")
        if likeness == job["likeness"] and is_near and attempt.partition(":")[0] != name:
            return True
    return False
