"""What was spent stays right where settings change, a script stops, or a record goes."""

from typing import Any

import pytest

from shared.budget import Budget
from shared.errors import BudgetExceeded, StoreError
from shared.jobqueue.periods import month_of
from shared.providers.base import Prediction
from tests.queue.jobs import run_one
from tests.queue.priced import CENT, PRICES, cost_of, reservations, spent_by
from tests.world import World


async def test_a_job_that_budgets_admitted_goes_on_where_they_were_taken_away(priced: World) -> None:
    failing, lost = await run_one(priced), await priced.enqueue("bob", start=True)
    queue = priced.another_process(budgets=None).queue
    ways: dict[str, Any] = {"code": "timeout", "detail": "", "retryable": True, "bill": "!reported=1"}
    assert (await queue.fail(failing, 1, "p1", **ways)).word == "delayed"
    priced.manual.advance(3600)
    assert (await queue.rescue(lost, 1)).word == "requeued"
    assert await spent_by(priced) == [60, 60, 120, 120]


async def test_a_job_that_costs_nothing_passes_where_a_budget_is_overdrawn(priced: World) -> None:
    queue = priced.another_process(prices=PRICES | {"acme/own": {}}, budgets={"all": {"day": 0.3}}).queue
    job_id = await run_one(priced)
    await queue.finish(job_id, 1, "p1", "completed", {}, bill="!reported=1,predict_time=100.000000")
    assert (await spent_by(priced))[2] == 105
    await priced.enqueue(model="acme/own")
    with pytest.raises(BudgetExceeded):
        await priced.enqueue(model="acme/cheap")


async def test_a_repeat_of_a_retry_that_has_reserved_already_is_not_refused(priced: World) -> None:
    job_id = await run_one(priced)
    key = priced.runtime.queue.keys.spending(month_of(priced.clock.now()))
    entry = (await priced.raw("HGET", key, f"={job_id}")).split(":")
    # As it is when a script stops after its reservation of the next run, and others spend the rest.
    accounts = [f"{150 * CENT}|{entry[0]}:{150 * CENT}"] * 2
    written = f"{entry[0]}:{60 * CENT}:{entry[2]}"
    await priced.raw("HSET", key, "all", accounts[0], entry[2], accounts[1], f"={job_id}", written)
    failed = await priced.runtime.queue.fail(
        job_id, 1, "p1", code="timeout", detail="", retryable=True, bill="!reported=1,!failed=1"
    )
    assert failed.word == "delayed" and (await spent_by(priced))[0] == 150


async def test_a_job_with_accounts_and_no_price_ends_at_no_cost(priced: World) -> None:
    job_id = await run_one(priced)
    await priced.raw("HDEL", priced.runtime.queue.keys.job(job_id), "price")
    assert (await priced.runtime.queue.finish(job_id, 1, "p1", "completed", {})).word == "finished"
    assert await spent_by(priced) == [0, 0, 0, 0] and await reservations(priced) == []


async def test_a_running_job_costs_by_the_price_of_its_submit_where_prices_change(priced: World) -> None:
    reported = Prediction("p1", "completed", output="https://example.com/a.mp4", metrics={"predict_time": 3.0})
    costs = []
    for prices in ({"default": {"run": 9}}, {}):
        first = await run_one(priced)
        process = priced.another_process(prices=prices, budgets=None)
        incarnation = await priced.incarnation_of(first)
        await process.reconciler.apply(first, 1, "replicate", reported, incarnation=incarnation)
        costs.append(await cost_of(priced, first))
        priced.another_process()
    assert costs == [8, 8]


async def test_a_job_that_is_deleted_before_its_settlement_still_costs(priced: World) -> None:
    job_id = await run_one(priced)
    key = priced.runtime.queue.keys.spending(month_of(priced.clock.now()))
    before = await priced.raw("HGETALL", key)
    bill = "!reported=1,predict_time=1.000000"
    await priced.runtime.queue.finish(job_id, 1, "p1", "completed", {}, bill=bill)
    fields = before if isinstance(before, list) else [text for pair in before.items() for text in pair]
    await priced.raw("HSET", key, *fields)  # as it is where the script stopped after the record said `done`
    assert await spent_by(priced) == [30, 30, 30, 30] and await reservations(priced) == [job_id]
    await priced.runtime.history.delete(job_id, "app")
    assert await spent_by(priced) == [6, 6, 6, 6] and await reservations(priced) == []


async def test_a_month_whose_first_submit_stopped_is_forgotten_too(priced: World) -> None:
    key = priced.runtime.queue.keys.spending(month_of(priced.clock.now()))
    job_id = await priced.enqueue()
    await priced.raw("PERSIST", key)  # as it is where the script stopped after the reservation
    await priced.raw("DEL", priced.runtime.queue.keys.job(job_id))
    assert await priced.runtime.spending.reclaim(month_of(priced.clock.now())) == (1, False)
    assert int(await priced.raw("TTL", key)) > 99 * 86_400


async def test_a_repeat_of_a_submit_that_stopped_says_how_long_the_month_is_kept(priced: World) -> None:
    key = priced.runtime.queue.keys.spending(month_of(priced.clock.now()))
    job_id = await priced.enqueue()
    await priced.raw("PERSIST", key)
    await priced.raw("DEL", priced.runtime.queue.keys.job(job_id))
    await priced.admit(job_id)
    assert int(await priced.raw("TTL", key)) > 99 * 86_400


async def test_an_account_whose_jobs_cost_nothing_is_not_kept(priced: World) -> None:
    key = priced.runtime.queue.keys.spending(month_of(priced.clock.now()))
    kept, canceled = await run_one(priced), await priced.enqueue("bob")
    await priced.runtime.queue.cancel(canceled, "app")
    await priced.runtime.queue.finish(kept, 1, "p1", "completed", {})
    assert len(await priced.raw("HKEYS", key)) == 2  # of all, and of ada


async def test_a_failed_walk_over_reservations_ends_no_tick_and_keeps_no_file(
    priced: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []

    async def fails(_: str) -> tuple[int, bool]:
        order.append("reclaim")
        raise StoreError("no answer")

    async def sweeps(_: Budget) -> int:
        order.append("retention")
        return 0

    tick = priced.runtime.tick
    monkeypatch.setattr(tick._spending, "reclaim", fails)
    monkeypatch.setattr(tick._retention, "sweep", sweeps)
    await tick.run()
    assert order == ["retention", "reclaim"]
