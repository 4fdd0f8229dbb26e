"""Queues and providers keep their numbers in the store, whatever the settings say later."""

from collections.abc import Iterator

import pytest

from local.rest_server.running import RunningServer
from shared import runtime
from shared.clock import ManualClock
from shared.jobqueue.numbering import NumberedStore, QueuesMoved
from shared.runtime import Runtime
from tests.queue.jobs import ids
from tests.world import ObedientProvider, World, make_world, settings_for

QUEUES = "slow:2,fast:3"


@pytest.fixture
def full(valkey: RunningServer) -> Iterator[RunningServer]:
    """The store's engine; a test may lower its memory limit, which is removed afterwards."""
    yield valkey
    valkey.ask("CONFIG", "SET", "maxmemory", "0")


def new_process(world: World, queues: str) -> Runtime:
    """A new process of the deployment with this list of queues."""
    settings = settings_for(world.server, **world.changes | {"queues": queues})
    providers = {"replicate": world.provider}
    return Runtime(settings, NumberedStore(world.runtime.store, settings), world.clock, providers=providers)


@pytest.mark.parametrize(
    "queues",
    ["fast:3,slow:2", "fast:3", "", "new:1,slow:2,fast:3", "slow:2,new:1,fast:3", "slow:2,new:3", "slow:9,fast:9"],
    ids=["reordered", "first removed", "all removed", "added in front", "added in the middle", "renamed", "same"],
)
async def test_a_pause_never_holds_another_queue(
    any_store: RunningServer | None, clock: ManualClock, queues: str
) -> None:
    async with make_world(any_store, clock, queues=QUEUES) as world:
        await new_process(world, QUEUES).controls.set_gates({"=q2": 0})
        job = await world.enqueue(queue="fast")
        later = new_process(world, queues)
        is_served = queues in ("", "slow:9,fast:9")
        for _ in range(2):
            if is_served:
                await later.records.read(job)
            else:
                with pytest.raises(QueuesMoved, match="slow, fast"):
                    await later.queue.claim(1)
        assert ids(await new_process(world, QUEUES).queue.claim(1)) == [job]


async def test_queues_may_be_appended_and_the_deployment_before_serves_meanwhile(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, queues=QUEUES) as world:
        before = new_process(world, QUEUES)
        await before.records.stats()
        await new_process(world, QUEUES + ",new:1").records.stats()
        await before.records.stats()
        await new_process(world, QUEUES).records.stats()
        with pytest.raises(QueuesMoved, match="slow, fast, new"):
            await new_process(world, QUEUES + ",other:1").records.stats()
        assert await world.raw("GET", world.runtime.queue.keys.queue_names) == "video,storyboard,slow,fast,new"


async def test_a_full_store_that_takes_no_list_is_served(
    valkey: RunningServer, full: RunningServer, clock: ManualClock
) -> None:
    async with make_world(valkey, clock, queues=QUEUES) as world:
        job = await world.enqueue()
        full.ask("CONFIG", "SET", "maxmemory", "1")
        assert (await new_process(world, QUEUES).queue.cancel(job, "app")).word == "canceled"


async def test_each_process_checks_the_numbers_at_its_first_command_only(
    valkey: RunningServer, clock: ManualClock
) -> None:
    async with make_world(valkey, clock, queues=QUEUES) as world:
        await new_process(world, QUEUES).records.stats()
        process = new_process(world, QUEUES)
        counts = []
        for _ in range(2):
            valkey.reset_bill()
            await process.records.stats()
            counts.append(valkey.bill().calls)
        assert counts == [2, 1]


async def test_a_deployment_without_queues_of_its_own_pays_nothing(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock) as world:
        process = new_process(world, "")
        valkey.reset_bill()
        await process.records.stats()
        assert valkey.bill().calls == 1


async def test_functions_use_a_store_that_checks_the_numbers() -> None:
    made = runtime.current()
    assert isinstance(made.store, NumberedStore)
    await made.close()


async def test_the_order_of_providers_moves_no_job_and_no_pause(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    brings = {"wavespeed": ObedientProvider("wavespeed")}
    async with make_world(any_store, clock, brings, providers="replicate,wavespeed", max_user_tasks=4) as world:
        paused, free = await world.enqueue(provider="wavespeed"), await world.enqueue(provider="replicate")
        shown = world.runtime.limits
        await world.runtime.controls.set_gates({"=p1": 0})
        later = world.another_process(providers="wavespeed,replicate")
        assert ids(await later.queue.claim(4)) == [free]
        standing = await later.controls.set_gates({})
        assert later.limits.shown(standing.standing, standing.pauses) == shown.shown(standing.standing, standing.pauses)
        assert (await later.records.read(paused)).state == "queued"
