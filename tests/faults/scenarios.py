"""Who submits, polls and cancels what and when, and what the provider does. outbox_scenarios.py has more."""

from dataclasses import replace
from typing import Any

from tests.faults.pushback_scenarios import CIRCUIT, OWN_CIRCUIT, PAUSED, REFUSED, REOPENED
from tests.faults.scenario import FAILS, LOST, UNLUCKY, Batch, Creation, Scenario, Step, Work

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

# From here on: backlogs, live limits, pauses, circuits, expiry and batches.

# The longest freeze is over by then. So the operator repeats an order that a frozen, older one may have undone.
LATER = 700.0

BACKLOG = Scenario(
    "backlog",
    {
        "completes": Work("ada", ends=UNLUCKY),
        "fails": Work("ada", (FAILS,), ends=("failed",)),
        "lost": Work("ada", (LOST,), ends=("failed",)),
        "last": Work("ada", (Creation(seconds=10),), ends=UNLUCKY),
        "others": Work("bob", ends=UNLUCKY),
    },
    (
        Step(0, "submit", "completes"), Step(1, "submit", "fails"), Step(2, "submit", "lost"),
        Step(3, "submit", "others"), Step(4, "submit", "last"), Step(35, "poll", "lost"),
    ),
    {"max_user_tasks": 1, "max_user_queued": 5, "queue_max_retries": 0, "cancel_after": 60.0},
)  # fmt: skip

LIMITED = Scenario(
    "limited",
    {
        "in_flight": Work("ada", (Creation(seconds=50),), ends=CANCELED),
        "never": Work("ada", ends=CANCELED),
        "promoted": Work("ada", (Creation(seconds=30),)),
        "paused": Work("ada", (Creation(seconds=10),)),
    },
    (
        Step(0, "submit", "in_flight"), Step(1, "submit", "never"), Step(2, "limit_user", "ada", 1),
        Step(3, "submit", "promoted"), Step(5, "cancel", "never"), Step(20, "cancel", "in_flight"),
        Step(22, "submit", "paused"), Step(30, "limit_user", "ada", 0), Step(56, "poll", "paused"),
        Step(90, "limit_user", "ada"), Step(LATER, "limit_user", "ada"),
    ),
    {"max_concurrent_tasks": 1},
)  # fmt: skip

HELD = Scenario(
    "held",
    {
        "first": Work("ada", (Creation(seconds=10),)),
        "fails_once": Work("bob", FAILS_ONCE),
        "canceled": Work("ada", (Creation(seconds=50),), ends=CANCELED),
        "last": Work("eve", queue="storyboard"),
    },
    (
        Step(0, "submit", "first"), Step(1, "submit", "fails_once"), Step(2, "submit", "canceled"),
        Step(3, "submit", "last"), Step(35, "cancel", "canceled"), Step(40, "poll", "last"),
    ),
    {"max_concurrent_tasks": 3, "max_key_tasks": 1},
)  # fmt: skip

HEIRS = Scenario(
    "heirs",
    {
        "before": Work("ada", (Creation(seconds=30),)),
        "after": Work("ada", (FAILS, Creation(seconds=10))),
    },
    (
        Step(0, "limit_user", "ada", 1), Step(1, "submit", "before"), Step(2, "submit", "after"),
        Step(LATER, "limit_user", "ada"),
    ),
    width=1,
)  # fmt: skip

RACES = Scenario(
    "races",
    {
        "ends": Work("ada", ends=CANCELED),
        "ready": Work("bob", ends=CANCELED),
        "delayed": Work("eve", (FAILS, Creation()), queue="storyboard", ends=CANCELED),
        "backlog": Work("ada", ends=CANCELED),
        "starts": Work("ada", (Creation("unknown_made"),), ends=CANCELED),
    },
    (
        Step(0, "submit", "delayed"), Step(1, "submit", "ends"), Step(2, "submit", "ready"),
        Step(3, "submit", "backlog"), Step(4, "submit", "starts"), Step(20.999, "cancel", "backlog"),
        Step(21, "cancel", "ends"), Step(21, "cancel", "ready"), Step(60, "cancel", "delayed"),
        Step(60, "cancel", "starts"),
    ),
    {"storyboard_concurrency": 1, "max_user_tasks": 1, "max_user_queued": 5, "cancel_after": 60.0},
)  # fmt: skip

EXPIRING = Scenario(
    "expiring",
    {
        "holds": Work("ada", (Creation(seconds=125),), ends=UNLUCKY),
        "backlog": Work("ada", ends=UNLUCKY),
        "ready": Work("bob", ends=UNLUCKY),
        "delayed": Work("eve", (FAILS,), queue="storyboard", ends=("failed",)),
        "races": Work("bob", (Creation(seconds=10),), ends=UNLUCKY),
    },
    (
        Step(0, "submit", "holds"), Step(1, "submit", "backlog"), Step(2, "submit", "ready"),
        Step(3, "submit", "delayed"), Step(27, "submit", "races"), Step(131, "poll", "races"),
    ),
    {
        "queue_concurrency": 1, "max_user_tasks": 1, "max_user_queued": 3, "queue_ttl": 100.0,
        "queue_retry_delay": 120_000, "cancel_after": 200.0,
    },
)  # fmt: skip

CONTROLLED = Scenario(
    "controlled",
    {
        "runs": Work("ada", (Creation(seconds=40),)),
        "story": Work("bob", queue="storyboard"),
        "waits": Work("ada", (Creation(seconds=10),)),
        "raised": Work("bob", (Creation(seconds=10),)),
    },
    (
        Step(0, "submit", "runs"), Step(1, "limit", "video", 0), Step(2, "submit", "waits"),
        Step(3, "submit", "raised"), Step(4, "submit", "story"), Step(5, "reprioritize", "raised", 5),
        Step(10, "limit", "system", 1),
        Step(12, "poll", "waits"), Step(30, "limit", "video"), Step(42, "reprioritize", "waits", 4),
        Step(70, "limit", "system"), Step(LATER, "limit", "video"), Step(LATER + 1, "limit", "system"),
    ),
    width=1,
)  # fmt: skip

YIELDED = Scenario(
    "yielded",
    {
        "idle": Work("ada", (Creation(seconds=10),)),
        "able": Work("ada", (Creation("throttled"), Creation(seconds=10)), queue="storyboard"),
        "behind": Work("ada", (Creation(seconds=10),), queue="storyboard"),
        "runs": Work("eve"),
        "late": Work("bob", (Creation(seconds=10),)),
        "locked": Work("bob", (Creation(seconds=10),), queue="storyboard"),
    },
    (
        Step(0, "submit", "runs"), Step(1, "submit", "late"), Step(2, "submit", "locked"),
        Step(3, "limit", "video", 0), Step(4, "submit", "idle"), Step(5, "submit", "able"),
        Step(6, "submit", "behind"), Step(50, "poll", "locked"), Step(150, "limit", "video"),
        Step(LATER, "limit", "video"),
    ),
    {"max_user_tasks": 1, "max_user_queued": 5, "max_concurrent_tasks": 1},
)  # fmt: skip

BATCH = Scenario(
    "batch",
    {
        "one": Work("ada", (Creation(seconds=10),), ends=UNLUCKY),
        "two": Work("ada", (FAILS,), ends=("failed",)),
        "three": Work("ada", (Creation(seconds=10),), ends=UNLUCKY),
        "single": Work("ada", (Creation(seconds=10),), ends=UNLUCKY),
        **{f"{name}~1": Work("ada", prompt=name, ends=UNLUCKY) for name in ("one", "two", "three")},
    },
    (
        Step(0, "submit_batch", "album"), Step(1, "submit", "single"), Step(2, "submit_batch", "album"),
        Step(25, "poll_batch", "album"), Step(45, "retry_batch", "album"), Step(70, "poll_batch", "album"),
    ),
    {"max_user_tasks": 2, "queue_max_retries": 0, "cancel_after": 60.0},
    batches={"album": Batch("ada", ("one", "two", "three"))},
)  # fmt: skip

ALL_OR_NOTHING = Scenario(
    "all_or_nothing",
    {
        "one": Work("ada", (Creation(seconds=50),), ends=(*CANCELED, "failed")),
        "two": Work("ada", (FAILS,), ends=("failed", "canceled")),
        "three": Work("ada", ends=("canceled", "completed", "failed")),
        **{f"{name}~1": Work("ada", prompt=name, ends=(*CANCELED, "failed")) for name in ("one", "two", "three")},
    },
    (Step(0, "submit_batch", "album"), Step(65, "retry_batch", "album"), Step(80, "poll_batch", "album")),
    {"max_user_tasks": 2, "queue_max_retries": 0, "cancel_after": 60.0},
    batches={"album": Batch("ada", ("one", "two", "three"), "all_or_nothing")},
)

BATCH_CANCELED = Scenario(
    "batch_canceled",
    {
        "one": Work("ada", (Creation(seconds=30),), ends=CANCELED),
        "two": Work("ada", (Creation(seconds=30),), ends=CANCELED),
        "three": Work("ada", ends=CANCELED),
        "single": Work("ada", (Creation(seconds=10),)),
    },
    (
        Step(0, "submit_batch", "album"), Step(10, "cancel_batch", "album"), Step(11, "submit", "single"),
        Step(50, "poll_batch", "album"),
    ),
    {"max_user_tasks": 2, "cancel_after": 60.0},
    batches={"album": Batch("ada", ("one", "two", "three"))},
)  # fmt: skip

REDRIVEN = Scenario(
    "redriven",
    {
        "fails": Work("ada", (FAILS,), ends=("failed",)),
        "fails~redriven": Work("ada", (Creation(seconds=10),), prompt="fails", ends=UNLUCKY),
    },
    (Step(0, "submit", "fails"), Step(30, "redrive", "fails"), Step(31, "redrive", "fails"), Step(60, "poll", "fails")),
    {"queue_max_retries": 0, "cancel_after": 60.0},
)

RESUBMITTED = Scenario(
    "resubmitted",
    {"again": Work("ada", (Creation(seconds=20), Creation(seconds=130), Creation(seconds=20)), ends=UNLUCKY)},
    (
        Step(0, "submit", "again"),
        Step(300, "delete", "again"),
        Step(310, "submit", "again"),
        Step(500, "poll", "again"),
    ),
    {"cancel_after": 150.0, "queue_max_retries": 0},
)

LAGGING = Scenario(
    "lagging",
    {
        "made": Work("ada", (Creation("unknown_made", seconds=250), Creation()), ends=UNLUCKY),
        "twin": Work("bob", (Creation("unknown_made", seconds=30), Creation()), prompt="made", ends=UNLUCKY),
    },
    (Step(0, "submit", "made"), Step(1, "submit", "twin"), Step(75, "poll", "made")),
    {"cancel_after": 300.0},
    list_lag=100.0,
)

PARTIAL = Scenario(
    "partial",
    {
        "made": Work("ada", (Creation("unknown_made", seconds=40),), ends=UNLUCKY),
        "not_made": Work("bob", (LOST, Creation(seconds=10)), ends=UNLUCKY),
    },
    (Step(0, "submit", "made"), Step(1, "submit", "not_made"), Step(30, "poll", "not_made")),
    {"cancel_after": 60.0},
    is_list_whole=False,
)

LEAVING = Scenario(
    "leaving",
    {
        "canceled": Work("eve", (LOST, Creation()), ends=CANCELED),
        "next": Work("eve", (Creation(seconds=10),)),
    },
    (
        Step(0, "submit", "canceled"),
        Step(1, "submit", "next"),
        Step(20, "cancel", "canceled"),
        Step(40, "poll", "next"),
    ),
    {"max_user_tasks": 1, "max_user_queued": 2, "cancel_after": 60.0},
)  # fmt: skip

# Each run costs a dollar. A user may spend so many in a month, and all users twice as many.
PRICED: dict[str, Any] = {"prices": {"default": {"run": 1.0}}, "budgets": {"user": {"month": 20}, "all": {"day": 40}}}


def priced(scenario: Scenario, **settings: Any) -> Scenario:
    """The same with prices and budgets."""
    return replace(scenario, name=f"priced_{scenario.name}", settings=scenario.settings | PRICED | settings)


PRICED_ORDINARY = priced(ORDINARY)
PRICED_CANCELING = priced(CANCELING)
PRICED_UNKNOWN = priced(UNKNOWN)
PRICED_BACKLOG = priced(BACKLOG)
PRICED_EXPIRING = priced(EXPIRING)
PRICED_BATCH = priced(BATCH)
OF_SPENDING = (PRICED_ORDINARY, PRICED_CANCELING, PRICED_UNKNOWN, PRICED_BACKLOG, PRICED_EXPIRING, PRICED_BATCH)

FORMER = (ORDINARY, CANCELING, UNKNOWN, RETRY_UNKNOWN, TWINS, TROUBLED, UNLISTED)
LATTER = (
    BACKLOG, LIMITED, HELD, HEIRS, RACES, PAUSED, REFUSED, CIRCUIT, OWN_CIRCUIT, REOPENED, EXPIRING, CONTROLLED,
    YIELDED, BATCH, ALL_OR_NOTHING, BATCH_CANCELED, REDRIVEN, LAGGING, PARTIAL, LEAVING, RESUBMITTED,
)  # fmt: skip
SCENARIOS = (*FORMER, *LATTER, *OF_SPENDING)
