"""What the verbs answer, as types."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Claimed:
    """A job that this caller, and nobody else, has to submit now.

    ``claimed_at`` is when this process asked, ms by its own clock: its lease has begun no earlier than that.
    """

    id: str
    attempt: int
    provider: str
    model: str
    input: str
    owner: str
    user: str
    queue: str
    claimed_at: int

    @classmethod
    def of(cls, row: Sequence[str], claimed_at: int) -> "Claimed":
        job_id, attempt, provider, model, given, owner, user, queue = row
        return cls(job_id, int(attempt), provider, model, given, owner, user, queue, claimed_at)


@dataclass(frozen=True)
class Overdue:
    """A job at a provider that this caller has to look at: a lapsed submission or a run due for a check."""

    id: str
    attempt: int
    provider: str
    state: str
    prediction: str
    submitted_at: int
    cancel_requested: bool

    @classmethod
    def of(cls, row: Sequence[str]) -> "Overdue":
        job_id, attempt, provider, state, prediction, submitted_at, cancel_requested = row
        return cls(job_id, int(attempt), provider, state, prediction, int(submitted_at), cancel_requested == "1")


@dataclass(frozen=True)
class Claim:
    """What a claim brought. ``missing`` counts index entries without a job: evicted or lost; they are gone now."""

    started: tuple[Claimed, ...]
    overdue: tuple[Overdue, ...]
    missing: int


@dataclass(frozen=True)
class Admitted:
    """The job was accepted, now or by an earlier call with the same idempotency key."""

    word: Literal["started", "queued", "duplicate"]
    position: int | None = None  # known when queued
    attention: bool = False


@dataclass(frozen=True)
class Ended:
    """What an attempt's end did. ``word`` is the script's; ``other`` is a prediction to cancel at the provider."""

    word: Literal["finished", "already", "stale", "unknown", "delayed"]
    outcome: str = ""
    waiting: bool = False
    other: str = ""


@dataclass(frozen=True)
class Canceled:
    """What a cancellation did; the prediction is there when the provider has to be told."""

    word: Literal["canceled", "cancel_requested", "already_terminal"]
    outcome: str = ""
    attempt: int = 0
    prediction: str = ""
    provider: str = ""


@dataclass(frozen=True)
class QueueCounts:
    """One queue's jobs at the provider and ready."""

    name: str
    running: int
    ready: int
    concurrency: int


@dataclass(frozen=True)
class Stats:
    """What waits and runs, and the counters of what ended."""

    queues: tuple[QueueCounts, ...]
    delayed: int
    dead: int
    counters: dict[str, int]

    @property
    def tick_at(self) -> int | None:
        return self.counters.get("tick_at")
