"""What a warm invocation of each function costs beside one bare HTTP call: ``python -m bench.handlers``.

Every case talks to the same canned store over a connection kept open, and all of them take turns in one process. A
ratio says how many plain ``httpx.Client.post`` calls of an enqueue's request the function is worth.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout

from bench import cases, report
from bench.canned import canned_store
from bench.environment import enter
from bench.invocations import replies
from bench.measure import Timing, time_in_turn
from shared import runtime

ROUNDS = 1000
# At most this many bare calls, by the median of the wall time.
TARGETS = {cases.SUBMIT: 2.5, cases.CACHED: 0.5}
AIMS = {cases.SUBMIT: 1.6}
PACKAGES = ("fastapi", "starlette", "pydantic", "mangum", "structlog", "upstash-redis", "httpx", "httpcore", "sniffio")


@contextmanager
def unprinted() -> Iterator[None]:
    """Standard output leads nowhere: the functions' log lines are written as in production, but not shown."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


def measure(url: str, rounds: int) -> dict[str, Timing]:
    """The timings of all cases against the store at ``url``, by row."""
    enter(url)
    # Mangum and the clients use the thread's current loop, which newer Pythons no longer make by themselves.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    with ExitStack() as stack:
        stack.callback(loop.close)
        stack.enter_context(unprinted())
        settings = runtime.settings()  # configures the logs, which keep the standard output of this moment
        stack.callback(lambda: loop.run_until_complete(cases.close_clients()))
        timed = cases.references(stack, loop, settings) + cases.functions(settings)
        return time_in_turn(timed, rounds)


def print_report(timings: dict[str, Timing], rounds: int) -> None:
    """Prints the ratios, the versions they hold for, and last what the unit was on this machine."""
    bare = timings[cases.BARE]
    print(f"Warm invocations in units of one {cases.BARE} of an enqueue's request; {rounds} interleaved rounds.\n")
    rows = []
    for name in cases.ROWS:
        timing = timings[name]
        wall = timing.median / bare.median
        ratios = (wall, timing.cpu / bare.cpu, timing.p95 / bare.median)
        rows.append([name, *(f"{ratio:.2f}" for ratio in ratios), _verdict(name, wall)])
    report.print_table(["case", "wall, median", "CPU, mean", "wall, p95", "target (wall, median)"], rows)
    print()
    report.print_versions(PACKAGES)
    print(f"The unit here: {bare.median / 1e6:.3f} ms wall, {bare.cpu / 1e6:.3f} ms CPU of the client.")


def _verdict(name: str, wall: float) -> str:
    aim = f"; aim {AIMS[name]:g}" if name in AIMS else ""
    return report.verdict(wall, TARGETS[name]) + aim if name in TARGETS else ""


def main() -> int:
    """Measures and prints; 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.handlers", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each case is timed (default {ROUNDS})")
    parser.add_argument("--no-targets", action="store_true", help="exit with 0 whatever the ratios are")
    options = parser.parse_args()
    with canned_store(replies()) as url:
        timings = measure(url, options.rounds)
    print_report(timings, options.rounds)
    unit = timings[cases.BARE].median
    is_missed = any(timings[name].median > target * unit for name, target in TARGETS.items())
    return 1 if is_missed and not options.no_targets else 0


if __name__ == "__main__":
    sys.exit(main())
