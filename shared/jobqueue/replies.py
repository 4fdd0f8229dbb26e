"""What the verbs answer, as types."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.jobqueue.terms import provider_in


@dataclass(frozen=True)
class Claimed:
    """A job that this caller, and nobody else, has to submit now.

    ``deadline`` (s) is how long its run may take. ``claimed_at`` is when this process asked, ms by its own clock: its
    lease has begun no earlier than that. ``probe`` names the gate that this submission tries, if any.
    """

    id: str
    attempt: int
    provider: str
    model: str
    input: str
    owner: str
    user: str
    queue: str
    deadline: float
    claimed_at: int
    probe: str = ""

    @classmethod
    def of(cls, row: Sequence[str], claimed_at: int) -> "Claimed":
        job_id, attempt, lane, model, given, owner, user, queue, deadline, probe = row
        provider = provider_in(int(lane))
        return cls(job_id, int(attempt), provider, model, given, owner, user, queue, float(deadline), claimed_at, probe)


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
    deadline: float  # s

    @classmethod
    def of(cls, row: Sequence[str]) -> "Overdue":
        job_id, attempt, lane, state, prediction, submitted_at, cancel_requested, deadline = row
        return cls(
            job_id, int(attempt), provider_in(int(lane)), state, prediction, int(submitted_at),
            cancel_requested == "1", float(deadline),
        )  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """What a claim brought.

    ``missing`` counts index entries without a job: evicted or lost; they are gone now. ``expired`` names jobs that have
    waited too long and have to be ended; ``parked`` counts those put aside because their model's circuit is open.
    ``follow_ups`` is how much the outbox holds, told to ticks alone.
    """

    started: tuple[Claimed, ...]
    overdue: tuple[Overdue, ...]
    missing: int
    expired: tuple[str, ...] = ()
    parked: int = 0
    follow_ups: int = 0


@dataclass(frozen=True)
class Admitted:
    """The job was accepted, now or by an earlier call with the same idempotency key."""

    word: Literal["started", "queued", "backlog", "duplicate"]
    position: int | None = None  # known when queued: in its queue; and in the backlog: among the user's own
    attention: bool = False


@dataclass(frozen=True)
class Ended:
    """What an attempt's end did. ``word`` is the script's, or ``running`` where the provider reports no end;
    ``other`` is a prediction to cancel at the provider."""

    word: Literal["finished", "already", "stale", "unknown", "delayed", "running"]
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
    backlog: int = 0
    gates: dict[str, int] = field(default_factory=dict)

    @property
    def tick_at(self) -> int | None:
        return self.counters.get("tick_at")


@dataclass(frozen=True)
class Place:
    """Where a live job stands and what moves it. Times in ms; what is None is not known or does not matter.

    ``position`` is among the ready jobs of its queue, or in its user's backlog among his own.
    """

    position: int | None = None
    p50: int = 0
    p90: int = 0
    slots: int | None = None
    of_queue: int | None = None
    of_provider: int | None = None
    admitted: int | None = None
    cap: int | None = None
    gates: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, reply: Sequence[Any]) -> "Place":
        if not reply:
            return cls()
        position, p50, p90, *numbers, gates = reply
        slots, of_queue, of_provider, admitted, cap = (int(number) if number else None for number in numbers)
        named = {gates[n]: int(gates[n + 1]) for n in range(0, len(gates), 2)}
        known = int(position) if position else None
        return cls(known, int(p50), int(p90), slots, of_queue, of_provider, admitted, cap, named)
