"""A user's seats, and the effects of an end."""

from typing import Any

from shared.jobqueue.constants import BACKLOG, READY, SEATED
from tests.model import outbox
from tests.model.circuits import circuits_of, runs_of
from tests.model.refusals import settle
from tests.model.state import Job, Model, user_of


def end(
    model: Model,
    name: str,
    outcome: str,
    now: int,
    store_until: int | None = None,
    is_accepted: bool = False,
    **changes: Any,
) -> str:
    """Ends a job: it leaves the index, with its alarm, and its user's set, where the next one takes its seat.

    Returns the caller's follow-up: to notify the owner, or first to store the files until a deadline.
    """
    job = model.jobs[name]
    user, was = user_of(job), job["state"]
    model.pop(name)
    model.unseat(user, name)
    job.update(state="done", outcome=outcome, **changes)
    if store_until is None:
        follow = outbox.add_event(model, name, outcome, now)
    else:
        follow = outbox.store_later(model, name, store_until)
    model.counters[outcome] += 1
    if outcome == "completed":
        for gate in circuits_of(job):
            model.index.pop(gate, None)
        if "submitted_at" in job:
            runs = model.runs.setdefault(runs_of(job), {})
            runs.update({"since": now, "opened": 0, "open_until": 0, "at": now})
            runs[f"r{now % 32}"] = max(0, now - job["submitted_at"])
    settle(model, job, now, is_accepted)
    if was in ("submitting", "running"):
        release_held(model, job)
    if job["heirs"] == "1" and was != "backlog":
        promote(model, user)
    return follow


def release_held(model: Model, job: Job) -> None:
    """Makes the best job ready that waits for a slot of its API key, after this one has left its own."""
    held = model.held.get(job["owner"], {}) if job.get("bounded") == "1" else {}
    for name in sorted(held, key=lambda name: (held[name], name))[:10]:
        del held[name]
        other = model.jobs.get(name, {})
        if (other.get("state"), other.get("snooze_code")) == ("delayed", "key_limit"):
            other["state"] = "queued"
            model.put(name, READY + other["lane"], other["score"])
            return


def promote(model: Model, user: str) -> None:
    """Makes waiting jobs ready, best first, up to the user's concurrency."""
    known = model.user(user)
    free = known.cap - len(known.admitted)
    for name, _ in known.waiting:
        if free <= 0:
            break
        job = model.jobs.get(name)
        if job is None:
            model.unseat(user, name)
            model.drop([name])
        elif job["state"] == "backlog":
            job["state"] = "queued"
            model.put(name, READY + job["lane"], job["score"])
            model.seat(user, name, SEATED + job["score"])
            free -= 1


def demote(model: Model, user: str, name: str, score: int) -> None:
    """Takes a ready job's seat."""
    model.jobs[name].update(state="backlog", heirs="1")
    model.put(name, BACKLOG, score)
    model.seat(user, name, score)


def reseat(model: Model, user: str) -> None:
    """Makes the user's best jobs ready, as far as those at a provider leave seats."""
    known = model.user(user)
    if len(known.admitted) <= known.cap and not known.waiting:
        return
    present = [name for name, _ in known.admitted if name in model.jobs]
    for name in present:
        model.jobs[name]["heirs"] = "1"
    ready = [(model.jobs[name]["score"], name) for name in present if model.jobs[name]["state"] == "queued"]
    admitted, best = len(known.admitted), known.waiting[0][1] if known.waiting else None
    for score, name in sorted(ready, reverse=True):
        if admitted <= known.cap and not (best is not None and best < score):
            break
        demote(model, user, name, score)
        admitted -= 1
    promote(model, user)


def waits(job: Job) -> bool:
    return job["state"] in ("queued", "delayed", "backlog")
