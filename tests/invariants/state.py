"""All the queue's data in the store at one moment, sorted by kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from shared.config.providers import REGISTRY
from shared.config.settings import Settings
from shared.jobqueue.constants import (
    ALARMS,
    BAND,
    HISTORY,
    LIMIT_SPAN,
    PROVIDERS,
    READY,
    SEATED,
    SLOT_SHARES,
    SPECIAL,
    SPENT,
    WAITING_SHARES,
)
from shared.providers.base import PredictionStatus

SLACK = 1000  # ms; deadlines in the index are whole seconds

SLOT_SHARE = SLOT_SHARES - WAITING_SHARES
AWAY = ("submitting", "running")
WAITING = ("queued", "backlog", "delayed")

JobFields = Mapping[str, str]


def lane(job: JobFields) -> int:
    return int(job["lane"])


def provider(job: JobFields) -> int:
    return lane(job) % PROVIDERS


def circuit(job: JobFields) -> str:
    """Returns the gate of a job's model."""
    return f"~o{provider(job)}:{job['model']}"


def own_circuit(job: JobFields) -> str:
    """Returns the gate of a job's model for its own user."""
    return f"{circuit(job)}|{job['share']}"


def pause(job: JobFields) -> str:
    """Returns the gate of a job's provider."""
    return f"~p{provider(job)}"


@dataclass
class Seats:
    """The content of a user's set."""

    cap: int | None = None  # the user's own limit
    admitted: dict[str, float] = field(default_factory=dict)  # by score
    waiting: dict[str, float] = field(default_factory=dict)
    batches: dict[str, float | None] = field(default_factory=dict)  # the score of the next job in the backlog

    @classmethod
    def of(cls, held: Mapping[str, float]) -> "Seats":
        seats = cls()
        for member, score in held.items():
            if member == "=":
                seats.cap = int(score - SPECIAL) % LIMIT_SPAN
            elif member[0] == "#":
                seats.batches[member[1:]] = None if score == SPENT else score
            elif member != "~":
                (seats.admitted if score < 0 else seats.waiting)[member] = score - SEATED if score < 0 else score
        return seats


@dataclass
class State:
    """A snapshot, never changed once made, so that several moments can share it."""

    index: dict[str, float] = field(default_factory=dict)
    jobs: dict[str, dict[str, str]] = field(default_factory=dict)
    users: dict[str, dict[str, float]] = field(default_factory=dict)  # by owner:user
    owners: dict[str, str] = field(default_factory=dict)
    models: dict[str, dict[str, str]] = field(default_factory=dict)  # how their runs went, by provider:model
    refusals: dict[str, dict[str, str]] = field(default_factory=dict)  # what is known of them, by provider
    batches: dict[str, dict[str, str]] = field(default_factory=dict)
    batch_queues: dict[str, dict[str, float]] = field(default_factory=dict)
    held: dict[str, dict[str, float]] = field(default_factory=dict)  # jobs that wait for a slot of their API key
    stats: dict[str, str] = field(default_factory=dict)
    dead: dict[str, float] = field(default_factory=dict)
    outbox: dict[str, float] = field(default_factory=dict)
    rows: dict[str, dict[str, float]] = field(default_factory=dict)  # events to deliver, by lane
    hosts: dict[str, dict[str, str]] = field(default_factory=dict)  # their failures, by lane
    undelivered: dict[str, float] = field(default_factory=dict)
    lost: dict[str, float] = field(default_factory=dict)  # submissions of unknown outcome; below zero: given up
    # Outcomes of jobs that their owners have deleted, by id and incarnation
    deleted: dict[tuple[str, str], str] = field(default_factory=dict)
    expiring: set[str] = field(default_factory=set)  # jobs and batches with a time to live
    archives: dict[str, dict[str, float]] = field(default_factory=dict)  # jobs behind the history, by owner:user
    erasures: dict[str, str] = field(default_factory=dict)  # until when files may come back, by user's folder
    spending: dict[str, dict[str, str]] = field(default_factory=dict)  # accounts and reservations, by month
    unknown_keys: list[str] = field(default_factory=list)  # keys that DESIGN does not list

    @cached_property
    def deleted_ids(self) -> set[str]:
        return {job_id for job_id, _ in self.deleted}

    @cached_property
    def live(self) -> list[str]:
        return [job_id for job_id, job in self.jobs.items() if job["state"] != "done"]

    @cached_property
    def places(self) -> dict[str, tuple[int, float]]:
        """Each job's band in the index, and its number there."""
        placed = {}
        for member, score in self.index.items():
            if score >= 0 and member[0] not in "!@%":
                placed[member] = (int(score // BAND), score % BAND)
        return placed

    @cached_property
    def gates(self) -> dict[str, float]:
        return {member: score + BAND for member, score in self.index.items() if score < 0}

    @cached_property
    def alarms(self) -> dict[str, float]:
        return {member[1:]: score - ALARMS * BAND for member, score in self.index.items() if member[0] == "!"}

    @cached_property
    def shares(self) -> dict[str, float]:
        """What each share in the index counts: its number, from SLOT_SHARE on if its job is at a provider."""
        first = ALARMS * BAND + WAITING_SHARES
        return {member[1:]: score - first for member, score in self.index.items() if member[0] == "%"}

    @cached_property
    def history(self) -> dict[str, float]:
        return {member[1:]: score - HISTORY * BAND for member, score in self.index.items() if member[0] == "@"}

    @cached_property
    def archived(self) -> dict[str, float]:
        """What the history no longer lists, in the same form."""
        return {f"{user}|{job_id}": at for user, held in self.archives.items() for job_id, at in held.items()}

    @cached_property
    def storing(self) -> dict[str, float]:
        """The jobs with files to store, by the time of their next look."""
        return {member: score + BAND for member, score in self.outbox.items() if score < 0}

    @cached_property
    def lanes(self) -> dict[str, float]:
        """The delivery lanes, by the time of their next look."""
        return {member: score for member, score in self.outbox.items() if score >= 0}

    @property
    def next_follow_up(self) -> float | None:
        """The time of the outbox's next look; None if it is empty."""
        return min((*self.storing.values(), *self.lanes.values()), default=None)

    @cached_property
    def slots(self) -> dict[str, int]:
        """The lane of each taken slot."""
        return {job_id: band for job_id, (band, _) in self.places.items() if band < READY}

    @cached_property
    def seats(self) -> dict[str, Seats]:
        return {user: Seats.of(held) for user, held in self.users.items()}

    @cached_property
    def unknown(self) -> set[str]:
        """The attempts, ``id:attempt``, whose outcome is unknown."""
        return {member.partition("|")[2].rpartition(":")[0] for member, since in self.lost.items() if since >= 0}

    def of_user(self, user: str) -> list[str]:
        """Returns the live jobs of owner:user."""
        return [job_id for job_id in self.live if user_of(self.jobs[job_id]) == user]


def has_left_seat(job: JobFields) -> bool:
    """Whether a cancelled submission of unknown outcome holds nothing but its slot."""
    return job.get("left_seat") == "1"


def user_of(job: JobFields) -> str:
    return f"{job['owner']}:{job['user']}"


@dataclass
class Made:
    """A prediction as the provider knows it; the store must agree with it."""

    id: str
    job: str
    attempt: int
    model: str
    input: dict[str, object]
    created_at: int  # ms
    status: PredictionStatus = "running"
    listed_at: int = 0  # ms; when the list has it
    is_zombie: bool = False  # made by a process that froze during the call, after its attempt was given up
    incarnation: str = ""  # of its job

    def is_of(self, job_id: str, job: JobFields) -> bool:
        """Whether it was made for this job, and not for an earlier one with its id."""
        return (self.job, self.incarnation) == (job_id, job.get("incarnation", ""))


@dataclass(frozen=True)
class Object:
    """Size and hash of a stored file."""

    size: int
    sha256: str


@dataclass
class Outside:
    """The bucket and the owners' endpoint; the store must agree with them."""

    objects: dict[str, Object] = field(default_factory=dict)  # in the bucket, by key
    received: dict[str, int] = field(default_factory=dict)  # how often an event, `event|id`, was answered with 2xx
    erasing: set[str] = field(default_factory=set)  # jobs that their owners have asked to delete
    # GETs of each prediction's files, saves, POSTs so far: the number decides the next answer.
    asked: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """The limits that follow from the settings."""

    total: int
    queues: tuple[int, ...]
    providers: tuple[tuple[int, int, int], ...]  # concurrency, ms a token, burst
    user: int
    key: int  # slots of one API key
    patience: int  # ms; the longest time until a slot is checked
    lease: int  # ms
    circuit_failures: int
    max_gate: int  # ms; of any pause or open circuit, with a probe's lease

    @classmethod
    def of(cls, s: Settings) -> "Limits":
        patience = max(s.lease, s.check_interval, s.first_check_after)
        listed = (s.provider_limits(listing) for listing in REGISTRY)
        return cls(
            total=s.max_concurrent_tasks,
            queues=tuple(queue.concurrency for queue in s.queue_list),
            providers=tuple((limit, round(60_000 / rate), burst) for limit, rate, burst in listed),
            user=s.max_user_tasks,
            key=s.key_tasks or s.max_concurrent_tasks,
            patience=round(patience * 1000) + SLACK,
            lease=round(s.lease * 1000),
            circuit_failures=s.circuit_failures,
            max_gate=round(max(MAX_PAUSE, 16 * s.circuit_pause, s.lease) * 1000) + SLACK,
        )

    def cap(self, seats: Seats | None) -> int:
        """Returns how many of a user's jobs may have a seat."""
        return self.user if seats is None or seats.cap is None else seats.cap


MAX_PAUSE = 150.0  # s; two minutes, and a quarter more for jitter
