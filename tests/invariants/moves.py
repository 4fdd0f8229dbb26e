"""I2, I3: states move along MOVES in shared/jobqueue/state.py, and every move agrees with the provider."""

from collections import Counter
from collections.abc import Iterator, Mapping

from shared.jobqueue.state import may_become
from tests.invariants.state import AWAY, JobFields, Made, State, circuit, own_circuit

FINAL_FIELDS = ("state", "outcome", "output", "error_code", "prediction", "attempt", "ended_at")


def finality(before: State, after: State) -> Iterator[str]:
    ended = Counter(job["outcome"] for job in after.jobs.values() if job["state"] == "done")
    ended.update(after.deleted.values())
    for outcome in ("completed", "failed", "canceled"):
        if int(after.stats.get(outcome, 0)) != ended[outcome]:
            yield f"I2 {ended[outcome]} jobs are {outcome} but {after.stats.get(outcome, 0)} are counted"
    for job_id in before.jobs.keys() - after.jobs.keys() - after.deleted_ids:
        yield f"I1 {job_id} has vanished"
    yield from _moves(before, after)


def _moves(before: State, after: State) -> Iterator[str]:
    for job_id, job in after.jobs.items():
        known = before.jobs.get(job_id, {})
        if known is job:
            continue
        old, new = known.get("state", ""), job["state"]
        if old != new and not may_become(old, new):
            yield f"I2 {job_id} went from {old} to {new}"
        yield from _kept(job_id, known, job)
        grown = int(job["attempt"]) - int(known.get("attempt", 0))
        if grown != (1 if new == "submitting" and old != new else 0):
            yield f"I3 {job_id} moved from {old} to {new}, and its attempt grew by {grown}"
        if int(job["attempt"]) - int(job.get("snoozes", 0)) > int(job["max_attempts"]):
            yield f"I4 {job_id} is at attempt {job['attempt']} of {job['max_attempts']}"


def ends_kept(before: State, after: State) -> Iterator[str]:
    """No end changes."""
    for job_id, job in after.jobs.items():
        yield from _kept(job_id, before.jobs.get(job_id, {}), job)


def _kept(job_id: str, known: JobFields, job: JobFields) -> Iterator[str]:
    if known.get("state") == "done" and any(known.get(name) != job.get(name) for name in FINAL_FIELDS):
        yield f"I2 {job_id} had ended, but was changed"


def fencing(before: State, after: State, made: Mapping[str, Made], now: int) -> Iterator[str]:
    for prediction, owner in after.owners.items():
        whose = made[prediction]
        if owner != (truth := f"{whose.job}:{whose.attempt}:{whose.incarnation}"):
            yield f"I3 {prediction} was made for {truth}, but {owner} owns it"
    for job_id, job in after.jobs.items():
        known = before.jobs.get(job_id, {})
        if known.get("state") == job["state"]:
            continue
        conflict = _conflict_of_hold(known, job, before, after)
        if conflict is None:
            conflict = _conflict(job_id, known, job, after, made, now)
        if conflict:
            yield f"I3 {job_id} of attempt {job['attempt']} became {job['state']} {job.get('outcome', '')}: {conflict}"


def _conflict(
    job_id: str, known: JobFields, job: JobFields, after: State, made: Mapping[str, Made], now: int
) -> str:  # fmt: skip
    """Returns what the provider or the clock says against this move; '' if nothing."""
    attempt, was = int(job["attempt"]), known.get("state", "")
    mine = next((p for p in made.values() if p.is_of(job_id, job) and p.attempt == attempt), None)
    is_snoozed = job.get("snoozes", "0") != known.get("snoozes", "0")
    match was, job["state"]:
        case _, "running" if mine is None or job["prediction"] != mine.id:
            return f"its prediction is {mine.id if mine else 'not made'} not {job['prediction']}"
        case "submitting", "queued" | "delayed" if is_snoozed:
            return "its prediction exists" if mine else ""
        case "submitting", "queued" if now < int(known["adopt_until"]):
            return "its adoption window is open"
        case "queued", "delayed":
            return "" if {circuit(job), own_circuit(job)} & after.gates.keys() else "no circuit is open"
        case (("submitting" | "running"), "delayed") if not _has_failed(known, job, mine):
            return f"its prediction is {mine.status if mine else 'not made'}"
        case "delayed", "submitting" | "queued" if now < int(known["due_at"]):
            return "it is not due"
        case _, "done":
            return _conflict_of_end(job_id, known, job, mine, made, now)
    return ""


def _has_failed(known: JobFields, job: JobFields, mine: Made | None) -> bool:
    if mine is not None and mine.status == "failed":
        return True
    return known["state"] == "submitting" and _is_missing(job, mine)


def _is_missing(job: JobFields, mine: Made | None) -> bool:
    """Whether two lists rightly did not have the attempt's prediction: none was made, or it was listed later."""
    attempt, _, missed_at = job.get("missed", "").partition(":")
    return attempt == job["attempt"] and (mine is None or mine.is_zombie or mine.listed_at > int(missed_at))


def _conflict_of_end(
    job_id: str, known: JobFields, job: JobFields, mine: Made | None, made: Mapping[str, Made], now: int
) -> str:
    status = mine.status if mine else "not made"
    was_away = known["state"] in AWAY
    is_lost = known["state"] == "submitting"
    is_over = is_lost and (now >= int(known["adopt_until"]) or _is_missing(job, mine))
    match job["outcome"], job.get("error_code", ""):
        case "completed", _:
            winner = made.get(job["prediction"])
            is_true = (
                winner and winner.is_of(job_id, job) and winner.status == "completed" and winner.id in job["output"]
            )
            return "" if is_true and winner and str(winner.attempt) == job["finished_attempt"] else "no run made it"
        case "canceled", _ if not was_away:
            return ""
        case "canceled", _:
            return "" if known.get("cancel_requested") and (status != "running" or is_over) else f"it is {status}"
        case "failed", "submission_unknown" | "provider_down" if is_lost:
            return "" if is_over or status == "failed" else "its adoption window is open"
        case _, "expired" if not was_away:
            return "" if now >= int(known["expire_at"]) else "it has time to wait"
        case _, code:
            return _conflict_of_failure(code, status) if was_away else "it was not at the provider"


def _conflict_of_failure(code: str, status: str) -> str:
    expected = {"provider_refused": "not made", "billing": "not made", "expired": "canceled"}.get(code, "failed")
    return "" if status == expected else f"its prediction is {status}"


def _conflict_of_hold(known: JobFields, job: JobFields, before: State, after: State) -> str | None:
    """Returns what the slots of the job's API key say against its hold or release; None if it is neither.

    A held job is released when another job of its key leaves a slot or will not use it, or when it is due.
    """
    owner, move = job["owner"], (known.get("state"), job["state"])
    if move == ("queued", "delayed") and job.get("snooze_code") == "key_limit":
        return "" if _slots_of(after, owner) else "its key has no slot"
    if move != ("delayed", "queued") or known.get("snooze_code") != "key_limit":
        return None
    is_left = _slots_of(before, owner) > _slots_of(after, owner)
    return "" if is_left or _released_of(before, owner) - _released_of(after, owner) else None


def _slots_of(state: State, owner: str) -> int:
    """Returns how many jobs of an API key are at a provider."""
    return sum(job["owner"] == owner and job["state"] in AWAY for job in state.jobs.values())


def _released_of(state: State, owner: str) -> set[str]:
    """Returns the jobs of an API key that were held, and are ready for a free slot of it."""
    jobs = state.jobs.items()
    return {
        i for i, job in jobs if (job["owner"], job["state"], job.get("snooze_code")) == (owner, "queued", "key_limit")
    }
