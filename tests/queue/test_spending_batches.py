"""Batches reserve for all their jobs, or for none."""

import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock
from shared.errors import BudgetExceeded
from shared.jobs.batches import BatchRequest
from tests.queue.priced import PRICES, cost_of, reservations, spent_by, submit_batch
from tests.world import World, make_world


@pytest.mark.parametrize("models", [("acme/video", "acme/other"), ("acme/other", "acme/video")])
async def test_a_batch_may_have_jobs_with_and_without_a_price(
    any_store: RunningServer | None, clock: ManualClock, models: tuple[str, str]
) -> None:
    prices = {"acme/video": PRICES["acme/video"]}
    async with make_world(any_store, clock, prices=prices) as world:
        jobs = [{"input": {"prompt": "a lighthouse"}, "model": model} for model in models]
        request = BatchRequest.model_validate({"user_id": "ada", "jobs": jobs})
        made = (await world.runtime.batches.create("app", request, None, Budget(0)))["id"]
        await world.runtime.batch_queue.cancel(made, "app")
        costs = [await cost_of(world, f"{made}_{n}") for n in range(2)]
        assert costs == [0 if model == "acme/video" else None for model in models]


async def test_a_batch_reserves_for_each_of_its_jobs_or_for_none(priced: World) -> None:
    made = await submit_batch(priced, 2)
    assert await spent_by(priced) == [60, 60, 60, 60] and len(await reservations(priced)) == 2
    with pytest.raises(BudgetExceeded):
        await submit_batch(priced, 2)
    assert await spent_by(priced) == [60, 60, 60, 60] and len(await reservations(priced)) == 2
    await priced.runtime.batch_queue.cancel(made, "app")
    assert await spent_by(priced) == [0, 0, 0, 0] and await reservations(priced) == []


async def test_a_repeat_of_a_batch_that_stopped_half_way_reserves_for_the_jobs_that_it_adds(priced: World) -> None:
    key = f"key-{priced.clock.now()}"
    made = await submit_batch(priced, 3, key)
    await priced.raw("DEL", priced.runtime.queue.keys.job(f"{made}_2"))
    assert await submit_batch(priced, 3, key) == made
    assert await spent_by(priced) == [90, 90, 90, 90] and len(await reservations(priced)) == 3


async def test_a_retry_of_a_batch_reserves_for_its_new_jobs(priced: World) -> None:
    queue, made = priced.runtime.queue, await submit_batch(priced, 2)
    for job in (await queue.claim(2)).started:
        await queue.fail(
            job.id, 1, "", code="invalid_input", detail="", retryable=False, bill="free", incarnation=job.incarnation
        )
    assert await spent_by(priced) == [0, 0, 0, 0]
    for _ in range(2):
        await priced.enqueue()
    with pytest.raises(BudgetExceeded):
        await priced.runtime.batches.retry("app", made, Budget(0))
    assert await spent_by(priced) == [60, 60, 60, 60]
    for name in ("job_0", "job_1"):
        await queue.cancel(name, "app")
    assert await priced.runtime.batches.retry("app", made, Budget(0)) == 2
    assert await spent_by(priced) == [60, 60, 60, 60]
    assert await reservations(priced) == [f"{made}_0r1", f"{made}_1r1"]
    await priced.runtime.batch_queue.cancel(made, "app")
    assert await spent_by(priced) == [0, 0, 0, 0] and await reservations(priced) == []
