"""A store that is full, loses keys or steps back in time: each job still ends, and frees its slot."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.dispatch.dispatcher import Report
from shared.dispatch.tick import SWEEP_KEYS
from shared.errors import StoreRefused, StoreUncertain
from shared.providers.base import Prediction, Throttled
from tests.world import World, load_scripts, make_world


@pytest.fixture
def full(valkey: RunningServer) -> Iterator[RunningServer]:
    """The store's engine; a test may lower its memory limit, which is removed afterwards."""
    yield valkey
    valkey.ask("CONFIG", "SET", "maxmemory", "0")


@pytest.fixture
async def world(valkey: RunningServer, clock: ManualClock) -> AsyncIterator[World]:
    async with make_world(valkey, clock) as made:
        yield made


async def test_a_full_store_takes_no_job_but_lets_every_live_one_end(world: World, full: RunningServer) -> None:
    queue = world.runtime.queue
    for job_id, user in (("done", "a"), ("asked", "b"), ("failed", "c"), ("canceled", "d")):
        await world.enqueue(user, job_id=job_id, start=job_id != "canceled")
        if job_id != "canceled":
            await queue.record(job_id, 1, f"p-{job_id}")
    full.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreRefused, match="full"):
        await world.enqueue("eve")
    assert (await queue.finish("done", 1, "p-done", "completed", {"output": "1"})).outcome == "completed"
    assert (await queue.cancel("canceled", "app")).word == "canceled"
    assert (await queue.cancel("asked", "app")).word == "cancel_requested"
    assert (await queue.finish("asked", 1, "p-asked", "canceled", {})).outcome == "canceled"
    assert (await queue.fail("failed", 1, "p-failed", code="x", detail="", retryable=False)).outcome == "failed"
    assert await world.indexed() == 0


async def test_scripts_need_no_script_cache(world: World, valkey: RunningServer) -> None:
    job_id = await world.enqueue()
    for _ in range(2):
        valkey.ask("SCRIPT", "FLUSH")
        await world.runtime.queue.claim(1)
    assert (await world.runtime.records.read(job_id)).state == "submitting"
    load_scripts(valkey)


async def sweep_round(world: World) -> None:
    """Sweeps until the walk over all keys is complete."""
    for _ in range(20):
        for user in (await world.runtime.records.walk(SWEEP_KEYS)).users:
            await world.runtime.queue.rehome(user)
        if await world.raw("HGET", world.runtime.queue.keys.stats, "sweep_cursor") == "0":
            return


@pytest.mark.parametrize("state", ["queued", "delayed", "submitting", "running"])
async def test_a_job_the_index_has_lost_finds_its_way_back(world: World, state: str) -> None:
    queue = world.runtime.queue
    job_id = await world.enqueue(start=state in ("submitting", "running"))
    if state == "delayed":
        await queue.claim(1)
        await queue.snooze(job_id, 1, delay=30, code="x")
    if state == "running":
        await queue.record(job_id, 1, "p1")
    before = await world.raw("ZSCORE", queue.keys.index, job_id)
    await world.raw("DEL", queue.keys.index)
    await sweep_round(world)
    assert (await world.runtime.records.read(job_id)).state == state
    after = await world.raw("ZSCORE", queue.keys.index, job_id)
    assert int(float(after)) // 10**14 == int(float(before)) // 10**14
    assert (await world.runtime.records.stats()).counters["rehomed"] == 1
    await sweep_round(world)
    assert (await world.runtime.records.stats()).counters["rehomed"] == 1


async def test_a_waiting_job_the_index_has_lost_is_started_by_reading_its_status(world: World) -> None:
    queue = world.runtime.queue
    job_id = await world.enqueue()
    await world.raw("DEL", queue.keys.index, queue.keys.user("app", "ada"))
    world.manual.advance(world.runtime.settings.waiting_check_interval + 1)
    await world.runtime.statuses.view("app", job_id)
    assert (await world.runtime.records.read(job_id)).state == "running"
    assert await world.raw("ZRANGE", queue.keys.user("app", "ada"), "0", "-1") == [job_id]


async def test_lost_jobs_do_not_hold_their_users_places(world: World) -> None:
    queue = world.runtime.queue
    for job_id in ("a", "b", "c"):
        await world.enqueue(job_id=job_id)
    await world.raw("DEL", queue.keys.job("a"), queue.keys.job("b"))
    await world.enqueue(job_id="d")
    assert sorted(await world.raw("ZRANGE", queue.keys.user("app", "ada"), "0", "-1")) == ["c", "d"]
    assert (await world.runtime.records.stats()).counters["missing"] == 2


async def test_a_lost_users_set_comes_back_when_one_of_the_users_jobs_waits(world: World) -> None:
    queue = world.runtime.queue
    await world.enqueue(job_id="a")
    await world.raw("DEL", queue.keys.user("app", "ada"))
    await world.raw("DEL", queue.keys.index)
    assert await queue.rehome(queue.keys.user("app", "ada"), ["a"]) == 1
    assert await world.raw("ZCARD", queue.keys.user("app", "ada")) == 1


async def test_an_older_snapshot_completes_a_job_once_more_and_crashes_nothing(
    world: World, valkey: RunningServer
) -> None:
    queue = world.runtime.queue
    job_id = await world.enqueue(start=True)
    await queue.record(job_id, 1, "p1")
    snapshot = [(key, valkey.ask("DUMP", key)) for key in keys(valkey)]
    world.provider.states["p1"] = Prediction("p1", "completed", output="x")
    await world.runtime.reconciler.apply(job_id, 1, "replicate", world.provider.states["p1"])
    valkey.flush()
    for key, value in snapshot:
        assert isinstance(value, bytes)
        valkey.ask("RESTORE", key, "0", value)
    assert (await world.runtime.records.read(job_id)).state == "running"
    world.manual.advance(60)
    await world.runtime.tick.run()
    assert (await world.runtime.records.read(job_id)).status == "completed"
    assert world.provider.created == []
    assert (await world.runtime.records.stats()).counters["completed"] == 1


def keys(server: RunningServer) -> list[bytes]:
    found = server.ask("KEYS", "*")
    assert isinstance(found, list)
    return [key for key in found if isinstance(key, bytes)]


async def test_a_lost_submission_is_adopted_when_exactly_one_prediction_fits(world: World) -> None:
    job_id = await world.enqueue(start=True)
    world.provider.states["p7"] = Prediction("p7", "completed", output="x")
    world.provider.findable = ["p7"]
    world.manual.advance(world.runtime.settings.lease + 1)
    await world.runtime.tick.run()
    job = await world.runtime.records.read(job_id)
    assert (job.status, job.prediction) == ("completed", "p7")
    counters = (await world.runtime.records.stats()).counters
    assert counters == {"adopted": 1, "completed": 1, "tick_at": world.manual.true_now}


@pytest.mark.parametrize("findable", [[], ["p7", "p8"], ["owned"]])
async def test_a_lost_submission_is_not_adopted_when_none_or_several_fit(world: World, findable: list[str]) -> None:
    queue = world.runtime.queue
    other = await world.enqueue("bob", start=True)
    await queue.record(other, 1, "owned")
    world.provider.states["owned"] = Prediction("owned", "running")
    job_id = await world.enqueue(start=True)
    world.provider.findable = findable
    world.manual.advance(world.runtime.settings.lease + 1)
    await world.runtime.tick.run()
    assert (await world.runtime.records.read(job_id)).state == "submitting"


async def test_an_outbox_that_cannot_be_read_cancels_no_dispatch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancelled create may have made a prediction."""
    ended, dispatcher = [], world.runtime.dispatcher

    async def dispatching(*_: object, tick: bool = False, **__: object) -> Report:
        if tick:
            return Report(follow_ups=1, is_more=True)
        await asyncio.sleep(0.01)
        ended.append("dispatch")
        return Report()

    async def unreadable(_: object) -> int:
        raise StoreUncertain

    monkeypatch.setattr(dispatcher, "run", dispatching)
    monkeypatch.setattr(world.runtime.outbox_worker, "run", unreadable)
    with pytest.raises(StoreUncertain):
        await world.runtime.tick.run()
    assert ended == ["dispatch"]


async def test_a_job_that_cannot_be_read_ends_and_does_not_block_the_others(world: World) -> None:
    queue = world.runtime.queue
    bad = await world.enqueue("ada")
    good = await world.enqueue("bob")
    await world.raw("HSET", queue.keys.job(bad), "input", "{not json")
    await world.runtime.tick.run()
    assert (await world.runtime.records.read(bad)).error_code == "unreadable"
    assert (await world.runtime.records.read(good)).state == "running"


async def test_every_fifteenth_minutes_tick_sweeps_after_its_dispatch(world: World) -> None:
    queue = world.runtime.queue
    lost = await world.enqueue("ada")
    await world.raw("DEL", queue.keys.index)
    found = await world.enqueue("bob")
    world.manual.true_now = (world.manual.true_now // 900_000 + 1) * 900_000
    await world.runtime.tick.run()
    assert (await world.runtime.records.read(found)).state == "running"
    assert await world.raw("ZSCORE", queue.keys.index, lost) is not None
    world.manual.advance(60)
    await world.runtime.tick.run()
    assert (await world.runtime.records.read(lost)).state == "running"


async def test_a_tick_looks_at_every_overdue_run(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock, max_concurrent_tasks=50) as world:
        for number in range(45):
            await world.enqueue(f"user{number}", start=True, job_id=f"j{number}")
            await world.runtime.queue.record(f"j{number}", 1, f"p{number}")
            world.provider.states[f"p{number}"] = Prediction(f"p{number}", "running")
        clock.advance(60)
        assert (await world.runtime.tick.run()).looked_at == 45


async def test_a_provider_that_throttles_is_not_asked_again_in_the_same_run(world: World) -> None:
    for number in range(30):
        await world.enqueue(f"user{number}")
    world.provider.outcomes = [Throttled("rate_limited", 30)] * 100
    await world.runtime.tick.run()
    assert len(world.provider.created) == 5


async def test_a_run_of_unknown_fate_ends_once_its_result_must_be_gone(world: World) -> None:
    queue, s = world.runtime.queue, world.runtime.settings
    job_id = await world.enqueue(start=True)
    await queue.record(job_id, 1, "p1")
    world.provider.is_silent = True
    world.manual.advance(s.cancel_after + s.adoption_margin + 60)
    await world.runtime.tick.run()
    assert (await world.runtime.records.read(job_id)).state == "running"
    world.manual.advance(3600)
    await world.runtime.tick.run()
    assert (await world.runtime.records.read(job_id)).state == "delayed"


async def test_a_lost_submission_is_not_adopted_while_its_twin_is_lost_too(world: World) -> None:
    queue = world.runtime.queue
    for job_id in ("a", "b"):
        await world.enqueue(job_id=job_id, start=True)
    adopted = await queue.adopt("b", 1, {"p1": "alike"})
    assert (adopted.word, adopted.prediction) == ("ambiguous", "")
    await queue.record("a", 1, "p1")
    adopted = await queue.adopt("b", 1, {"p1": "alike", "p2": "alike"})
    assert (adopted.word, adopted.prediction) == ("adopted", "p2")
