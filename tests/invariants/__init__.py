"""What must be true of the store after every single I/O, and at the end of every run, whatever went wrong on the way.

I1   conservation  an acknowledged job exists; a live job stands in the index where its state says, an ended one nowhere
I2   finality      states move along the table in shared/job.py; the end never changes and is counted exactly once
I3   fencing       what is written about an attempt is true of the provider's prediction for this very attempt
I4   spend         one creation an attempt, and no second one while the first may still come to something
I5   quota         a user's set holds his live jobs and no others; slots keep to their limits
I6   telling       (nothing is told to customers yet)
I7   authority     a webhook's URL carries the nonce of its job and attempt
I8   lifetimes     no live job has a time to live, every terminal one has
I9   secrecy       (tests/test_canaries.py)
I10  liveness      every slot has a time when somebody looks; after the faults every job ends within a computed time
I11  identity      a submit that is repeated with its key makes no second job
I12  egress        (no test of faults: hooks are not called yet)

``check`` is for after each I/O and costs some ten microseconds; ``final`` is for the end; ``spend`` for each creation.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from shared.providers.base import PredictionStatus
from shared.settings import Settings

BAND, READY, DELAYED = 1e14, 20, 40  # as in shared/jobqueue/prelude.lua
SLACK = 1000  # ms; deadlines in the index are whole seconds

MOVES: dict[str, set[str]] = {
    "": {"queued", "submitting"},
    "queued": {"submitting", "done"},
    "submitting": {"running", "delayed", "queued", "done"},
    "running": {"delayed", "done"},
    "delayed": {"queued", "submitting", "done"},
    "done": set(),
}
FINAL_FIELDS = ("state", "outcome", "output", "error_code", "prediction", "attempt", "ended_at")

JobFields = Mapping[str, str]


@dataclass
class State:
    """All that the store holds of the queue at one moment."""

    index: dict[str, float] = field(default_factory=dict)
    jobs: dict[str, dict[str, str]] = field(default_factory=dict)
    users: dict[str, dict[str, float]] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    stats: dict[str, str] = field(default_factory=dict)
    dead: dict[str, float] = field(default_factory=dict)
    expiring: set[str] = field(default_factory=set)  # jobs with a time to live
    strangers: list[str] = field(default_factory=list)  # keys that nobody documents

    @property
    def live(self) -> list[str]:
        return [job_id for job_id, job in self.jobs.items() if job["state"] != "done"]


@dataclass
class Made:
    """A prediction as the provider knows it: the truth that the store has to agree with."""

    id: str
    job: str
    attempt: int
    model: str
    input: dict[str, object]
    created_at: int  # ms
    status: PredictionStatus = "running"
    is_zombie: bool = False  # made by a process that was frozen on the way, after its attempt had been given up


@dataclass(frozen=True)
class Limits:
    """What the settings allow."""

    total: int
    queues: tuple[int, ...]
    attempts: int
    patience: int  # ms; the longest time until somebody looks at a slot

    @classmethod
    def of(cls, s: Settings) -> "Limits":
        patience = max(s.lease, s.check_interval, s.first_check_after)
        queues = tuple(queue.concurrency for queue in s.queue_list)
        return cls(s.max_concurrent_tasks, queues, 1 + s.queue_max_retries, round(patience * 1000) + SLACK)


def check(before: State, after: State, made: Mapping[str, Made], now: int, limits: Limits) -> list[str]:
    """Everything that is wrong after an I/O; ``before`` is what the check before this one saw, ``now`` true time."""
    return [
        *_conservation(after),
        *_losses(after),
        *_finality(before, after),
        *_fencing(before, after, made, now),
        *_quota(after, limits),
        *_lifetimes(after),
        *_deadlines(after, now, limits),
    ]


def _conservation(state: State) -> Iterator[str]:
    for job_id in state.index.keys() - state.jobs.keys():
        yield f"I1 the index has {job_id}, which does not exist"
    for job_id, job in state.jobs.items():
        if (score := state.index.get(job_id)) is None:
            if job["state"] != "done":
                yield f"I1 {job_id} is {job['state']} and the index has lost it"
        elif int(score // BAND) != _band(job):
            yield f"I1 {job_id} is {job['state']} and stands in band {int(score // BAND)}"


def _losses(state: State) -> Iterator[str]:
    for key in state.strangers:
        yield f"I1 the key {key} is nobody's"
    for counter in ("missing", "rehomed"):
        if counter in state.stats:
            yield f"I1 {state.stats[counter]} jobs are {counter}"


def _band(job: JobFields) -> int:
    """Where a job stands; -1 for one that must not stand anywhere."""
    number = int(job["queue_number"])
    at_provider = {"submitting": number, "running": number}
    return (at_provider | {"queued": READY + number, "delayed": DELAYED}).get(job["state"], -1)


def _finality(before: State, after: State) -> Iterator[str]:
    ended = Counter(job["outcome"] for job in after.jobs.values() if job["state"] == "done")
    for outcome in ("completed", "failed", "canceled"):
        if int(after.stats.get(outcome, 0)) != ended[outcome]:
            yield f"I2 {ended[outcome]} jobs are {outcome} and {after.stats.get(outcome, 0)} are counted"
    for job_id in before.jobs.keys() - after.jobs.keys():
        yield f"I1 {job_id} has vanished"
    for job_id, job in after.jobs.items():
        known = before.jobs.get(job_id, {})
        old, new = known.get("state", ""), job["state"]
        if old != new and new not in MOVES[old]:
            yield f"I2 {job_id} went from {old} to {new}"
        if old == "done" and any(known.get(name) != job.get(name) for name in FINAL_FIELDS):
            yield f"I2 {job_id} had ended and was changed"
        grown = int(job["attempt"]) - int(known.get("attempt", 0))
        if grown != (1 if new == "submitting" and old != new else 0):
            yield f"I3 {job_id}: going from {old} to {new} its attempt grew by {grown}"


def _fencing(before: State, after: State, made: Mapping[str, Made], now: int) -> Iterator[str]:
    for prediction, owner in after.owners.items():
        if owner != (truth := f"{made[prediction].job}:{made[prediction].attempt}"):
            yield f"I3 {prediction} was made for {truth} and {owner} owns it"
    for job_id, job in after.jobs.items():
        known = before.jobs.get(job_id, {})
        if known.get("state") != job["state"] and (lie := _lie(job_id, known, job, made, now)):
            yield f"I3 {job_id} of attempt {job['attempt']} became {job['state']} {job.get('outcome', '')}: {lie}"


def _lie(job_id: str, known: JobFields, job: JobFields, made: Mapping[str, Made], now: int) -> str:
    """What the provider or the clock says against this move; '' if nothing."""
    attempt = int(job["attempt"])
    mine = next((p for p in made.values() if p.job == job_id and p.attempt == attempt), None)
    match job["state"]:
        case "running" if mine is None or job["prediction"] != mine.id:
            return f"its prediction is {mine.id if mine else 'not made'} and not {job['prediction']}"
        case "queued" if known.get("state") == "submitting" and now < int(known["adopt_until"]):
            return "its adoption window is open"
        case "delayed" if job.get("snoozes", "0") != known.get("snoozes", "0"):
            return "its prediction exists" if mine else ""
        case "delayed" if mine is None or mine.status != "failed":
            return f"its prediction is {mine.status if mine else 'not made'}"
        case "submitting" | "queued" if known.get("state") == "delayed" and now < int(known["due_at"]):
            return "it is not due"
        case "done":
            return _lie_of_end(job_id, known, job, mine, made, now)
    return ""


def _lie_of_end(
    job_id: str, known: JobFields, job: JobFields, mine: Made | None, made: Mapping[str, Made], now: int
) -> str:
    status = mine.status if mine else "not made"
    was_away = known["state"] in ("submitting", "running")
    is_over = known["state"] == "submitting" and now >= int(known["adopt_until"])
    match job["outcome"], job.get("error_code", ""):
        case "completed", _:
            winner = made.get(job["prediction"])
            is_true = winner and winner.job == job_id and winner.status == "completed" and winner.id in job["output"]
            return "" if is_true and winner and str(winner.attempt) == job["finished_attempt"] else "nothing made it"
        case "canceled", _ if not was_away:
            return ""
        case "canceled", _:
            return "" if known.get("cancel_requested") and (status != "running" or is_over) else f"it is {status}"
        case "failed", "submission_unknown":
            return "" if is_over else "its adoption window is open"
        case "failed", "expired":
            return "" if status == "canceled" else f"its prediction is {status}"
        case _:
            return "" if status == "failed" else f"its prediction is {status}"


def _quota(state: State, limits: Limits) -> Iterator[str]:
    wanted: dict[str, set[str]] = {}
    for job_id in state.live:
        job = state.jobs[job_id]
        wanted.setdefault(f"{job['owner']}:{job['user']}", set()).add(job_id)
    if wanted != {user: set(held) for user, held in state.users.items() if held}:
        yield f"I5 live are {wanted} and the users' sets are {state.users}"
    slots = Counter(int(score // BAND) for score in state.index.values() if score < READY * BAND)
    if slots.total() > limits.total:
        yield f"I5 {slots.total()} slots are taken of {limits.total}"
    for number, taken in slots.items():
        if taken > limits.queues[number]:
            yield f"I5 {taken} slots of queue {number} are taken of {limits.queues[number]}"
    for job_id, job in state.jobs.items():
        if int(job["attempt"]) - int(job.get("snoozes", 0)) > limits.attempts:
            yield f"I4 {job_id} is at attempt {job['attempt']} of {limits.attempts}"


def _lifetimes(state: State) -> Iterator[str]:
    for job_id, job in state.jobs.items():
        if (job_id in state.expiring) != (job["state"] == "done"):
            yield f"I8 {job_id} is {job['state']} and {'has' if job_id in state.expiring else 'lacks'} a time to live"


def _deadlines(state: State, now: int, limits: Limits) -> Iterator[str]:
    for job_id, score in state.index.items():
        if score < READY * BAND and score % BAND > now + limits.patience:
            yield f"I10 nobody looks at {job_id} for {(score % BAND - now) / 1000:.0f} s"


Spending = Literal["fine", "zombie", "double"]


def spend(
    state: State, creation: Made, made: Iterable[Made], *, was_frozen: bool, was_findable: bool
) -> tuple[Spending, str]:
    """How a creation stands to the job's earlier ones, and what is wrong with it.

    zombie: made after its lease by a process that was frozen at the very call; nothing on our side can hold that back,
    and a platform that ends its functions in time does. double: paid for twice although the first one lives or has
    completed; allowed only if nobody could have found that one.
    """
    job = state.jobs.get(creation.job, {})
    is_current = job.get("state") == "submitting" and job.get("attempt") == str(creation.attempt)
    if not is_current or creation.created_at >= int(job["lease_until"]):
        return (
            "zombie",
            "" if was_frozen else f"I4 {_name(creation)} was submitted while {job.get('state')}, or too late",
        )
    earlier = [p for p in made if p.job == creation.job and not p.is_zombie]
    if any(p.attempt == creation.attempt for p in earlier):
        return "double", f"I4 {_name(creation)} was submitted twice"
    if job.get("cancel_requested") and not was_frozen:
        return "double", f"I4 {_name(creation)} was submitted after its cancellation"
    alive = [p for p in earlier if p.status in ("running", "completed")]
    if not alive:
        return "fine", ""
    shown = ", ".join(f"{p.id} {p.status}" for p in alive)
    return "double", f"I4 {_name(creation)} was submitted beside {shown}" if was_findable else ""


def _name(creation: Made) -> str:
    return f"attempt {creation.attempt} of {creation.job}"


def final(state: State, made: Iterable[Made], acknowledged: set[str], submitted: set[str]) -> list[str]:
    """Everything that is wrong when all is quiet."""
    found = [f"I10 {job_id} is still {state.jobs[job_id]['state']}" for job_id in state.live]
    found += [f"I1 {job_id} was acknowledged and is lost" for job_id in sorted(acknowledged - state.jobs.keys())]
    found += [f"I11 {job_id} is a job that nobody submitted" for job_id in sorted(state.jobs.keys() - submitted)]
    if not state.live and (state.index or any(state.users.values())):
        found.append(f"I1 everything ended and something is left: {state.index}, {state.users}")
    for job_id in sorted(state.dead):
        if state.jobs[job_id].get("outcome") != "failed":
            found.append(f"I2 {job_id} is a dead letter and {state.jobs[job_id].get('outcome')}")
    creations = Counter(p.job for p in made)
    failures = Counter(p.job for p in made if p.status == "failed")
    for job_id, job in state.jobs.items():
        allowed = 1 + int(job.get("rescues", 0)) + failures[job_id]
        if creations[job_id] > allowed:
            found.append(f"I4 {job_id} was created {creations[job_id]} times, {allowed} are accounted for")
    return found
