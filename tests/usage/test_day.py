"""A simulated day: the own count of commands, the store's exact bill and `make cost` agree."""

import random

import pytest

from bench.cost import DAY, DESIGN, Bill, Load, budget
from local.rest_server.running import RunningServer
from shared import runtime
from shared.clock import ManualClock, SystemClock
from shared.runtime import Runtime
from shared.store import Store, open_store
from shared.usage import prices
from shared.usage.counting import CountedStore
from tests.counting import Counting
from tests.world import World, http_client, make_world

BURSTS, JOBS, POLLS, TICK = 12, 10, 4, 240  # of the day, of a burst, of a job, and s
PROCESSES = 2  # of the day, one after the other
SETTINGS = {
    "count_commands": True,
    "queue_concurrency": 1,  # all jobs of a burst but the first wait for the end of the one before
    "provider_rates": "replicate:60000",  # its bucket fills by the store's clock, on which the day is short
}


class DayClock(ManualClock):
    """Is moved by hand from the beginning of a day on; leases go by the store's clock, as in production."""

    def __init__(self) -> None:
        super().__init__(SystemClock().now() // (DAY * 1000) * DAY * 1000)

    def lease_now(self) -> str:
        return ""


def begin_process(world: World, connections: Store, seed: int) -> None:
    """Lets another process serve from now on, whose count begins anew; the one before ends without a word."""
    settings = world.runtime.settings
    store = CountedStore(connections, settings, world.clock, pick=random.Random(seed).randrange)
    world.runtime = Runtime(settings, store, world.clock, providers={"replicate": world.provider})
    runtime.install(world.runtime)


async def play_burst(day: Counting) -> None:
    """Some jobs, one after the other; each is polled after its end."""
    started = day.world.provider.created
    before = len(started)
    for number in range(JOBS):
        await day.submit(f"user{number}")
    if len(started) == before:  # no submit has looked for room
        await day.tick()
    for _ in range(JOBS):
        job_id = started[-1].job_id
        await day.webhook(job_id, f"p{len(started)}")
        for _ in range(POLLS):
            await day.poll(job_id)
            day.world.runtime.cache.forget_all("")  # as if the polls were further apart than a value is kept


@pytest.mark.exhaustive  # 6 s
async def test_the_count_of_a_day_agrees_with_the_bill_and_with_what_make_cost_says(valkey: RunningServer) -> None:
    clock = DayClock()
    async with make_world(valkey, clock, **SETTINGS) as world, http_client() as client:
        connections, day = open_store(world.runtime.settings), Counting(world, client, valkey)
        valkey.reset_bill()
        for second in range(0, DAY, TICK):
            if second % (DAY // PROCESSES) == 0:
                begin_process(world, connections, seed=second)
            if second % (DAY // BURSTS) == 0:
                await play_burst(day)
            await day.tick()
            clock.advance(TICK if second + TICK < DAY else TICK - 1)
        billed = valkey.bill().billed
        counted = (await world.runtime.usage.month()).commands
        await connections.close()
    load = Load(BURSTS * JOBS, POLLS, TICK, is_counted=True)
    foretold = Bill(load, budget(DESIGN.read_text()), prices.load()).commands / prices.DAYS
    print(f"billed {billed}, counted {counted}, foretold {foretold:.0f}")
    assert abs(foretold / billed - 1) < 0.05
    assert abs(counted / billed - 1) < 0.05
    assert abs(foretold / counted - 1) < 0.05
