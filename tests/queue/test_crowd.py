"""A script reads some of the slots at first. Where more are taken, it counts the rest, at the price of two commands."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.jobqueue.constants import BAND, MAX_HEAD, PROVIDERS
from tests.queue.jobs import ids
from tests.world import World, make_world

LIMIT = 2 * MAX_HEAD
FAR = 3_600_000  # ms until a running job's next check


CHANGES: dict[str, Any] = {
    "max_concurrent_tasks": LIMIT, "queue_concurrency": LIMIT, "max_user_tasks": 10, "dispatch_on_submit": False,
    "provider_rates": "replicate:60000", "provider_concurrency": f"replicate:{LIMIT}",
}  # fmt: skip


@pytest.fixture
async def crowded(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    """A deployment with more slots than one page of the index has rows."""
    async with make_world(any_store, clock, **CHANGES) as made:
        yield made


async def take_slots(world: World, count: int, lane: int = 0, after: int = FAR) -> None:
    """Takes slots of a lane for jobs whose next checks are 1 ms apart from a moment on."""
    first = lane * BAND + world.clock.now() + after
    members = [part for n in range(count) for part in (str(first + n), f"slot_{lane}_{n}")]
    await world.raw("ZADD", world.runtime.queue.keys.index, *members)


async def test_a_crowded_system_counts_the_slots_that_it_does_not_read(crowded: World) -> None:
    await take_slots(crowded, LIMIT - 20)
    await take_slots(crowded, 19, lane=PROVIDERS)
    jobs = [await crowded.enqueue(f"user{n}") for n in range(3)]
    assert ids(await crowded.runtime.queue.claim(3)) == jobs[:1]
    late = await crowded.enqueue("late", start=True)
    assert (await crowded.runtime.records.read(late)).state == "queued"


async def test_one_free_slot_of_a_crowded_system_is_taken_at_submit(crowded: World) -> None:
    await take_slots(crowded, LIMIT - 1)
    states = [
        (await crowded.runtime.records.read(await crowded.enqueue(f"user{n}", start=True))).state for n in range(2)
    ]
    assert states == ["submitting", "queued"]


async def test_a_crowded_system_hands_out_overdue_slots_of_a_lane_that_is_behind(crowded: World) -> None:
    await take_slots(crowded, LIMIT - 20)
    await take_slots(crowded, 19, lane=PROVIDERS, after=-100)
    # They have no record, so that the claim drops them: it has looked.
    assert (await crowded.runtime.queue.claim(19)).missing == 19


async def test_a_crowded_system_keeps_the_limit_of_a_queue_whose_slots_are_all_behind(crowded: World) -> None:
    await take_slots(crowded, LIMIT - 20)
    await take_slots(crowded, crowded.runtime.settings.queue_list[1].concurrency - 1, lane=PROVIDERS)
    jobs = [await crowded.enqueue(f"user{n}", queue="storyboard") for n in range(2)]
    assert ids(await crowded.runtime.queue.claim(2)) == jobs[:1]


async def test_a_crowded_system_costs_two_commands_more(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock, **CHANGES) as world:
        costs = []
        for crowd in (0, LIMIT - 20):
            if crowd:
                await take_slots(world, crowd)
            await world.enqueue(f"first{crowd}")
            valkey.reset_bill()
            await world.enqueue(f"next{crowd}")
            submitted = valkey.bill().billed
            assert len((await world.runtime.queue.claim(1)).started) == 1
            costs.append((submitted, valkey.bill().billed - submitted))
        (submit, claim), with_crowd = costs
        assert with_crowd == (submit + 2, claim + 2)
