"""How long a job waits for its start at the provider: ``python -m bench.latency``.

On an idle system the wait begins with the submit, on a full one with the webhook that ends another job. Both are
measured through the functions, in ms and in bare calls of the same store. They are compared with a queue that only a
schedule drains, every 30 s or 60 s: the same functions without DISPATCH_ON_SUBMIT and without webhooks, on a simulated
clock, where jobs arrive and end at random moments. Provider and network take no time in either.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable

import httpx

from bench import report
from bench.cases import enqueue_command
from bench.driving import Deployment, entered_store, own_loop, prediction_id
from bench.handlers import unprinted
from bench.job_cpu import bare_calls
from shared import runtime
from shared.clock import ManualClock, SystemClock

JOBS = 200
PERIODS = (30, 60)  # s between two ticks
RUN = 20.0  # s; minimum of a prediction in the queue that only a schedule drains
PACKAGES = ("fastapi", "mangum", "upstash-redis", "httpx")
IDLE, FULL = "idle, from the submit", "full, from the end of another job"
Waits = dict[str, list[float]]  # s by system


def measured(deployment: Deployment, count: int, bare: Callable[[], None]) -> tuple[Waits, list[float]]:
    """Returns in s how long jobs wait with two slots, and how long each bare call takes."""
    waits, calls, provider = Waits({IDLE: [], FULL: []}), list[float](), deployment.provider
    for _ in range(count):
        first, given = len(provider.created), deployment.submission()
        began = time.perf_counter()
        deployment.call(given)
        waits[IDLE].append(provider.asked_at - began)
        deployment.call(deployment.submission())
        assert deployment.call(deployment.submission())["status"] == "pending"
        given = deployment.webhook(first)
        began = time.perf_counter()
        deployment.call(given)
        assert len(provider.created) == first + 3
        waits[FULL].append(provider.asked_at - began)
        for number in (first + 1, first + 2):
            deployment.call(deployment.webhook(number))
        began = time.perf_counter()
        bare()
        calls.append(time.perf_counter() - began)
    return waits, calls


def drained(deployment: Deployment, clock: ManualClock, period: int, count: int) -> Waits:
    """Returns how long jobs wait with one slot that only ticks fill, every ``period`` s of the clock."""
    waits, provider, chance = Waits({IDLE: [], FULL: []}), deployment.provider, random.Random(period)
    tick = period * 1000

    def tick_until(started: int) -> None:
        while len(provider.created) < started:
            clock.true_now += tick - clock.true_now % tick
            deployment.tick()

    for _ in range(count):
        first, clock.true_now = len(provider.created), clock.true_now + chance.randrange(tick)
        arrived = clock.true_now
        deployment.call(deployment.submission())
        tick_until(first + 1)
        waits[IDLE].append((clock.true_now - arrived) / 1000)
        deployment.call(deployment.submission())
        ended = clock.true_now + round(RUN * 1000) + chance.randrange(tick)
        provider.ends[prediction_id(first)] = ended
        tick_until(first + 2)
        waits[FULL].append((clock.true_now - ended) / 1000)
        provider.ends[prediction_id(first + 1)] = clock.true_now
        clock.true_now += 2 * tick - clock.true_now % tick
        deployment.tick()
    return waits


def measure(count: int) -> tuple[Waits, dict[int, Waits], float]:
    """Returns the waits as built, the waits by period, and the median of a bare call."""
    with entered_store() as url, own_loop() as loop, unprinted(), httpx.Client() as client:
        settings = runtime.settings()
        command = loop.run_until_complete(enqueue_command(settings.model_copy(update={"queue_prefix": "bare"})))
        body = json.dumps(command, ensure_ascii=False, separators=(",", ":")).encode()
        bare = bare_calls(url, settings, client, body, 1)
        with Deployment(loop, settings, SystemClock()) as deployment:
            measured(deployment, max(1, count // 10), bare)  # warms up
            waits, calls = measured(deployment, count, bare)
        by_schedule = {}
        for period in PERIODS:
            changes = {
                "dispatch_on_submit": False,
                "public_base_url": None,
                "max_concurrent_tasks": 1,
                "queue_prefix": f"every{period}",
                "tick_period": float(period),
            }
            clock = ManualClock()
            with Deployment(loop, settings.model_copy(update=changes), clock) as deployment:
                by_schedule[period] = drained(deployment, clock, period, count)
    return waits, by_schedule, statistics.median(calls)


def print_report(waits: Waits, by_schedule: dict[int, Waits], bare: float, count: int) -> None:
    """Prints the waits, and last a bare call's time on this machine."""
    print(f"From the moment at which a job could start until its create call at the provider; {count} jobs each.\n")
    rows = []
    for system in (IDLE, FULL):
        taken = sorted(waits[system])
        middle, late = statistics.median(taken), taken[int(len(taken) * 0.95)]
        measured_cells = [f"{middle * 1000:.1f} ms", f"{late * 1000:.1f} ms", f"{middle / bare:.1f}"]
        means = [f"{statistics.mean(by_schedule[period][system]):.1f} s" for period in PERIODS]
        rows.append([system, *measured_cells, *means])
    scheduled = [f"only ticks, every {period} s: mean" for period in PERIODS]
    report.print_table(["system", "median", "p95", "in bare calls", *scheduled], rows)
    print()
    report.print_versions(PACKAGES)
    print(f"A bare call here: {bare * 1000:.2f} ms. Between a function and Upstash it is a network's round trip.")


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"how many jobs of each kind (default {JOBS})")
    parser.add_argument("--no-targets", action="store_true", help="for make bench; nothing is judged here")
    options = parser.parse_args()
    print_report(*measure(options.jobs), options.jobs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
