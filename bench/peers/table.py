"""The rows as Markdown and as JSON, the cheapest paced job first, and notes on how to read them."""

from collections.abc import Sequence
from typing import Any

from bench.peers.scenario import Phase, Plan, Row
from shared.usage.prices import DAYS, Prices

COUNTS = (
    *("queue", "version", "paced job, outer + inner", "job of a burst", "round trips, paced / burst"),
    *("idle commands a day", "1,000 jobs", "idle month"),
)
NONE = "none seen"  # not zero: a timer may be slower than the idle time
PROMISES = ("queue", "a running job survives its worker", "limits", "status kept")


def ordered(rows: Sequence[Row]) -> list[Row]:
    """Returns the measured rows in the order of a paced job's commands, which are billed."""
    return sorted((row for row in rows if not row.failure), key=lambda row: row.phases["paced"].commands)


def counts(row: Row, prices: Prices) -> list[str]:
    """Returns a queue's line in the table of counts and prices."""
    paced, burst, idle = (row.phases[name] for name in ("paced", "burst", "idle"))
    return [
        row.peer.name,
        row.version or "this",
        _commands(paced),
        _commands(burst),
        f"{paced.trips / paced.count:.1f} / {burst.trips / burst.count:.1f}",
        f"{idle.commands:,.0f}" if idle.commands else NONE,
        f"${prices.commands(1000 * paced.commands):.3f}",
        f"${prices.commands(DAYS * idle.commands):.2f}" if idle.commands else NONE,
    ]


def promises(row: Row) -> list[str]:
    """Returns a queue's line in the table of promises."""
    return [row.peer.name, row.peer.promises.acknowledges, row.peer.promises.limits, row.peer.promises.status]


def as_json(row: Row, prices: Prices) -> dict[str, Any]:
    """Returns one row's numbers, per job and day."""
    document: dict[str, Any] = {"queue": row.peer.name, "version": row.version, "failure": row.failure}
    for name, phase in row.phases.items():
        parts = {"outer": phase.outer, "inner": phase.inner, "round_trips": phase.trips}
        document[name] = {part: value / phase.count for part, value in parts.items()}
    if not row.failure:
        document["dollars_per_1000_jobs"] = prices.commands(1000 * row.phases["paced"].commands)
        document["dollars_per_idle_month"] = prices.commands(DAYS * row.phases["idle"].commands)
    return document


def notes(plan: Plan, prices: Prices) -> list[str]:
    """Returns what the numbers mean and what they omit."""
    return [
        f"Commands per job of {plan.jobs} jobs one at a time and of a burst of {plan.burst}, with one worker and one "
        "status poll a job (dramatiq: none, it has no status by default). Outer: sent by clients; inner: run by "
        "scripts, which Upstash bills too. What opens a connection (HELLO, AUTH, CLIENT, SELECT, PING, INFO) is left "
        "out. The job itself does nothing, in all rows; the polls of a burst come when it is over.",
        f"Idle is {plan.idle:g} s extrapolated to a day, with one worker; timers slower than that are missed. Sluice's "
        f"is {plan.ticks:,} ticks, a minute apart on a clock put forward; it has no workers that would multiply it.",
        "Sluice's round trips are HTTP calls. Its paced jobs start at their submit; its burst waits in the queue. The "
        "others hold connections and block on them, so they cannot run over Upstash's REST API, and their workers "
        "are processes that must run all the time; their cost is not in the table.",
        f"Prices: ${prices.amounts['upstash.commands']:.2f} for 100,000 commands, Upstash pay as you go, "
        f"{prices.date.isoformat()} (shared/usage/prices.toml), paced jobs, {DAYS} days, "
        "the free 500,000 not deducted.",
        "The promises are from each queue's documentation and source, for its defaults; they are not measured.",
    ]


def _commands(phase: Phase) -> str:
    return f"{phase.outer / phase.count:.1f} + {phase.inner / phase.count:.1f} = {phase.commands:.1f}"
