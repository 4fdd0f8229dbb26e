"""What a warm invocation of each function costs beside one bare HTTP call: ``python -m bench.handlers``.

Every case talks to the same canned store over a connection kept open, and everything runs in turn in one process. A
ratio says how many plain ``httpx.Client.post`` calls of the same request the function is worth on the same machine.
"""

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from bench import environment, report
from bench.canned import canned_store
from bench.invocations import Invocations, replies, submission
from bench.measure import Case, Timing, time_in_turn

ROUNDS = 1000
BARE = "bare httpx.Client.post"
# At most this many bare calls' wall time.
TARGETS = {"submit": 2.5, "status, cached": 0.5}
ROWS = (
    BARE, "upstash-redis async SET", "submit", "status, uncached", "status, cached", "status, 304",
    "process-queue, empty tick", "webhook, completed", "health",
)  # fmt: skip
PACKAGES = ("fastapi", "starlette", "pydantic", "mangum", "structlog", "upstash-redis", "httpx", "httpcore", "sniffio")


@contextlib.contextmanager
def unprinted() -> Iterator[None]:
    """Standard output goes nowhere: the functions' log lines are made and written as in production, but not shown."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


class RecordingStore:
    """Remembers the command it was given, to say what an enqueue sends."""

    def __init__(self) -> None:
        self.command: tuple[str, ...] = ()

    async def execute(self, *command: str) -> Any:
        self.command = command
        return ["queued", "1", "0"]

    async def close(self) -> None:
        """Nothing to close."""


def enqueue_command() -> list[str]:
    """The very command that a submit sends to the store."""
    from shared import runtime
    from shared.clock import SystemClock
    from shared.jobqueue import JobQueue

    store, request, settings, clock = RecordingStore(), submission(), runtime.settings(), SystemClock()
    fields = request.fields(settings, "app", 0, clock.now())
    enqueued = JobQueue(store, settings, clock).enqueue(
        f"job_{0:032x}", request.fingerprint(), fields, score=request.score(settings, clock.now()), start=False
    )
    asyncio.get_event_loop().run_until_complete(enqueued)
    return list(store.command)


def reference_cases(stack: contextlib.ExitStack, url: str, token: str) -> list[Case]:
    """The bare call that all else is measured by, and the store's client on its own."""
    import json

    import httpx
    from upstash_redis.asyncio import Redis

    client = stack.enter_context(httpx.Client())
    body = json.dumps(enqueue_command(), ensure_ascii=False, separators=(",", ":")).encode()
    headers = {
        "Authorization": f"Bearer {token}",
        "Upstash-Encoding": "base64",
        "Content-Type": "application/json",
    }
    redis, loop = Redis(url=url, token=token, rest_retries=0, allow_telemetry=False), asyncio.get_event_loop()
    stack.callback(lambda: loop.run_until_complete(redis.close()))
    return [
        Case(
            BARE,
            lambda _: client.post(url, content=body, headers=headers),
            is_right=lambda answer: answer.status_code == 200,
        ),
        Case(
            "upstash-redis async SET",
            lambda _: loop.run_until_complete(redis.set("key", "value")),
            is_right=lambda answer: answer is True,
        ),
    ]


def function_cases() -> list[Case]:
    """Each function, invoked as Lambda invokes it."""
    from functions import health, process_queue, status, submit, webhook
    from shared import runtime

    events = Invocations(runtime.settings())
    etag = status.handler(events.status_again(), None)["headers"]["etag"]
    return [
        _case("submit", submit.handler, events.submit, 202),
        _case("status, uncached", status.handler, events.status, 200),
        _case("status, cached", status.handler, events.status_again, 200),
        _case("status, 304", status.handler, lambda: events.status_if_changed(etag), 304),
        _case("process-queue, empty tick", process_queue.handler, events.tick, 200),
        _case("webhook, completed", webhook.handler, events.webhook, 200),
        _case("health", health.handler, events.health, 200),
    ]


def _case(
    name: str, handler: Callable[[Any, Any], Any], prepare: Callable[[], dict[str, Any]], expected: int
) -> Case:
    return Case(
        name,
        lambda event: handler(event, None),
        prepare,
        lambda answer: answer["statusCode"] == expected,
    )


def measure(url: str, rounds: int) -> dict[str, Timing]:
    """The timings of all cases, by row."""
    environment.enter(url)
    # Mangum and the clients run on the thread's current loop, which since Python 3.12 nothing makes by itself.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    with contextlib.ExitStack() as stack:
        stack.callback(loop.close)
        stack.enter_context(unprinted())
        from shared import runtime

        runtime.settings()  # configures the logs, which keep the standard output of this moment
        stack.callback(lambda: loop.run_until_complete(_close()))
        cases = reference_cases(stack, url, os.environ["UPSTASH_REDIS_REST_TOKEN"]) + function_cases()
        return time_in_turn(cases, rounds)


async def _close() -> None:
    from shared import runtime

    await runtime.current().close()


def print_report(timings: dict[str, Timing], rounds: int) -> None:
    """The table of ratios, then the versions, then what the unit was on this machine."""
    bare = timings[BARE]
    print(f"Warm invocations in units of one {BARE} of the enqueue request; {rounds} interleaved rounds.\n")
    rows = []
    for name in ROWS:
        timing = timings[name]
        ratio = timing.median / bare.median
        figures = [ratio, timing.cpu / bare.cpu, timing.p95 / bare.median]
        rows.append([name, *(f"{figure:.2f}" for figure in figures), report.verdict(ratio, TARGETS.get(name))])
    report.print_table(["case", "median wall", "mean CPU", "p95 wall", "target (median wall)"], rows)
    print()
    report.print_versions(PACKAGES)
    print(f"The unit here: {bare.median / 1e6:.3f} ms wall, {bare.cpu / 1e6:.3f} ms CPU of this process.")


def main() -> int:
    """Measures and prints; the exit status is 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.handlers", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--no-targets", action="store_true", help="exit with 0 whatever the ratios")
    options = parser.parse_args()
    with canned_store(replies()) as url:
        timings = measure(url, options.rounds)
    print_report(timings, options.rounds)
    unit = timings[BARE].median
    is_missed = any(timings[name].median / unit > target for name, target in TARGETS.items())
    return 1 if is_missed and not options.no_targets else 0


if __name__ == "__main__":
    sys.exit(main())
