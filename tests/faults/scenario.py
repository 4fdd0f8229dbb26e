"""The parts of a scenario: works, their creations at the provider, and the steps of clients."""

from dataclasses import dataclass, field
from typing import Any, Literal

from shared.config.hooks import Event
from shared.hooks.delivery import LADDER
from shared.jobqueue.history import MAX_LISTED
from shared.outbox.storing import TRIES_TO_BE_GONE

Answer = Literal["accepted", "throttled", "refused", "unknown_made", "unknown_not_made"]
Verdict = Literal["completed", "failed"]
Way = Literal["ok", "down", "hangs", "breaks", "gone"]  # the result of one request
WebhookMode = Literal["ok", "lost", "duplicate", "late", "belated", "overtaking"]

WEBHOOK_MODES: tuple[WebhookMode, ...] = ("ok", "lost", "duplicate", "late", "belated", "overtaking")

TURNS_IN_TIME = 14  # turns at a job's files until COPY_DEADLINE


@dataclass(frozen=True)
class Creation:
    """What the provider does at one create: its answer, and how the run goes."""

    answer: Answer = "accepted"
    seconds: float = 20.0
    verdict: Verdict = "completed"
    error: str = "CUDA out of memory"


@dataclass(frozen=True)
class Work:
    """One job: its user, and its creations in order; the last one repeats."""

    user: str
    creations: tuple[Creation, ...] = (Creation(),)
    queue: str = "video"
    prompt: str = ""  # default: the work's name
    ends: tuple[str, ...] = ("completed",)  # its possible ends with one fault
    events: tuple[Event, ...] = ()  # that its owner wants
    files: int = 0  # number of its files
    source: tuple[Way, ...] = ("ok",)  # results of the GETs of its files, in order; the last one repeats
    kept: str = "stored"  # the final state of its files


@dataclass(frozen=True)
class Batch:
    """Several works, submitted together."""

    user: str
    works: tuple[str, ...]
    policy: Literal["best_effort", "all_or_nothing"] = "best_effort"
    queue: str = "video"
    events: tuple[Event, ...] = ()


UNLUCKY = ("completed", "failed")  # without retries, a lost submission ends its job
FAILS = Creation(seconds=5, verdict="failed")
LOST = Creation("unknown_not_made")

Verb = Literal[
    "submit", "poll", "cancel", "redrive", "reprioritize", "limit", "limit_user",
    "submit_batch", "cancel_batch", "retry_batch", "poll_batch", "delete", "erase", "redeliver",
]  # fmt: skip


@dataclass(frozen=True)
class Step:
    """A step of a client or the operator, ``at`` s after the start; see clients.py.

    ``of`` names a work, a batch, a user or a limit. ``value`` is a priority or a limit; None removes the limit. A
    repeated submit has the same key.
    """

    at: float
    verb: Verb
    of: str
    value: int | None = None


@dataclass(frozen=True)
class Scenario:
    """A deployment's settings, its jobs and its clients.

    The works ``x~1`` and ``x~redriven`` are those of a retry of x's batch and of a redrive of x.
    """

    name: str
    works: dict[str, Work]
    steps: tuple[Step, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    list_lag: float = 0.0  # s until a prediction is in the list
    is_list_whole: bool = True  # whether an answer says of itself that it has all
    is_listed: bool = True  # whether the provider's list has its predictions; those of deployments are not listed
    batches: dict[str, Batch] = field(default_factory=dict)
    max_listed: int = MAX_LISTED  # jobs in the history
    width: int = 0  # minimum of jobs that may run at once; default: the lowest limit
    storage: tuple[Way, ...] = ("ok",)  # results of the saves of files, in order; the last one repeats
    endpoint: tuple[Way, ...] = ("ok",)  # and of the deliveries

    @property
    def troubles(self) -> int:
        """How many turns at files fail because of the source or the storage."""
        ways = [*(work.source for work in self.works.values()), self.storage]
        last = {"ok": 0, "gone": TRIES_TO_BE_GONE, "down": TURNS_IN_TIME}
        return sum(len(way) - 1 + last[way[-1]] for way in ways)

    @property
    def refusals(self) -> int:
        """How many deliveries are refused."""
        return len(self.endpoint) - 1 if self.endpoint[-1] == "ok" else len(LADDER)
