"""All that the store holds of the queue at one moment, sorted by what it is; as in prelude.lua."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from shared.config.providers import REGISTRY
from shared.config.settings import Settings
from shared.providers.base import PredictionStatus

BAND, LANES, PROVIDERS = 2e13, 160, 8
READY, DELAYED, BACKLOG, ALARMS, HISTORY = LANES, 2 * LANES, 2 * LANES + 1, 2 * LANES + 2, 2 * LANES + 3
SPECIAL, SPENT, ADMITTED = -3e15, -2e15, -1e15
SLACK = 1000  # ms; deadlines in the index are whole seconds

AWAY = ("submitting", "running")
WAITING = ("queued", "backlog", "delayed")

JobFields = Mapping[str, str]


def lane(job: JobFields) -> int:
    return int(job["lane"])


def provider(job: JobFields) -> int:
    return lane(job) % PROVIDERS


def circuit(job: JobFields) -> str:
    """The gate of a job's model."""
    return f"~o{provider(job)}:{job['model']}"


def pause(job: JobFields) -> str:
    """The gate of a job's provider."""
    return f"~p{provider(job)}"


@dataclass
class Seats:
    """What a user's set says."""

    cap: int | None = None  # his own concurrency
    admitted: dict[str, float] = field(default_factory=dict)  # by score
    waiting: dict[str, float] = field(default_factory=dict)
    batches: dict[str, float | None] = field(default_factory=dict)  # the score of the next job in the backlog

    @classmethod
    def of(cls, held: Mapping[str, float]) -> "Seats":
        seats = cls()
        for member, score in held.items():
            if member == "=":
                seats.cap = int(score - SPECIAL)
            elif member[0] == "#":
                seats.batches[member[1:]] = None if score == SPENT else score
            elif member != "~":
                (seats.admitted if score < 0 else seats.waiting)[member] = score - ADMITTED if score < 0 else score
        return seats


@dataclass
class State:
    """Never changed once it is made, so that moments can share one."""

    index: dict[str, float] = field(default_factory=dict)
    jobs: dict[str, dict[str, str]] = field(default_factory=dict)
    users: dict[str, dict[str, float]] = field(default_factory=dict)  # by owner:user
    owners: dict[str, str] = field(default_factory=dict)
    models: dict[str, dict[str, str]] = field(default_factory=dict)  # how the runs went, by provider:model
    batches: dict[str, dict[str, str]] = field(default_factory=dict)
    batch_queues: dict[str, dict[str, float]] = field(default_factory=dict)
    stats: dict[str, str] = field(default_factory=dict)
    dead: dict[str, float] = field(default_factory=dict)
    outbox: dict[str, float] = field(default_factory=dict)
    rows: dict[str, dict[str, float]] = field(default_factory=dict)  # events to deliver, by lane
    hosts: dict[str, dict[str, str]] = field(default_factory=dict)  # how they have failed, by lane
    undelivered: dict[str, float] = field(default_factory=dict)
    deleted: dict[str, str] = field(default_factory=dict)  # how jobs had ended that their owners deleted since
    expiring: set[str] = field(default_factory=set)  # jobs and batches with a time to live
    strangers: list[str] = field(default_factory=list)  # keys that nobody documents

    @cached_property
    def live(self) -> list[str]:
        return [job_id for job_id, job in self.jobs.items() if job["state"] != "done"]

    @cached_property
    def places(self) -> dict[str, tuple[int, float]]:
        """Where the index has each job: the band, and the number in it."""
        placed = {}
        for member, score in self.index.items():
            if score >= 0 and member[0] not in "!@":
                placed[member] = (int(score // BAND), score % BAND)
        return placed

    @cached_property
    def gates(self) -> dict[str, float]:
        return {member: score + BAND for member, score in self.index.items() if score < 0}

    @cached_property
    def alarms(self) -> dict[str, float]:
        return {member[1:]: score - ALARMS * BAND for member, score in self.index.items() if member[0] == "!"}

    @cached_property
    def history(self) -> dict[str, float]:
        return {member[1:]: score - HISTORY * BAND for member, score in self.index.items() if member[0] == "@"}

    @cached_property
    def storing(self) -> dict[str, float]:
        """Jobs whose files have to be stored, by when somebody does so."""
        return {member: score + BAND for member, score in self.outbox.items() if score < 0}

    @cached_property
    def lanes(self) -> dict[str, float]:
        """Lanes of deliveries, by when somebody looks at them."""
        return {member: score for member, score in self.outbox.items() if score >= 0}

    @property
    def next_follow_up(self) -> float | None:
        """When somebody finds the next thing to do in the outbox."""
        return min((*self.storing.values(), *self.lanes.values()), default=None)

    @cached_property
    def slots(self) -> dict[str, int]:
        """The lane of each taken slot."""
        return {job_id: band for job_id, (band, _) in self.places.items() if band < READY}

    @cached_property
    def seats(self) -> dict[str, Seats]:
        return {user: Seats.of(held) for user, held in self.users.items()}

    def of_user(self, user: str) -> list[str]:
        """The live jobs of owner:user."""
        return [job_id for job_id in self.live if user_of(self.jobs[job_id]) == user]


def user_of(job: JobFields) -> str:
    return f"{job['owner']}:{job['user']}"


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
class Object:
    """A file as somebody has it."""

    size: int
    sha256: str


@dataclass
class Outside:
    """The bucket and the owners' endpoint: the truth that the store has to agree with."""

    objects: dict[str, Object] = field(default_factory=dict)  # in the bucket, by key
    received: dict[str, int] = field(default_factory=dict)  # how often an event, `event|id`, was answered with 2xx
    erasing: set[str] = field(default_factory=set)  # jobs whose owners have asked for their deletion
    asked: dict[str, int] = field(
        default_factory=dict
    )  # GETs of each prediction's files, saves, POSTs: what the next meets


@dataclass(frozen=True)
class Limits:
    """What the settings allow."""

    total: int
    queues: tuple[int, ...]
    providers: tuple[tuple[int, int, int], ...]  # concurrency, ms a token, burst
    user: int
    patience: int  # ms; the longest time until somebody looks at a slot
    lease: int  # ms
    circuit_failures: int
    longest_gate: int  # ms; of any pause or open circuit, a probe's lease included

    @classmethod
    def of(cls, s: Settings) -> "Limits":
        patience = max(s.lease, s.check_interval, s.first_check_after)
        listed = (s.provider_limits(listing) for listing in REGISTRY)
        return cls(
            total=s.max_concurrent_tasks,
            queues=tuple(queue.concurrency for queue in s.queue_list),
            providers=tuple((most, round(60_000 / rate), burst) for most, rate, burst in listed),
            user=s.max_user_tasks,
            patience=round(patience * 1000) + SLACK,
            lease=round(s.lease * 1000),
            circuit_failures=s.circuit_failures,
            longest_gate=round(max(MAX_PAUSE, 16 * s.circuit_pause, s.lease) * 1000) + SLACK,
        )

    def cap(self, seats: Seats | None) -> int:
        """How many of a user's jobs may be ready or at a provider."""
        return self.user if seats is None or seats.cap is None else seats.cap


MAX_PAUSE = 150.0  # s; two minutes, and a quarter more for jitter
