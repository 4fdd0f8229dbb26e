"""Scenarios of providers that push back: pauses, refused jobs, circuits."""

from typing import Any

from tests.faults.scenario import FAILS, LOST, UNLUCKY, Creation, Scenario, Step, Work

PAUSED = Scenario(
    "paused",
    {
        "first": Work("ada", (Creation("throttled"), Creation("throttled"), LOST, Creation(seconds=10))),
        "second": Work("bob", (Creation(seconds=10),)),
        "third": Work("eve", queue="storyboard"),
    },
    (
        Step(0, "submit", "first"), Step(1, "submit", "second"), Step(2, "submit", "third"), Step(15, "poll", "first"),
        Step(45, "poll", "second"), Step(200, "poll", "third"),
    ),
    {"cancel_after": 60.0},
)  # fmt: skip

REFUSED = Scenario(
    "refused",
    {
        "refused": Work("ada", (Creation("refused"), Creation("refused"), Creation(seconds=10))),
        "probe": Work("bob", (Creation("unknown_made"),), ends=UNLUCKY),
        "behind": Work("eve", (Creation(seconds=10),), queue="storyboard"),
    },
    (
        Step(0, "submit", "refused"), Step(1, "submit", "probe"), Step(2, "submit", "behind"),
        Step(15, "poll", "probe"), Step(45, "poll", "refused"), Step(200, "poll", "behind"),
    ),
    {"cancel_after": 60.0},
)  # fmt: skip

TWO_FAILURES_OPEN: dict[str, Any] = {
    "queue_max_retries": 1, "queue_retry_delay": 20_000, "circuit_failures": 2, "circuit_pause": 40.0,
    "cancel_after": 60.0,
}  # fmt: skip

CIRCUIT = Scenario(
    "circuit",
    {
        "hopeless": Work("ada", (FAILS,), ends=("failed",)),
        "lost": Work("dan", (FAILS, LOST, Creation()), ends=UNLUCKY),
        "parked": Work("bob", (Creation(seconds=10),)),
        "behind": Work("eve", (Creation(seconds=10),), queue="storyboard"),
    },
    (
        Step(0, "submit", "hopeless"), Step(1, "submit", "lost"), Step(10, "submit", "parked"),
        Step(12, "submit", "behind"), Step(50, "poll", "parked"),
    ),
    TWO_FAILURES_OPEN,
)  # fmt: skip

OWN_CIRCUIT = Scenario(
    "own_circuit",
    {
        "hopeless": Work("ada", (FAILS,), ends=("failed",)),
        "again": Work("ada", (FAILS, Creation()), ends=UNLUCKY),
        "parked": Work("ada", (Creation(seconds=10),), ends=UNLUCKY),
        "free": Work("bob", (FAILS, Creation(seconds=10)), ends=UNLUCKY),
    },
    (
        Step(0, "submit", "hopeless"), Step(1, "submit", "again"), Step(10, "submit", "parked"),
        Step(12, "submit", "free"), Step(50, "poll", "parked"),
    ),
    TWO_FAILURES_OPEN,
)  # fmt: skip

REOPENED = Scenario(
    "reopened",
    {
        "fails": Work("ada", (FAILS,), ends=("failed",)),
        "succeeds": Work("bob", (Creation(seconds=10),)),
        "fails_later": Work("eve", (Creation(seconds=15, verdict="failed"), Creation(seconds=10)), ends=UNLUCKY),
        "throttled": Work("eve", (Creation("throttled"), Creation(seconds=10))),
        "behind": Work("bob", (Creation(seconds=10),), queue="storyboard"),
    },
    (
        Step(0, "submit", "succeeds"), Step(1, "submit", "fails_later"), Step(2, "submit", "fails"),
        Step(12, "submit", "throttled"), Step(13, "submit", "behind"),
    ),
    {
        "max_concurrent_tasks": 3, "queue_max_retries": 1, "queue_retry_delay": 20_000, "circuit_failures": 1,
        "circuit_pause": 30.0, "cancel_after": 60.0,
    },
)  # fmt: skip
