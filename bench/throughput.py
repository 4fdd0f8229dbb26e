"""How much one process on one core can do: ``python -m bench.throughput --against REVISION`` (Linux).

uvicorn serves the composed application of this tree, and that of another revision. Both take turns, so that a slow
phase of the machine slows both. A figure is a count divided by the CPU seconds of the serving process: the store, the
provider and the client run in other processes, and on one core alone the process would do no more.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from bench import report
from bench.servers import AT_ONCE, DEADLINE, HERE, PACKAGES, Server, serving, trees_with
from local.simulator.running import RunningSimulator, running_simulator

ROUNDS, SUBMITS, JOBS = 5, 300, 60
ROWS = ("submits", "polls", "whole jobs")
SIMULATED: dict[str, object] = {"seconds": 0.5, "start_delay": 0, "output": "text"}


async def each(work: Callable[[int], Awaitable[None]], count: int) -> None:
    """Does all of the work, some at once."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await work(number)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


async def rate(server: Server, work: Callable[[int], Awaitable[None]], count: int) -> float:
    """Returns how often the work was done for each CPU second of the server."""
    before = server.cpu()
    await each(work, count)
    return count / (server.cpu() - before)


@dataclass(frozen=True)
class Tree:
    """Two servers of one tree. ``waiting`` starts no job at its submit; ``starting`` starts each one."""

    waiting: Server
    starting: Server
    rates: dict[str, list[float]] = field(default_factory=lambda: {row: [] for row in ROWS})

    async def play(self, simulator: RunningSimulator, turn: int, submits: int, jobs: int) -> None:
        """One turn: submits that only queue, a first poll of each, and jobs from submit to the last poll."""
        queued, started = list[str](), list[str]()

        async def submit(number: int) -> None:
            queued.append(await self.waiting.submit(f"user{turn}-{number}", {}))

        async def start(number: int) -> None:
            started.append(await self.starting.submit(f"user{turn}-{number}", SIMULATED))

        self.rates["submits"].append(await rate(self.waiting, submit, submits))
        self.rates["polls"].append(
            await rate(self.waiting, lambda at: self.waiting.poll(queued[at], "pending"), submits)
        )
        before = self.starting.cpu()
        await each(start, jobs)
        await delivered(simulator, jobs)
        await each(lambda number: self.starting.poll(started[number], "completed"), jobs)
        self.rates["whole jobs"].append(jobs / (self.starting.cpu() - before))
        simulator.reset()


async def delivered(simulator: RunningSimulator, count: int) -> None:
    """Waits until as many predictions have been announced by a webhook that was answered with success."""
    give_up_at = time.monotonic() + DEADLINE
    while True:
        found = await asyncio.to_thread(simulator.predictions)
        if sum(any(tried["status_code"] == 200 for tried in one["deliveries"]) for one in found) >= count:
            return
        assert time.monotonic() < give_up_at, "webhooks are missing"
        await asyncio.sleep(0.05)


def measure(revision: str | None, rounds: int, submits: int, jobs: int) -> dict[str, dict[str, float]]:
    """Returns the median rate of each row, by tree."""
    with ExitStack() as stack:
        trees = stack.enter_context(trees_with(revision))
        simulator = stack.enter_context(running_simulator())
        provider = {
            "REPLICATE_BASE_URL": simulator.url,
            "REPLICATE_API_TOKEN": simulator.token,
            "REPLICATE_WEBHOOK_SECRET": simulator.webhook_secret,
        }
        served = {
            name: Tree(
                stack.enter_context(serving(folder, provider | {"DISPATCH_ON_SUBMIT": "false"})),
                stack.enter_context(serving(folder, provider | {"DISPATCH_ON_SUBMIT": "true"})),
            )
            for name, folder in trees.items()
        }
        asyncio.run(in_turn(list(served.values()), simulator, rounds, submits, jobs))
    return {name: {row: statistics.median(rates) for row, rates in tree.rates.items()} for name, tree in served.items()}


async def in_turn(trees: list[Tree], simulator: RunningSimulator, rounds: int, submits: int, jobs: int) -> None:
    """Plays all rounds; the first one, in which connections are opened, does not count."""
    for turn in range(rounds + 1):
        for tree in trees:
            await tree.play(simulator, turn, submits, jobs)
            if turn == 0:
                for row in ROWS:
                    tree.rates[row].clear()
    for tree in trees:
        await tree.waiting.client.aclose()
        await tree.starting.client.aclose()


def print_report(rates: dict[str, dict[str, float]], rounds: int) -> None:
    """Prints the rates, and what this tree is to the other."""
    print(f"For each CPU second of one serving process; the median of {rounds} rounds, interleaved.\n")
    other = next((name for name in rates if name != HERE), None)
    rows = []
    for row in ROWS:
        here = rates[HERE][row]
        cells = [row, f"{here:,.0f}"]
        if other is not None:
            cells += [f"{rates[other][row]:,.0f}", f"{here / rates[other][row]:.2f}"]
        rows.append(cells)
    report.print_table(["a CPU second", HERE, *([other, "ratio"] if other is not None else [])], rows)
    print()
    report.print_versions(PACKAGES)


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--against", metavar="REVISION", help="another revision, which takes turns with this tree")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}")
    parser.add_argument("--submits", type=int, default=SUBMITS, help=f"of each round (default {SUBMITS})")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"whole jobs of each round (default {JOBS})")
    parser.add_argument("--no-targets", action="store_true", help="for make bench; nothing is judged here")
    options = parser.parse_args()
    if not os.path.exists("/proc/self/task"):
        print("bench.throughput reads /proc, which this system does not have.")
        return 0
    print_report(measure(options.against, options.rounds, options.submits, options.jobs), options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
