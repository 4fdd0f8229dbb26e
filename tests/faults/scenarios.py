"""Who submits, polls and cancels what and when, and what the provider makes of it."""

from dataclasses import dataclass, field
from typing import Any, Literal

Answer = Literal["accepted", "throttled", "unknown_made", "unknown_not_made"]
Verdict = Literal["completed", "failed"]
WebhookMode = Literal["ok", "lost", "duplicate", "late", "belated", "overtaking"]

WEBHOOK_MODES: tuple[WebhookMode, ...] = ("ok", "lost", "duplicate", "late", "belated", "overtaking")


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


@dataclass(frozen=True)
class Step:
    """Something that a client does at a moment, s from the beginning; a job submitted again is so with the same key."""

    at: float
    verb: Literal["submit", "poll", "cancel"]
    job: str


@dataclass(frozen=True)
class Scenario:
    """A deployment's settings, its jobs and its clients."""

    name: str
    works: dict[str, Work]
    steps: tuple[Step, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    is_listed: bool = True  # whether the provider's list shows predictions; it does not for those of deployments


FAILS_ONCE = (Creation(seconds=15, verdict="failed"), Creation(seconds=10))
CANCELED = ("canceled", "completed")

ORDINARY = Scenario(
    "ordinary",
    {
        "first": Work("ada"),
        "fails_once": Work("ada", FAILS_ONCE),
        "waits": Work("bob", (Creation(seconds=10),), queue="storyboard"),
    },
    (
        Step(0, "submit", "first"), Step(1, "submit", "fails_once"), Step(2, "submit", "waits"),
        Step(13, "poll", "waits"), Step(45, "poll", "first"), Step(90, "poll", "fails_once"),
    ),
)  # fmt: skip

CANCELING = Scenario(
    "canceling",
    {
        "in_flight": Work("ada", (Creation(seconds=50),), ends=CANCELED),
        "waiting": Work("ada", ends=CANCELED),
        "next": Work("bob"),
    },
    (
        Step(0, "submit", "in_flight"), Step(1, "submit", "waiting"), Step(2, "submit", "next"),
        Step(5, "cancel", "waiting"), Step(20, "cancel", "in_flight"), Step(70, "poll", "in_flight"),
    ),
    {"max_concurrent_tasks": 1},
)  # fmt: skip

UNKNOWN = Scenario(
    "unknown",
    {
        "made": Work("ada", (Creation("unknown_made"),)),
        "not_made": Work("bob", (Creation("unknown_not_made"), Creation())),
        "canceled": Work("bob", (Creation("unknown_made", seconds=200),), queue="storyboard", ends=CANCELED),
    },
    (
        Step(0, "submit", "made"), Step(1, "submit", "not_made"), Step(3, "submit", "canceled"),
        Step(4, "submit", "made"), Step(30, "cancel", "canceled"), Step(125, "poll", "made"),
    ),
    {"max_concurrent_tasks": 3},
)  # fmt: skip

RETRY_UNKNOWN = Scenario(
    "retry_unknown",
    {
        "again": Work("ada", (Creation(seconds=5, verdict="failed"), Creation("unknown_made", 20), Creation())),
        "next": Work("bob"),
    },
    (Step(0, "submit", "again"), Step(1, "submit", "next"), Step(70, "poll", "again")),
    {"max_concurrent_tasks": 1},
)

TWINS = Scenario(
    "twins",
    {
        "one": Work("ada", (Creation("unknown_not_made"), Creation()), prompt="a lighthouse"),
        "other": Work("ada", prompt="a lighthouse"),
    },
    (Step(0, "submit", "one"), Step(1, "submit", "other"), Step(150, "poll", "one")),
)

TROUBLED = Scenario(
    "troubled",
    {
        "throttled": Work("ada", (Creation("throttled"), Creation(seconds=10))),
        "hangs": Work("bob", (Creation(seconds=500),), ends=("failed",)),
        "hopeless": Work("bob", (Creation(seconds=5, verdict="failed"),), ends=("failed",)),
    },
    (
        Step(0, "submit", "throttled"), Step(1, "submit", "hangs"), Step(2, "submit", "hopeless"),
        Step(40, "poll", "throttled"),
    ),
    {"queue_max_retries": 1},
)  # fmt: skip

UNLISTED = Scenario(
    "unlisted",
    {
        "made": Work("ada", (Creation("unknown_made"), Creation())),
        "next": Work("bob"),
    },
    (Step(0, "submit", "made"), Step(1, "submit", "next"), Step(130, "poll", "made")),
    {"max_concurrent_tasks": 1},
    is_listed=False,
)

SCENARIOS = (ORDINARY, CANCELING, UNKNOWN, RETRY_UNKNOWN, TWINS, TROUBLED, UNLISTED)
