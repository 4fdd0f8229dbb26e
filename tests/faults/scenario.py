"""What a scenario is made of: works, their creations at the provider, and the steps of clients."""

from dataclasses import dataclass, field
from typing import Any, Literal

from shared.config.hooks import Event
from shared.hooks.delivery import LADDER
from shared.outbox.storing import TRIES_TO_BE_GONE

Answer = Literal["accepted", "throttled", "unknown_made", "unknown_not_made"]
Verdict = Literal["completed", "failed"]
Way = Literal["ok", "down", "hangs", "breaks", "gone"]  # how one request is answered, if at all
WebhookMode = Literal["ok", "lost", "duplicate", "late", "belated", "overtaking"]

WEBHOOK_MODES: tuple[WebhookMode, ...] = ("ok", "lost", "duplicate", "late", "belated", "overtaking")

TURNS_IN_TIME = 14  # at a job's files, until COPY_DEADLINE


@dataclass(frozen=True)
class Creation:
    """What the provider makes of one create: its answer, and how the run goes."""

    answer: Answer = "accepted"
    seconds: float = 20.0
    verdict: Verdict = "completed"
    error: str = "CUDA out of memory"


@dataclass(frozen=True)
class Work:
    """One job: who wants it, and what happens to each of its creations; the last stands for all further ones."""

    user: str
    creations: tuple[Creation, ...] = (Creation(),)
    queue: str = "video"
    prompt: str = ""  # its name unless given
    ends: tuple[str, ...] = ("completed",)  # what it may end as when one thing goes wrong
    events: tuple[Event, ...] = ()  # that its owner wants to be told of
    files: int = 0  # that it makes
    source: tuple[Way, ...] = ("ok",)  # what the GETs of its files meet, in order, the last for all others
    kept: str = "stored"  # what its files end as


@dataclass(frozen=True)
class Batch:
    """Several of the works, wanted together."""

    user: str
    works: tuple[str, ...]
    policy: Literal["best_effort", "all_or_nothing"] = "best_effort"
    queue: str = "video"
    events: tuple[Event, ...] = ()


Verb = Literal[
    "submit", "poll", "cancel", "redrive", "reprioritize", "limit", "limit_user",
    "submit_batch", "cancel_batch", "retry_batch", "poll_batch", "delete", "redeliver",
]  # fmt: skip


@dataclass(frozen=True)
class Step:
    """Something that a client or the operator does at a moment, s from the beginning; see clients.py.

    ``of`` names a work, a batch, a user or a limit; ``value`` is a priority or a limit, None to lift it. What is
    submitted again is so with the same key.
    """

    at: float
    verb: Verb
    of: str
    value: int | None = None


@dataclass(frozen=True)
class Scenario:
    """A deployment's settings, its jobs and its clients.

    The works named ``x~1`` and ``x~redriven`` are what a retry of x's batch and a redrive of x make.
    """

    name: str
    works: dict[str, Work]
    steps: tuple[Step, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    is_listed: bool = True  # whether the provider's list shows predictions; it does not for those of deployments
    batches: dict[str, Batch] = field(default_factory=dict)
    width: int = 0  # how many jobs may surely be under way at once; the least of the limits unless given
    storage: tuple[Way, ...] = ("ok",)  # what the saves of files meet, in order, the last for all others
    endpoint: tuple[Way, ...] = ("ok",)  # and the deliveries

    @property
    def troubles(self) -> int:
        """How many turns at files meet a source or a storage that does not do what it should."""
        ways = [*(work.source for work in self.works.values()), self.storage]
        last = {"ok": 0, "gone": TRIES_TO_BE_GONE, "down": TURNS_IN_TIME}
        return sum(len(way) - 1 + last[way[-1]] for way in ways)

    @property
    def refusals(self) -> int:
        """How many deliveries are not taken."""
        return len(self.endpoint) - 1 if self.endpoint[-1] == "ok" else len(LADDER)
