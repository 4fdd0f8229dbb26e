"""I1, I5, I8, I10: each live job is in its one place in the index, in its user's set and in its batch."""

from collections.abc import Iterator

from shared.jobqueue.constants import BACKLOG, DELAYED, READY
from tests.invariants.state import (
    AWAY,
    SLACK,
    SLOT_SHARE,
    WAITING,
    JobFields,
    Limits,
    Seats,
    State,
    has_left_seat,
    lane,
    user_of,
)

NOWHERE = (-1, -1.0)


def conservation(state: State) -> Iterator[str]:
    for job_id in (state.places.keys() | state.alarms.keys() | state.shares.keys()) - state.jobs.keys():
        yield f"I1 the index has {job_id}, which does not exist"
    for job_id, job in state.jobs.items():
        band, number = state.places.get(job_id, NOWHERE)
        expected_band, expected = _place(job)
        if band != expected_band:
            yield f"I1 {job_id} is {job['state']} but in band {band}, not {expected_band}"
        elif expected is not None and number != expected:
            yield f"I1 {job_id} is {job['state']} but at {number:.0f}, not {expected}"
        yield from _alarm(state, job_id, job)
        yield from _share(state, job_id, job)


def _place(job: JobFields) -> tuple[int, int | None]:
    """Returns a job's band, -1 if it has none, and its number there, None if no field says it."""
    match job["state"]:
        case "submitting" | "running":
            return lane(job), None
        case "queued":
            return READY + lane(job), int(job["score"])
        case "delayed":
            return DELAYED, int(job["due_at"])
        case "backlog":
            return BACKLOG, int(job["score"])
        case _:
            return NOWHERE[0], None


def _alarm(state: State, job_id: str, job: JobFields) -> Iterator[str]:
    alarm = state.alarms.get(job_id)
    if job["state"] == "done" and alarm is not None:
        yield f"I1 {job_id} has ended, but still has an alarm"
    # Exception: an alarm that fired while its job was at the provider is gone until the job waits again.
    is_gone = alarm is None and job["state"] in AWAY
    if job["state"] != "done" and alarm != int(job["expire_at"]) and not is_gone:
        yield f"I10 {job_id} expires at {job['expire_at']} but its alarm is {alarm}"
    entry = f"{user_of(job)}|{job_id}"
    if int(job["created_at"]) not in (state.history.get(entry), state.archived.get(entry)):
        yield f"I1 {job_id} is neither in the history nor in the archive of its user"


def _share(state: State, job_id: str, job: JobFields) -> Iterator[str]:
    """What is counted for API keys and users is what there is: a share for each live job, by where the job is."""
    expected = None if job["state"] == "done" else int(job["share"]) + SLOT_SHARE * (job["state"] in AWAY)
    if state.shares.get(job_id) != expected:
        yield f"I5 {job_id} is {job['state']} and counts as {state.shares.get(job_id)}, not {expected}"


def losses(state: State) -> Iterator[str]:
    for key in state.unknown_keys:
        yield f"I1 the key {key} belongs to no job, user or batch"
    for counter in ("missing", "rehomed"):
        if counter in state.stats:
            yield f"I1 {state.stats[counter]} jobs are {counter}"


def seats(before: State, after: State, limits: Limits) -> Iterator[str]:
    """I5 of users: which jobs have a seat, and which wait in the backlog.

    Exception: a lowered limit takes no seat from a job that is at a provider or waits for a retry. So a user may have
    more seats than the cap, but gets no further seat then.
    """
    live: dict[str, list[str]] = {}
    for job_id in after.live:
        if not has_left_seat(after.jobs[job_id]):
            live.setdefault(user_of(after.jobs[job_id]), []).append(job_id)
    for user in live.keys() | after.users.keys():
        held, theirs = after.seats.get(user, Seats()), live.get(user, [])
        yield from _held(after, user, held, theirs)
        admitted = {job_id for job_id in theirs if after.jobs[job_id]["state"] != "backlog"}
        cap, waiting = limits.cap(held), len(theirs) - len(admitted)
        new = {job_id for job_id in admitted if before.jobs.get(job_id, {}).get("state", "backlog") == "backlog"}
        if len(admitted) > cap and new:
            yield f"I5 {user} has {len(admitted)} seats of {cap}, but {sorted(new)} got one"
        if waiting and len(admitted) < cap:
            yield f"I5 {user} has {len(admitted)} seats of {cap}, but {waiting} jobs wait in the backlog"
        if limits.cap(before.seats.get(user)) > cap < len(admitted):
            ready = [job_id for job_id in admitted if after.jobs[job_id]["state"] == "queued"]
            if ready:
                yield f"I5 {user} was given {cap} seats, but {sorted(ready)} kept theirs"


def _held(state: State, user: str, held: Seats, live: list[str]) -> Iterator[str]:
    """A user's set has their live jobs and no others, by seat or backlog, and for each batch its next job's score."""
    jobs = state.jobs
    scores = {job_id: float(jobs[job_id]["score"]) for job_id in live}
    admitted = {job_id: score for job_id, score in scores.items() if jobs[job_id]["state"] != "backlog"}
    waiting = {job_id: score for job_id, score in scores.items() if job_id not in admitted}
    singles = {job_id: score for job_id, score in waiting.items() if "batch" not in jobs[job_id]}
    if held.admitted != admitted:
        yield f"I5 {user} has {admitted} admitted, but their set {held.admitted}"
    if held.waiting != singles:
        yield f"I5 {user} has {singles} in the backlog, but their set {held.waiting}"
    yield from _markers(state, user, held, waiting)


def _markers(state: State, user: str, held: Seats, waiting: dict[str, float]) -> Iterator[str]:
    """A user's set has each batch with the score of its next job in the backlog, or as spent if none is left.

    Exception: the next job may have been cancelled or expired in the backlog. The batch keeps that job's score until
    the next promotion. While all seats are taken, no decision uses it before.
    """
    first: dict[str, float | None] = {}
    for job_id in state.of_user(user):
        if batch := state.jobs[job_id].get("batch"):
            scores = [score for other, score in waiting.items() if state.jobs[other].get("batch") == batch]
            first[batch] = min(scores, default=None)
    if held.batches.keys() != first.keys():
        yield f"I5 {user} has the batches {sorted(first)}, but their set {sorted(held.batches)}"
    for batch in held.batches.keys() & first.keys():
        place, score = held.batches[batch], first[batch]
        if score is not None and (place is None or place > score):
            yield f"I5 the next job of {batch} has the score {score:.0f}, but the set of {user} says {place}"


def batches(state: State) -> Iterator[str]:
    """A batch's queue has its live jobs, its hash the ends of all others. The batch ends with its last job."""
    for batch, fields in state.batches.items():
        theirs = {job_id: job for job_id, job in state.jobs.items() if job.get("batch") == batch}
        live = {job_id: job for job_id, job in theirs.items() if job["state"] != "done"}
        queue = {job_id: float(job["score"]) if job["state"] == "backlog" else -1.0 for job_id, job in live.items()}
        if (queued := state.batch_queues.get(batch, {})) != queue:
            yield f"I5 {batch} has the live jobs {queue}, but its queue has {queued}"
        ends = {f"s{job['number']}": job["outcome"] for job_id, job in theirs.items() if _counts(fields, job_id, job)}
        recorded = {name: value for name, value in fields.items() if name[0] == "s" and name[1:].isdigit()}
        if recorded != ends:
            yield f"I5 {batch} has the ends {ends}, but its hash has {recorded}"
        is_strict = fields.get("policy") == "all_or_nothing"
        is_void = "cancel_token" in fields or (is_strict and "failed" in recorded.values())
        kept = [job_id for job_id, job in live.items() if job.get("cancel_requested") != "1"]
        if is_void and kept:
            yield f"I2 {batch} is cancelled or has failed, but keeps {sorted(kept)}"
        if ("ended_at" in fields) == bool(live) or ("ended_at" in fields) != (batch in state.expiring):
            expires = "expires" if batch in state.expiring else "has no TTL"
            yield f"I8 {batch} has {len(live)} live jobs, ended at {fields.get('ended_at')}, and {expires}"
    for batch in state.batch_queues.keys() - state.batches.keys():
        yield f"I1 there is a queue of {batch}, which does not exist"


def _counts(batch: JobFields, job_id: str, job: JobFields) -> bool:
    """Whether a job's end is its batch's: the job is over, and no retry has taken its place."""
    return job["state"] == "done" and batch.get(f"i{job['number']}", job_id) == job_id


def lifetimes(state: State) -> Iterator[str]:
    for job_id, job in state.jobs.items():
        if (job_id in state.expiring) != (job["state"] == "done"):
            yield f"I8 {job_id} is {job['state']} but {'has' if job_id in state.expiring else 'lacks'} a time to live"
        if job["state"] in WAITING and job.get("cancel_requested") == "1":
            yield f"I2 {job_id} is to be cancelled, but waits"
    for job_id in state.dead:
        if "redriven_as" in state.jobs[job_id]:
            yield f"I2 {job_id} was redriven, but is a dead letter"


def unknowns(state: State) -> Iterator[str]:
    """What waits for its outcome is listed, and nothing else is."""
    lost = {f"{i}:{job['attempt']}" for i, job in state.jobs.items() if job["state"] == "submitting" and "lost" in job}
    waiting = {one for one in lost if state.jobs[one.rpartition(":")[0]]["lost"] == one.rpartition(":")[2]}
    if waiting != state.unknown:
        yield f"I10 {sorted(waiting)} wait for their outcome, and {sorted(state.unknown)} are listed"


def deadlines(state: State, now: int, limits: Limits) -> Iterator[str]:
    for job_id in state.slots:
        if (checked_at := state.places[job_id][1]) > now + limits.patience:
            yield f"I10 {job_id} is not checked for {(checked_at - now) / 1000:.0f} s"
        if state.jobs.get(job_id, {}).get("state") not in AWAY:
            yield f"I5 {job_id} has a slot but is not at a provider"
    for gate, until in state.gates.items():
        if gate[:2] in ("~p", "~o") and until > now + limits.max_gate + SLACK:
            yield f"I10 {gate} lasts for another {(until - now) / 1000:.0f} s"
