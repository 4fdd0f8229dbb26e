"""An operator's pause stops the time to live of what waits."""

from collections.abc import AsyncIterator

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from tests.world import World, make_world

TTL = 3600.0
HOUR = 3600.0


@pytest.fixture
async def paused(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    async with make_world(any_store, clock, queue_ttl=TTL, dispatch_on_submit=False) as world:
        yield world


async def gate(world: World, name: str, value: int | None) -> None:
    await world.runtime.controls.set_gates({name: value})


async def state(world: World, job: str) -> str:
    """The state after an end that is due has come: a claim hands out the alarm, and its caller acts."""
    for name in (await world.runtime.queue.claim(1, tick=True)).expired:
        await world.runtime.queue.expire(name)
    return (await world.runtime.records.read(job)).state


@pytest.mark.parametrize("name", ["=s", "=q0", "=p0"], ids=["system", "queues", "providers"])
async def test_no_job_expires_in_an_operators_pause(paused: World, name: str) -> None:
    """A pause over a weekend ended all that waited."""
    job = await paused.enqueue()
    paused.manual.advance(TTL / 2)
    await gate(paused, name, 0)
    for _ in range(3):
        paused.manual.advance(20 * HOUR)
        assert await state(paused, job) == "queued"
    await gate(paused, name, None)
    assert await state(paused, job) == "submitting"


async def test_after_a_pause_a_job_waits_for_the_rest_of_its_time(paused: World) -> None:
    await gate(paused, "=q1", 0)
    job = await paused.enqueue(queue="storyboard")
    paused.manual.advance(10 * HOUR)
    assert await state(paused, job) == "queued"
    await gate(paused, "=q1", 1)
    await gate(paused, "=s", 0)
    paused.manual.advance(10 * HOUR)
    await gate(paused, "=s", None)
    await paused.runtime.controls.limit_user("app", "ada", 0)  # a pause of the user alone, in which jobs expire
    paused.manual.advance(TTL - 10)
    assert await state(paused, job) == "backlog"
    paused.manual.advance(HOUR)
    assert await state(paused, job) == "done"


async def test_a_job_that_no_pause_concerns_expires_in_its_time(paused: World) -> None:
    await gate(paused, "=q0", 0)
    await gate(paused, "=p1", 0)
    await paused.runtime.controls.limit_user("app", "ada", 0)
    job = await paused.enqueue(queue="storyboard")
    paused.manual.advance(TTL + 1)
    assert await state(paused, job) == "done"


async def test_pauses_at_the_same_time_count_once(paused: World) -> None:
    job = await paused.enqueue()
    for name in ("=q0", "=p0"):
        await gate(paused, name, 0)
    paused.manual.advance(3 * HOUR)
    for name in ("=q0", "=p0"):
        await gate(paused, name, None)
    await paused.runtime.controls.limit_user("app", "ada", 0)
    paused.manual.advance(TTL - 10)
    assert await state(paused, job) == "backlog"
    paused.manual.advance(20)
    assert await state(paused, job) == "done"


async def test_a_pause_that_is_set_again_is_the_same_pause(paused: World) -> None:
    key = f"{paused.runtime.queue.keys.root}p:halts"
    began = paused.clock.now()
    for _ in range(2):
        await gate(paused, "=q0", 0)
        paused.manual.advance(60)
    for _ in range(2):
        await gate(paused, "=q0", 3)
    assert await paused.raw("HGET", key, "=q0") == f"{began}-{paused.clock.now()}"


async def test_twenty_pauses_of_a_gate_are_remembered(paused: World) -> None:
    for _ in range(25):
        await gate(paused, "=s", 0)
        await gate(paused, "=s", None)
    said = await paused.raw("HGET", f"{paused.runtime.queue.keys.root}p:halts", "=s")
    assert len(said.split(",")) == 20
