"""Submissions of unknown outcome, as the model keeps them."""

from tests.model.state import Job, Model, user_of
from tests.model.users import promote


def is_lost(job: Job) -> bool:
    return bool(job["state"] == "submitting" and job.get("lost") == job["attempt"])


def has_left_seat(job: Job | dict[str, str]) -> bool:
    return job.get("left_seat") == "1"


def member(name: str, job: Job, attempt: int) -> str:
    return f"{job['likeness']}|{name}:{attempt}:"


def note(model: Model, name: str) -> None:
    """The outcome is unknown from now on; a cancelled job needs its seat no longer."""
    job = model.jobs[name]
    job["lost"] = job["attempt"]
    model.lost[member(name, job, job["attempt"])] = job["submitted_at"]
    model.counters["unknown"] += 1
    if job.get("cancel_requested") == "1":
        leave_seat(model, name)


def leave_seat(model: Model, name: str) -> None:
    """It needs no seat, unless the user has a slot without one already."""
    job = model.jobs[name]
    if has_left_seat(job) or _seatless(model, job) > 0:
        return
    job["left_seat"] = "1"
    model.unseat(user_of(job), name)
    if job["heirs"] == "1":
        promote(model, user_of(job))


def _seatless(model: Model, job: Job) -> int:
    slots = model.slots_of_user(int(job["share"]))
    admitted = [model.jobs[name]["state"] for name, _ in model.user(user_of(job)).admitted if name in model.jobs]
    return slots - sum(state in ("submitting", "running") for state in admitted) if slots > 1 else 0


def settle(model: Model, name: str, how: str) -> None:
    """The outcome is known; called before the job moves on."""
    job = model.jobs[name]
    if is_lost(job):
        model.lost.pop(member(name, job, job["attempt"]), None)
        model.counters[how] += 1


def give_up(model: Model, name: str, now: int, kept_for: int) -> None:
    """The outcome will not be known: the submission stays a possible maker of predictions for ``kept_for`` s."""
    job, oldest = model.jobs[name], now - kept_for * 1000
    for old in [old for old, at in model.lost.items() if -oldest < at <= oldest]:
        del model.lost[old]
    model.lost[member(name, job, job["attempt"])] = -job["submitted_at"]


def account_for(model: Model, name: str, attempt: int) -> None:
    model.lost.pop(member(name, model.jobs[name], attempt), None)
