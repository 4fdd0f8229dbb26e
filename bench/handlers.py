"""What a warm invocation of each function costs, compared with a bare HTTP call: ``python -m bench.handlers``.

Every case calls the same canned store over a connection kept open, and all take turns in one process. The unit of a
ratio is one plain ``httpx.Client.post`` of an enqueue's request. CPU is judged, not wall time, in which the
store's process and other processes have a share.
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
# Maxima, in bare calls, of the mean CPU time.
TARGETS = {cases.SUBMIT: 1.3, cases.CACHED: 0.25}
PACKAGES = ("fastapi", "starlette", "pydantic", "mangum", "structlog", "upstash-redis", "httpx", "httpcore", "sniffio")


@contextmanager
def unprinted() -> Iterator[None]:
    """Discards standard output: the functions write their log lines as in production, but nothing shows them."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


def measure(url: str, rounds: int) -> dict[str, Timing]:
    """Returns the timings of all cases against the store at ``url``, by row."""
    enter(url)
    # Mangum and the clients use the thread's current loop, and newer Pythons make none.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    with ExitStack() as stack:
        stack.callback(loop.close)
        stack.enter_context(unprinted())
        settings = runtime.settings()  # configures the logs, which keep the present standard output
        stack.callback(lambda: loop.run_until_complete(cases.close_clients()))
        timed = cases.references(stack, loop, settings) + cases.functions(settings)
        return time_in_turn(timed, rounds)


def print_report(timings: dict[str, Timing], rounds: int) -> None:
    """Prints the ratios, the versions, and last the unit on this machine."""
    bare = timings[cases.BARE]
    print(f"Warm invocations in units of one {cases.BARE} of an enqueue's request; {rounds} interleaved rounds.\n")
    rows = []
    for name in cases.ROWS:
        timing = timings[name]
        cpu = timing.cpu / bare.cpu
        ratios = (cpu, timing.median / bare.median, timing.p95 / bare.median)
        rows.append([name, *(f"{ratio:.2f}" for ratio in ratios), report.verdict(cpu, TARGETS.get(name))])
    report.print_table(["case", "CPU, mean", "wall, median", "wall, p95", "target (CPU)"], rows)
    print()
    report.print_versions(PACKAGES)
    print(f"The unit here: {bare.median / 1e6:.3f} ms wall, {bare.cpu / 1e6:.3f} ms CPU of the client.")


def main() -> int:
    """Measures and prints; returns 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.handlers", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each case is timed (default {ROUNDS})")
    parser.add_argument("--no-targets", action="store_true", help="exit with 0 even if a target is missed")
    options = parser.parse_args()
    with canned_store(replies()) as url:
        timings = measure(url, options.rounds)
    print_report(timings, options.rounds)
    unit = timings[cases.BARE].cpu
    is_missed = any(timings[name].cpu > target * unit for name, target in TARGETS.items())
    return 1 if is_missed and not options.no_targets else 0


if __name__ == "__main__":
    sys.exit(main())
