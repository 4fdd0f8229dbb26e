"""The expected effect of the verbs of one attempt: record, finish, fail, snooze, rescue, check, progress, adopt."""

from typing import Any

from shared.jobqueue.constants import ALARMS, DELAYED, READY, SEATED
from tests.model import outbox
from tests.model.call import Call, hash_of
from tests.model.deployment import provider_of
from tests.model.state import Job, Model, user_of
from tests.model.users import count_failure, end, release, reseat

MAX_RESCUES = 3


def record(model: Model, call: Call, reply: Any) -> Any:
    name, attempt, prediction, now = call["id"], call.number("attempt"), call["prediction"], call.number("now")
    job = model.jobs.get(name)
    model.index.pop(call["probe"], None)
    if not job:
        return ["stale"]
    asked = job.get("cancel_requested", "0")
    if job.get("prediction") == prediction:
        return ["recorded", asked] if (job["attempt"], job["state"]) == (attempt, "running") else ["already"]
    model.owners[prediction] = f"{name}:{attempt}:"
    if (job["attempt"], job["state"]) != (attempt, "submitting"):
        return ["stale"]
    check_at = now + call.number("first_check")
    job.update(state="running", prediction=prediction, overdue_at=check_at)
    model.put(name, job["lane"], check_at // 1000 * 1000)
    return ["recorded", asked, outbox.begin(model, name, now)]


def finish(model: Model, call: Call, reply: Any) -> Any:
    name, attempt, prediction, now = call["id"], call.number("attempt"), call["prediction"], call.number("now")
    job, outcome = model.jobs.get(name), call["outcome"]
    if not job:
        return ["unknown"]
    recorded = job.get("prediction", "")
    if job["state"] == "done":
        same = recorded == prediction
        return ["already", job["outcome"], model.waiting(now), job.get("other", "")] if same else ["stale"]
    is_other = attempt == job["attempt"] and recorded not in ("", prediction)
    at_provider = attempt == job["attempt"] and job["state"] in ("submitting", "running")
    if attempt > job["attempt"] or is_other or (outcome != "completed" and not at_provider):
        return ["stale"]
    changes: Job = {"prediction": prediction, "finished_attempt": attempt}
    if outcome == "canceled" and job.get("cancel_requested") != "1":
        outcome = "failed"
        changes["error_code"] = "expired"
    other = recorded if recorded != prediction else ""
    if "files" in (said := hash_of(call.rest)):
        changes["files"] = said["files"]
    store_until = now + call.number("store_lease") if outcome == "completed" and call["store_lease"] else None
    follow = end(model, name, outcome, now, store_until, **changes, **({"other": other} if other else {}))
    if recorded != prediction:
        model.owners[prediction] = f"{name}:{attempt}:"
    return ["finished", outcome, model.waiting(now), other, follow]


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
        return ["stale"]
    if prediction and not recorded:
        model.owners[prediction] = f"{name}:{attempt}:"
    used, canceled = attempt - job.get("snoozes", 0), job.get("cancel_requested") == "1"
    before = job.get("history", ())
    closed: Job = {"closed_attempt": attempt, "error_code": call["code"], "history": (*before, call["code"])}
    may_help = call["code"] not in before if call["once"] == "1" else retryable
    if may_help and used < job["max_attempts"] and not canceled:
        wait = job["retry_delay"] * 2 ** (used - 1) * (1 + float(call["jitter"]) / 2)
        score = max(0, job["score"] - model.deployment.bonus)
        due_at = int(f"{now + wait:.0f}")
        job.update(closed, state="delayed", due_at=due_at, prediction="", progress="", snooze_code="", score=score)
        model.put(name, DELAYED, due_at)
        _wait_on(model, name, job, now)
        release(model, job, now)
        if model.deployment.bonus:
            model.seat(user_of(job), name, SEATED + score)
        model.counters["retried"] += 1
        answer = ["delayed", str(due_at)]
    else:
        changes: Job = {"prediction": prediction} if prediction else {}
        follow = end(model, name, "canceled" if canceled else "failed", now, **closed, **changes)
        model.dead |= {name} if retryable and not canceled else set()
        answer = ["finished", job["outcome"], follow]
    if call["circuit_failures"] != "0" and job.get("tripped") != attempt:
        count_failure(model, job, now)
    return answer


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
    name, attempt, due_at = call["id"], call.number("attempt"), call.number("now") + call.number("delay")
    job = model.jobs.get(name)
    if not job:
        return ["stale"]
    if job.get("closed_attempt") == attempt:
        return ["queued"] if job["state"] in ("queued", "backlog") else _closed(job)
    if (job["attempt"], job["state"]) != (attempt, "submitting") or call["token"] not in ("", job["token"]):
        return ["stale"]
    gate, follow = f"~p{provider_of(job['lane'])}", ""
    if job.get("cancel_requested") == "1":
        follow = end(model, name, "canceled", call.number("now"), closed_attempt=attempt)
    if call["pause"] == "1":
        held_until = model.gate(gate) or 0
        model.set_gate(gate, due_at if held_until == job["lease_until"] else max(held_until, due_at))
    if job["state"] == "done":
        return ["finished", "canceled", follow]
    model.put(f"!{name}", ALARMS, job["expire_at"])
    job.update(snoozes=job.get("snoozes", 0) + 1, snooze_code=call["code"], closed_attempt=attempt)
    model.counters["snoozed"] += 1
    if call["pause"] == "1":
        job["state"] = "queued"
        model.put(name, READY + job["lane"], job["score"])
        model.account(name)
        reseat(model, user_of(job))
        return ["queued"]
    job.update(state="delayed", due_at=due_at)
    model.put(name, DELAYED, due_at)
    model.account(name)
    release(model, job, call.number("now"))
    return ["delayed", str(due_at)]


def rescue(model: Model, call: Call, reply: Any) -> Any:
    name, attempt, now = call["id"], call.number("attempt"), call.number("now")
    job = model.jobs.get(name)
    if not job or job["attempt"] != attempt:
        return ["stale"]
    if job.get("closed_attempt") == attempt and job["state"] in ("done", "queued", "backlog"):
        return ["finished", job["outcome"]] if job["state"] == "done" else ["requeued"]
    if job["state"] != "submitting":
        return ["stale"]
    if call.number("lease_now") < job["adopt_until"]:
        return ["waiting", str(job["adopt_until"])]
    model.counters["rescued"] += 1
    rescues, used = job.get("rescues", 0) + 1, attempt - job.get("snoozes", 0)
    closed: Job = {"closed_attempt": attempt, "rescues": rescues}
    if job.get("cancel_requested") == "1":
        follow = end(model, name, "canceled", now, **closed)
    elif rescues >= MAX_RESCUES or used >= job["max_attempts"]:
        follow = end(model, name, "failed", now, **closed, error_code="submission_unknown")
        model.dead.add(name)
    else:
        job.update(closed, state="queued")
        model.put(name, READY + job["lane"], job["score"])
        _wait_on(model, name, job, now)
        reseat(model, user_of(job))
        return ["requeued"]
    return ["finished", job["outcome"], follow]


def trip(model: Model, call: Call, reply: Any) -> Any:
    job, attempt = model.jobs.get(call.keys["job"].partition(":j:")[2]), call.number("attempt")
    if not job or (job["attempt"], job["state"]) != (attempt, "submitting") or job.get("tripped") == attempt:
        return ["stale"]
    job["tripped"] = attempt
    count_failure(model, job, call.number("now"))
    return ["counted"]


def check(model: Model, call: Call, reply: Any) -> Any:
    name, now = call["id"], call.number("now")
    job = model.jobs.get(name)
    if not job or job["state"] != "running" or now < job["overdue_at"]:
        return ["wait"]
    if now < job.get("checked_at", 0) + call.number("gap"):
        return ["wait"]
    job["checked_at"] = now
    model.put(name, job["lane"], (now + model.deployment.check) // 1000 * 1000)
    said = [job["attempt"], job["lane"], "running", job["prediction"], job["submitted_at"]]
    return ["ask", name, *(str(part) for part in (*said, job.get("cancel_requested", "0"), job["deadline"])), ""]


def progress(model: Model, call: Call, reply: Any) -> Any:
    job = model.jobs.get(call.keys["job"].partition(":j:")[2])
    asked = (call.number("attempt"), "running", call["prediction"])
    if not job or (job["attempt"], job["state"], job.get("prediction")) != asked:
        return ["stale"]
    job["progress"] = call["progress"]
    return ["noted"]


def adopt(model: Model, call: Call, reply: Any) -> Any:
    name, attempt, now = call["id"], call.number("attempt"), call.number("now")
    job = model.jobs.get(name)
    if not job or job["attempt"] != attempt or job["state"] not in ("submitting", "running"):
        return ["stale"]
    if job["state"] == "running":
        return ["adopted", job["prediction"]]
    away = [model.jobs[row.id] for row in model.slots() if row.id != name and row.id in model.jobs]
    alike = [other for other in away if (other["model"], other["input"]) == (job["model"], job["input"])]
    if any(twin["state"] == "submitting" for twin in alike):
        return ["ambiguous"]
    # What another attempt has had is not this one's, also when it was an attempt of the same job.
    me = f"{name}:{attempt}:"
    free = [prediction for prediction in call.rest if model.owners.get(prediction, me) == me]
    if len(free) != 1:
        return ["ambiguous"] if free else ["none"]
    job.update(state="running", prediction=free[0], overdue_at=now)
    model.owners[free[0]] = me
    model.put(name, job["lane"], now)
    model.counters["adopted"] += 1
    return ["adopted", free[0], outbox.begin(model, name, now)]
