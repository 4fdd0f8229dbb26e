"""A queue that is full and long costs the others nothing: no claim that finds nothing, no wait for one."""

from collections.abc import AsyncIterator

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from tests.queue.jobs import ids
from tests.world import World, make_world

LONG = 150  # jobs; more than a script reads of the index


@pytest.fixture
async def full(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    """The video queue has all its slots taken, and a long wait."""
    changes = {"queue_concurrency": 1, "storyboard_concurrency": 5, "max_user_tasks": 2, "max_concurrent_tasks": 6}
    async with make_world(any_store, clock, **changes) as world:
        await world.enqueue("first", start=True)
        for number in range(LONG):
            await world.enqueue(f"user{number}")
        yield world


async def test_a_submit_to_the_full_queue_asks_for_no_claim(full: World) -> None:
    admitted = await full.admit("late", "late", start=True)
    assert (admitted.word, admitted.position, admitted.attention) == ("queued", LONG + 1, False)


async def test_a_submit_to_another_queue_starts_at_once(full: World) -> None:
    assert (await full.admit("ad", "ad", start=True, queue="storyboard")).word == "started"


async def test_a_better_job_behind_the_long_queue_goes_first(full: World) -> None:
    better = await full.enqueue("ad", queue="storyboard")
    for job_id, queue in (("worse", "storyboard"), ("other", "video")):
        admitted = await full.admit(job_id, job_id, start=True, queue=queue)
        assert (admitted.word, admitted.attention) == ("queued", True)
    assert ids(await full.runtime.queue.claim(1)) == [better]


async def test_a_worse_job_behind_the_long_queue_goes_later(full: World) -> None:
    await full.enqueue("ad", queue="storyboard", priority=1)
    assert (await full.admit("better", "eve", start=True, queue="storyboard", priority=5)).word == "started"


async def test_a_due_retry_behind_the_long_queue_is_left_to_a_claim(full: World) -> None:
    retry = await full.enqueue("ad", start=True, queue="storyboard")
    await full.runtime.queue.snooze(retry, 1, delay=1, code="rate_limited")
    assert (await full.admit("before", "bob", start=True, queue="storyboard")).word == "started"
    full.manual.advance(2)
    admitted = await full.admit("after", "eve", start=True, queue="storyboard")
    assert (admitted.word, admitted.attention) == ("queued", True)
    assert ids(await full.runtime.queue.claim(1)) == [retry]


@pytest.mark.parametrize("slots", [20, 60])
async def test_a_lost_submission_is_adopted_with_ten_commands_however_many_jobs_run(
    valkey: RunningServer, clock: ManualClock, slots: int
) -> None:
    async with make_world(valkey, clock, max_concurrent_tasks=100, provider_rates="replicate:60000") as world:
        queue = world.runtime.queue
        for number in range(slots):
            await world.enqueue(f"user{number}", job_id=f"runs{number}")
        for job in (await queue.claim(slots)).started:
            await queue.record(job.id, job.attempt, f"p-{job.id}")
        lost = await world.enqueue("ada")
        assert ids(await queue.claim(1)) == [lost]
        valkey.reset_bill()
        candidates = {f"p-runs{number}": "alike" for number in range(10)} | {"p1": "alike"}
        assert (await queue.adopt(lost, 1, candidates)).prediction == "p1"  # type: ignore[arg-type]
        assert valkey.bill().billed == 10


async def test_a_slot_whose_submission_may_be_a_twin_is_read(world: World) -> None:
    """Also one that another claim has been handed, after its function died."""
    queue = world.runtime.queue
    one = await world.enqueue("ada", start=True)
    two = await world.enqueue("bob", start=True)
    world.manual.advance(world.runtime.settings.lease + 1)
    assert {job.id for job in (await queue.claim(2)).overdue} == {one, two}
    assert (await queue.adopt(one, 1, {"p1": "alike"})).word == "ambiguous"
    await queue.record(two, 1, "p2")
    assert (await queue.adopt(one, 1, {"p1": "alike"})).prediction == "p1"
