"""A copy of a call that a connection held back until its caller had gone creates nothing and takes nothing."""

from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock, SystemClock
from shared.errors import UserLimitReached
from shared.jobs.batches import BatchJob, BatchRequest
from tests.queue.copies import LATE, Wire
from tests.queue.jobs import ids, run_one
from tests.world import World, make_world


@pytest.fixture
async def world(any_store: RunningServer | None, clock: ManualClock) -> Any:
    async with make_world(any_store, clock, max_user_tasks=1, max_concurrent_tasks=2) as made:
        yield made


@pytest.mark.parametrize("start", [True, False])
async def test_a_submit_that_was_refused_creates_no_job_later(
    world: World, monkeypatch: pytest.MonkeyPatch, start: bool
) -> None:
    wire, queue = Wire(world, monkeypatch), world.runtime.queue
    job = await run_one(world)
    with pytest.raises(UserLimitReached):
        await world.enqueue(start=start)
    await queue.finish(job, 1, "p1", "completed", {"output": "1"})
    world.manual.advance(LATE)
    refused = wire._sent["enqueue"]
    await world.enqueue("eve", start=True)  # any start shows how late it is
    wire._sent["enqueue"] = refused
    assert (await wire.apply_late("enqueue"))[0] == "late"
    assert await world.raw("EXISTS", queue.keys.job("job_1")) == 0


async def test_a_submit_brings_no_deleted_job_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wire, queue = Wire(world, monkeypatch), world.runtime.queue
    job = await run_one(world)
    await queue.finish(job, 1, "p1", "completed", {"output": "1"})
    await world.raw("DEL", queue.keys.job(job))
    world.manual.advance(LATE)
    assert (await wire.apply_late("enqueue"))[0] == "late"
    assert await world.raw("EXISTS", queue.keys.job(job)) == 0


async def test_a_claim_takes_no_job_for_a_caller_that_has_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(world, monkeypatch)
    await world.runtime.queue.claim(1)
    job = await world.enqueue()
    world.manual.advance(LATE)
    assert (await wire.apply_late("claim"))[0] == []
    assert (await world.runtime.records.read(job)).state == "queued"
    assert ids(await world.runtime.queue.claim(1)) == [job]


async def test_a_claim_whose_call_took_a_while_takes_a_job(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(world, monkeypatch)
    await world.runtime.queue.claim(1)
    job = await world.enqueue()
    world.manual.advance(1)
    (started, *_) = await wire.apply_late("claim")
    assert [row[0] for row in started] == [job]


async def test_a_batch_that_was_deleted_does_not_come_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(world, monkeypatch)
    request = BatchRequest(user_id="ada", model="acme/video", jobs=[BatchJob(input={})])
    batch = await world.runtime.batches.create("app", request, None, Budget(50))
    await world.raw("DEL", world.runtime.queue.keys.batch(batch["id"]))
    world.manual.advance(LATE)
    assert (await wire.apply_late("batch_create"))[0] == "late"


@pytest.mark.parametrize("skew", [-3_600_000, 3_600_000])
async def test_a_wrong_clock_makes_no_batch_late(world: World, skew: int) -> None:
    world.manual.skew = skew
    request = BatchRequest(user_id="ada", model="acme/video", jobs=[BatchJob(input={})])
    assert (await world.runtime.batches.create("app", request, None, Budget(50)))["id"]


async def test_a_submit_goes_by_the_clock_of_memory_mode() -> None:
    async with make_world(None, SystemClock()) as world:
        assert (await world.admit("job_1", start=True)).word == "started"


async def test_a_batch_goes_by_the_clock_of_memory_mode() -> None:
    async with make_world(None, SystemClock()) as world:
        request = BatchRequest(user_id="ada", model="acme/video", jobs=[BatchJob(input={})])
        assert (await world.runtime.batches.create("app", request, None, Budget(50)))["id"]


class SlowClock(SystemClock):
    """A machine's clock that is ten minutes behind the store's."""

    def now(self) -> int:
        return super().now() - 600_000


async def test_a_caller_whose_clock_is_behind_is_never_refused(valkey: RunningServer) -> None:
    async with make_world(valkey, SlowClock(), max_user_tasks=9, max_concurrent_tasks=9) as world:
        for number in range(3):
            valkey.reset_bill()
            assert (await world.admit(f"job_{number}", start=True)).word in ("started", "queued")
            assert valkey.bill().calls == (2 if number == 0 else 1)
