"""What jobs cost in commands of the store: ``python -m bench.commands``.

They are counted at the embedded REST server as Upstash bills them; a job is polled once, after its end. Counts do not
depend on the machine. Tests hold each of them to DESIGN.md's table, and here they stand beside the goals.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench import report
from local.rest_server.running import RunningServer, running_server
from shared.clock import SystemClock
from tests.counting import Counting
from tests.world import API_KEY, PROCESSOR, http_client, load_scripts, make_world

RUNNING = 60  # jobs, beside the lost submission
Count = tuple[int, int]  # HTTP calls, billed commands


@asynccontextmanager
async def deployment(server: RunningServer, **changes: Any) -> AsyncIterator[Counting]:
    """A deployment whose count begins now."""
    async with make_world(server, SystemClock(), **changes) as world, http_client() as client:
        server.reset_bill()
        yield Counting(world, client, server)


async def queued(server: RunningServer) -> Count:
    """A job that waits until the end of another one starts it: submit, that end, one poll after its own."""
    async with deployment(server, dispatch_on_submit=False, queue_concurrency=1, max_user_tasks=4) as made:
        jobs = [await made.submit() for _ in range(3)]
        await made.dispatch()
        await made.webhook(jobs[0], "p1")
        made.count()
        await made.submit()
        await made.webhook(jobs[1], "p2")
        await made.poll(jobs[1])
        return made.count()


async def immediate(server: RunningServer) -> Count:
    """A job that starts at its submit: submit, its end, one poll after it."""
    async with deployment(server, max_user_tasks=100) as made:
        job = await made.submit()
        await made.webhook(job, "p1")
        await made.poll(job)
        return made.count()


async def empty_tick(server: RunningServer) -> Count:
    """A tick that finds nothing to do, the sweep of every 15 minutes left out."""
    async with deployment(server) as made:
        await made.tick()
        made.count()
        await made.tick()
        return made.count()


async def adoption(server: RunningServer) -> Count:
    """The adoption of a lost submission while many jobs run."""
    changes = {"max_concurrent_tasks": 100, "provider_rates": "replicate:60000"}
    async with deployment(server, **changes) as made:
        queue = made.world.runtime.queue
        for number in range(RUNNING):
            await made.world.enqueue(f"user{number}", job_id=f"runs{number}")
        for job in (await queue.claim(RUNNING)).started:
            await queue.record(job.id, job.attempt, f"p-{job.id}")
        lost = await made.world.enqueue("ada")
        await queue.claim(1)
        made.count()
        await queue.adopt(lost, 1, dict.fromkeys([*(f"p-runs{n}" for n in range(10)), "p1"], "alike"))
        return made.count()


SCENARIOS = {
    "a job that waits for another one's end": (queued, 26),
    "a job that starts at its submit": (immediate, 21),
    "an empty tick": (empty_tick, 4),
    f"adopting a lost submission while {RUNNING} jobs run": (adoption, 10),
}


# The applications of tests, whose settings make_world replaces; see tests/conftest.py.
ENVIRONMENT = {
    "SLUICE_ENV": "test", "USE_REDIS_FOR_TASKS": "false", "LOG_LEVEL": "ERROR",
    "API_KEYS": f"app:{API_KEY}", "QUEUE_PROCESSOR_TOKEN": PROCESSOR["Authorization"].removeprefix("Bearer "),
}  # fmt: skip


async def counted() -> list[tuple[str, Count, int]]:
    """Each scenario with its count and the goal for its commands."""
    rows = []
    for name, (scenario, goal) in SCENARIOS.items():
        with running_server() as server:
            load_scripts(server)
            rows.append((name, await scenario(server), goal))
    return rows


def main() -> int:
    """Prints the counts and returns 0: no run of it can change them."""
    parser = argparse.ArgumentParser(prog="python -m bench.commands", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--no-targets", action="store_true", help="leave the goals out")
    is_judged = not parser.parse_args().no_targets
    os.environ.update(ENVIRONMENT)
    rows = [
        [name, str(calls), str(commands), report.verdict(commands, goal if is_judged else None)]
        for name, (calls, commands), goal in asyncio.run(counted())
    ]
    report.print_table(["what", "HTTP calls", "commands", "goal"], rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
