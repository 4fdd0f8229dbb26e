"""A user's seats, and the effects of an end."""

from typing import Any

from shared.jobqueue.constants import BACKLOG, BAND, READY, SEATED
from tests.model import outbox, spending
from tests.model.circuits import circuits_of, runs_of
from tests.model.deployment import provider_of, queue_of
from tests.model.refusals import settle
from tests.model.state import Job, Model, user_of

MAX_LOOKED = 20  # of a user's waiting jobs


def end(
    model: Model,
    name: str,
    outcome: str,
    now: int,
    store_until: int | None = None,
    is_accepted: bool = False,
    attempt: int | None = None,
    bill: str = "",
    **changes: Any,
) -> str:
    """Ends a job: it leaves the index, with its alarm, and its user's set, where the next one takes its seat.

    ``attempt`` is the one whose end it is, with its ``bill``; None if none was under way.
    Returns the caller's follow-up: to notify the owner, or first to store the files until a deadline.
    """
    job = model.jobs[name]
    user, was, before = user_of(job), job["state"], dict(job)
    changes |= spending.charge(model, name, now, attempt, bill)
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
    _refund(model, job)
    # The current attempt's probe goes on if an earlier attempt has succeeded.
    if outcome != "completed" or is_accepted:
        settle(model, job, now, is_accepted)
    _pass_slot_on(model, name, before, now)
    if job["heirs"] == "1" and was != "backlog":
        if job.get("amid") == "1":
            yield_seats(model, user, now)
        promote(model, user)
    return follow


def _pass_slot_on(model: Model, name: str, job: Job, now: int) -> None:
    """Makes another held job of its key ready if the ended one had a slot, or was ready for one."""
    if is_held(job):
        model.held.get(job["owner"], {}).pop(name, None)
    if job["state"] in ("submitting", "running"):
        release_held(model, job, now)
    if is_released(job):
        release_next(model, job["owner"], now)


def _refund(model: Model, job: Job) -> None:
    """Gives back what a job cost its user, unless it was ever started."""
    members = model.sets.get(user_of(job), {})
    if "cost" in job and job["attempt"] == 0 and "~" in members:
        members["~"] -= int(job["cost"])


def release_held(model: Model, job: Job, now: int) -> None:
    """Makes a job ready that waits for a slot of its API key, after this one has left its own."""
    if job.get("bounded") == "1":
        release_next(model, job["owner"], now)


def is_held(job: Job) -> bool:
    """Whether it waits for a slot of its key."""
    return (job.get("state"), job.get("snooze_code")) == ("delayed", "key_limit")


def is_released(job: Job) -> bool:
    """Whether it was held, and is ready for a free slot of its key."""
    return bool(job["state"] == "queued" and job.get("snooze_code") == "key_limit")


def release_next(model: Model, owner: str, now: int) -> None:
    """Makes the best held job of a key ready that could start, and those before it that could not."""
    held = model.held.get(owner, {})
    for name in sorted(held, key=lambda name: (held[name], name))[:10]:
        del held[name]
        job = model.jobs.get(name, {})
        if is_held(job):
            is_able = not is_idle(model, job, now)
            job.update(state="queued", snooze_code="key_limit" if is_able else "")
            model.put(name, READY + job["lane"], job["score"])
            if is_able:
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
            _take_seat(model, user, name)
            free -= 1


def _take_seat(model: Model, user: str, name: str) -> None:
    job = model.jobs[name]
    job["state"] = "queued"
    model.put(name, READY + job["lane"], job["score"])
    model.seat(user, name, SEATED + job["score"])


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


def is_shut(model: Model, lane: int, name: str, share: str, now: int) -> bool:
    """Whether the gates keep a user's jobs of a lane and a model from starting."""
    provider = provider_of(lane)
    if 0 in (model.gate(f"=q{queue_of(lane)}"), model.gate(f"=p{provider}")):
        return True
    circuit = f"~o{provider}:{name.rpartition(':')[2]}"
    return any((model.gate(gate) or 0) > now for gate in (f"~p{provider}", circuit, f"{circuit}|{share}"))


def is_any_shut(model: Model, now: int, share: str | None = None) -> bool:
    """Whether jobs may be kept from starting: those of the user with this share, or of any user."""
    gates = {row.id: model.index[row.id] + BAND for row in model.rows() if row.band < 0}
    if any(gate[:2] in ("=q", "=p") and value == 0 for gate, value in gates.items()):
        return True
    lasting = [gate.partition("|")[2] for gate, until in gates.items() if gate[:2] in ("~p", "~o") and until > now]
    return any(share in (None, owner) or not owner for owner in lasting)


def yield_seats(model: Model, user: str, now: int) -> None:
    """Gives seats to the user's waiting jobs that could start: free ones, then those of jobs that cannot."""
    known = model.user(user)
    if not known.waiting or not is_any_shut(model, now):
        return
    free = known.cap - len(known.admitted)
    idle = idle_of(model, known.admitted, now) if free >= 0 else []
    pages = -(-len(known.waiting) // MAX_LOOKED)
    first = MAX_LOOKED * (now % pages)
    for name, _ in known.waiting[first : first + MAX_LOOKED]:
        job = model.jobs.get(name)
        if job is None or job["state"] != "backlog" or is_idle(model, job, now):
            continue
        if free <= 0 and not idle:
            break
        if free <= 0:
            score, other = idle.pop()
            demote(model, user, other, score)
        else:
            free -= 1
        _take_seat(model, user, name)


def is_idle(model: Model, job: Job, now: int) -> bool:
    return is_shut(model, job["lane"], job["model"], job["share"], now)


def idle_of(model: Model, admitted: list[tuple[str, int]], now: int) -> list[tuple[int, str]]:
    """The jobs with a seat that cannot start, the worst last; all with a seat learn that others may wait."""
    idle = []
    for name in (name for name, _ in admitted if name in model.jobs):
        job = model.jobs[name]
        job["heirs"] = "1"
        was_put_aside = job.get("snooze_code", "") not in ("", "key_limit") and job.get("faults", 0) == 0
        is_aside = job["state"] == "delayed" and was_put_aside
        if (job["state"] == "queued" or is_aside) and is_idle(model, job, now):
            idle.append((job["score"], name))
    return sorted(idle)


def waits(job: Job) -> bool:
    return job["state"] in ("queued", "delayed", "backlog")
