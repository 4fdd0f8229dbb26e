"""The cost of results and hooks, counted at the REST server and compared with DESIGN.md's table."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock
from shared.providers.base import Prediction
from tests.costs import COSTS
from tests.receiver import Receiver, receiver
from tests.world import World, make_world

Counted = dict[str, tuple[int, int]]


@pytest.fixture
async def owner() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        made.answers = lambda request: (200, {}, b"a file" if request.path == "/file" else b"")
        yield made


@pytest.fixture
async def world(valkey: RunningServer, owner: Receiver) -> AsyncIterator[World]:
    changes: dict[str, Any] = {"allow_loopback": True, "storage_url": "memory://costs"}
    async with make_world(valkey, ManualClock(), **changes) as made:
        yield made


def count(server: RunningServer) -> tuple[int, int]:
    bill = server.bill()
    server.reset_bill()
    return bill.calls, bill.billed


async def finish(world: World, output: Any, **changes: Any) -> None:
    job_id = await world.enqueue(start=True, **changes)
    await world.runtime.queue.record(job_id, 1, f"p_{job_id}")
    assert world.server is not None
    world.server.reset_bill()
    await world.runtime.reconciler.apply(job_id, 1, "replicate", Prediction(f"p_{job_id}", "completed", output))


async def test_results_and_hooks_cost_what_the_table_says(world: World, owner: Receiver, valkey: RunningServer) -> None:
    counted: Counted = {}

    async def drain() -> None:
        await world.follow_up()

    await finish(world, "no file")
    counted["end of a job without files and hook"] = count(valkey)
    await drain()
    assert count(valkey) == (0, 0), "no hook and no files cost nothing"
    await finish(world, owner.url("/file"))
    counted["end of a job with a file"] = count(valkey)
    await drain()
    counted["store the file and note it"] = count(valkey)
    await finish(world, "no file", hook_url=owner.url())
    counted["end of a job with a hook"] = count(valkey)
    await drain()
    counted["deliver the event and note it"] = count(valkey)
    await finish(world, owner.url("/file"), hook_url=owner.url())
    await drain()
    counted["end of a job with a file and a hook, all of it"] = count(valkey)
    assert counted == {name: COSTS.get(name) for name in counted}


async def test_files_in_trouble_cost_what_the_table_says(world: World, owner: Receiver, valkey: RunningServer) -> None:
    counted: Counted = {}
    await finish(world, "https://elsewhere.example/x.png")
    counted["end of a job with files of unknown hosts only"] = count(valkey)
    await finish(world, "data:text/plain;base64,YQ==")
    counted["end of a job with a file inside its output"] = count(valkey)
    world.follow_ups()
    owner.answers = lambda _: (503, {}, b"")
    for seconds, name in ((0, "note that a file fails"),
                          (300, "note that a file has failed for minutes, and write the event")):  # fmt: skip
        await finish(world, owner.url("/file"), hook_url=owner.url())
        (row,) = world.follow_ups()
        world.manual.advance(seconds)
        valkey.reset_bill()
        await world.runtime.storing.store(row, Budget(50))
        counted[name] = count(valkey)
    assert counted == {name: COSTS.get(name) for name in counted}


async def test_the_outbox_costs_a_tick_what_the_table_says(
    world: World, owner: Receiver, valkey: RunningServer
) -> None:
    counted: Counted = {}
    valkey.reset_bill()
    await world.work_off()
    counted["look into an outbox where nothing is due"] = count(valkey)
    await finish(world, owner.url("/file"))
    await finish(world, "no file", hook_url=owner.url())
    valkey.reset_bill()
    assert await world.runtime.outbox.release(rows := world.follow_ups()) == len(rows) == 2
    counted["give back a job's files and an event"] = count(valkey)
    await world.work_off()
    await finish(world, "no file", hook_url=owner.url())
    world.follow_ups()
    world.manual.advance(60)
    valkey.reset_bill()
    (jobs, (lane,)) = await world.runtime.outbox.claim(4, 32, 20)
    counted["claim a lane with one event"] = count(valkey)
    assert not jobs and len(lane.rows) == 1
    owner.answers = lambda _: (500, {}, b"")
    await world.runtime.deliveries.deliver(lane.rows[0], lane)
    counted["try to deliver to a host that fails"] = count(valkey)
    assert counted == {name: COSTS.get(name) for name in counted}
