"""Budgets: what a job costs, and that each reservation is settled once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock, SystemClock
from shared.dispatch.bills import bill_of
from shared.errors import BudgetExceeded
from shared.jobqueue.constants import DAY
from shared.jobqueue.periods import begins_in, month_of
from shared.jobs.batches import BatchRequest
from shared.jobs.request import SubmitRequest
from shared.providers.base import Prediction
from shared.providers.replicate_api import prediction_of
from tests.costs import COSTS
from tests.counting import Counting
from tests.queue.jobs import ids, run_one
from tests.world import World, http_client, make_world, settings_for

CENT = 10_000  # micro-dollars
PRICES = {
    "default": {"run": 0.10},
    "acme/video": {"run": 0.05, "per": {"predict_time": 0.01}, "at_most": 0.30},
    "acme/lucky": {"run": 0.20, "failed_is_free": True},
}
BUDGETS = {"user": {"day": 1.0, "month": 5.0}, "all": {"day": 2.0, "month": 10.0}}
CHANGES: dict[str, Any] = {"prices": PRICES, "budgets": BUDGETS, "max_user_tasks": 100}


@pytest.fixture
async def priced(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    """A deployment with prices and budgets, at noon."""
    clock.advance((DAY // 2 - clock.now() % DAY) / 1000)
    async with make_world(any_store, clock, **CHANGES) as made:
        yield made


async def spent_by(world: World, user: str = "ada") -> list[int]:
    """Cents of a user's day and month, and of the day and month of all."""
    of_all, of_user = await world.runtime.spending.read("app", user)
    assert of_user is not None
    return [amount // CENT for amount in (of_user.day, of_user.month, of_all.day, of_all.month)]


async def reservations(world: World) -> list[str]:
    """The jobs that have one."""
    fields = await world.raw("HKEYS", world.runtime.queue.keys.spending(month_of(world.clock.now())))
    return sorted(name[1:] for name in fields if name[0] == "=")


async def cost_of(world: World, job_id: str) -> int | None:
    """Cents that a job has cost."""
    charged = (await world.runtime.records.read(job_id)).charged
    return None if charged is None else charged // CENT


async def submit_batch(world: World, count: int, key: str | None = None) -> str:
    """A batch of ada's that waits; its id."""
    jobs = [{"input": {"prompt": f"a lighthouse {n}"}} for n in range(count)]
    request = BatchRequest.model_validate({"user_id": "ada", "model": "acme/video", "jobs": jobs})
    return (await world.runtime.batches.create("app", request, key, Budget(0)))["id"]


async def test_a_job_reserves_the_most_that_it_may_cost_and_pays_what_its_metrics_say(priced: World) -> None:
    job_id = await run_one(priced)
    assert await spent_by(priced) == [30, 30, 30, 30]
    assert await reservations(priced) == [job_id] and await cost_of(priced, job_id) is None
    bill = "!reported=1,predict_time=12.000000"
    for _ in range(2):
        await priced.runtime.queue.finish(job_id, 1, "p1", "completed", {}, bill=bill)
        assert await spent_by(priced) == [17, 17, 17, 17]
    assert await reservations(priced) == [] and await cost_of(priced, job_id) == 17


async def test_a_report_without_a_metric_that_the_price_needs_costs_the_most(priced: World) -> None:
    job_id = await run_one(priced)
    await priced.runtime.queue.finish(job_id, 1, "p1", "completed", {}, bill="!reported=1")
    assert await spent_by(priced) == [30, 30, 30, 30] and await reservations(priced) == []


async def test_a_fraction_of_a_micro_dollar_is_rounded_up(priced: World) -> None:
    job_id = await run_one(priced)
    await priced.runtime.queue.finish(job_id, 1, "p1", "completed", {}, bill="!reported=1,predict_time=0.000010")
    assert (await priced.runtime.records.read(job_id)).charged == 5 * CENT + 1


async def test_a_canceled_run_costs_and_one_that_never_began_does_not(priced: World) -> None:
    queue = priced.runtime.queue
    for n, (bill, cost) in enumerate([("!reported=1,predict_time=1.000000", 6), ("free", 0)]):
        job_id = await priced.enqueue(start=True)
        await queue.record(job_id, 1, f"p{n}")
        await queue.cancel(job_id, "app")
        await queue.finish(job_id, 1, f"p{n}", "canceled", {}, bill=bill)
        assert await cost_of(priced, job_id) == cost
    assert await spent_by(priced) == [6, 6, 6, 6] and await reservations(priced) == []


async def test_a_canceled_waiting_job_costs_nothing(priced: World) -> None:
    job_id = await priced.enqueue()
    assert await spent_by(priced) == [30, 30, 30, 30]
    await priced.runtime.queue.cancel(job_id, "app")
    assert await spent_by(priced) == [0, 0, 0, 0] and await reservations(priced) == []
    assert await cost_of(priced, job_id) == 0


async def test_an_expired_job_costs_nothing(priced: World) -> None:
    job_id = await priced.enqueue()
    priced.manual.advance(priced.runtime.settings.queue_ttl + 1)
    assert (await priced.runtime.queue.expire(job_id)).outcome == "failed"
    assert (await spent_by(priced))[1] == 0 and await reservations(priced) == []


async def test_a_submit_without_room_in_a_budget_writes_nothing_and_says_whose_and_until_when(priced: World) -> None:
    for _ in range(3):
        await priced.enqueue()
    keys = sorted(await priced.raw("KEYS", "*"))
    with pytest.raises(BudgetExceeded) as refused:
        await priced.enqueue()
    assert sorted(await priced.raw("KEYS", "*")) == keys and await spent_by(priced) == [90, 90, 90, 90]
    assert (refused.value.code, refused.value.field) == ("budget_exceeded", "user_id")
    assert refused.value.retry_after == DAY // 2000
    assert "the budget of this user has left for the day" in refused.value.detail
    await priced.enqueue(model="acme/cheap")  # what fits still goes
    await priced.enqueue("bob")


async def test_the_budget_of_all_refuses_a_user_whose_own_has_room(priced: World) -> None:
    for user in ("ada", "bob"):
        for _ in range(3):
            await priced.enqueue(user)
    with pytest.raises(BudgetExceeded) as refused:
        await priced.enqueue("eve")
    assert refused.value.field is None and "this deployment" in refused.value.detail


async def test_a_new_day_has_a_new_budget_and_the_month_goes_on(priced: World) -> None:
    days = 0
    while True:
        try:
            for _ in range(3):
                await priced.runtime.queue.finish(await run_one(priced), 1, "p1", "completed", {})
        except BudgetExceeded as refused:
            assert "for the month" in refused.detail
            assert refused.retry_after == begins_in("month", priced.clock.now())
            break
        days += 1
        priced.manual.advance(DAY / 1000)
        if month_of(priced.clock.now()) != month_of(priced.clock.now() - DAY):
            pytest.skip("the month has ended")
    assert days == 5 and (await spent_by(priced))[:2] == [30, 480]


async def test_an_end_pays_in_the_period_of_the_submit(priced: World) -> None:
    job_id = await run_one(priced)
    priced.manual.advance(DAY / 1000)
    other = await run_one(priced, user="bob")
    await priced.runtime.queue.finish(job_id, 1, "p1", "completed", {}, bill="!reported=1,predict_time=1.000000")
    assert await spent_by(priced) in ([0, 6, 30, 36], [0, 0, 30, 30])
    assert await reservations(priced) == [other]


async def test_a_failed_attempt_costs_and_its_retry_reserves_another_run(priced: World) -> None:
    queue = priced.runtime.queue
    job_id = await run_one(priced)
    ways: dict[str, Any] = {"code": "timeout", "detail": "", "retryable": True}
    for _ in range(2):
        ended = await queue.fail(job_id, 1, "p1", **ways, bill="!reported=1,!failed=1,predict_time=5.000000")
        assert ended.word == "delayed" and await spent_by(priced) == [40, 40, 40, 40]
    priced.manual.advance(100)
    assert ids(await queue.claim(1)) == [job_id]
    await queue.record(job_id, 2, "p2")
    await queue.finish(job_id, 2, "p2", "completed", {}, bill="!reported=1,predict_time=1.000000")
    assert await cost_of(priced, job_id) == 16 and await spent_by(priced) == [16, 16, 16, 16]


async def test_a_job_gets_no_retry_that_no_budget_has_room_for(priced: World) -> None:
    queue = priced.runtime.queue
    job_id = await run_one(priced)
    for _ in range(2):
        await priced.enqueue()
    await priced.enqueue(model="acme/cheap")
    failed = await queue.fail(job_id, 1, "p1", code="timeout", detail="", retryable=True, bill="!reported=1,!failed=1")
    assert (failed.word, failed.outcome) == ("finished", "failed")
    assert await cost_of(priced, job_id) == 30 and await spent_by(priced) == [100, 100, 100, 100]


async def test_a_failed_run_is_free_where_its_price_says_so(priced: World) -> None:
    job_id = await run_one(priced, model="acme/lucky")
    ended = await priced.runtime.queue.fail(
        job_id, 1, "p1", code="invalid_input", detail="", retryable=False, bill="!reported=1,!failed=1"
    )
    assert ended.outcome == "failed" and await cost_of(priced, job_id) == 0


async def test_a_refused_submission_and_a_snooze_cost_nothing(priced: World) -> None:
    queue = priced.runtime.queue
    job_id = await priced.enqueue(start=True)
    await queue.snooze(job_id, 1, delay=1, code="provider_down")
    assert await spent_by(priced) == [30, 30, 30, 30]
    priced.manual.advance(2)
    assert ids(await queue.claim(1)) == [job_id]
    await queue.fail(job_id, 2, "", code="invalid_input", detail="", retryable=False, bill="free")
    assert await cost_of(priced, job_id) == 0 and await spent_by(priced) == [0, 0, 0, 0]


async def test_a_submission_of_unknown_outcome_may_have_been_paid(priced: World) -> None:
    queue = priced.runtime.queue
    job_id = await priced.enqueue(start=True)
    priced.manual.advance(3600)
    assert (await queue.rescue(job_id, 1)).word == "requeued"
    assert (await spent_by(priced))[:2] == [60, 60]
    assert ids(await queue.claim(1)) == [job_id]
    await queue.record(job_id, 2, "p2")
    # It was made after all, and ends the job. The second run may be paid too.
    await queue.finish(job_id, 1, "p1", "completed", {}, bill="!reported=1,predict_time=1.000000")
    assert await cost_of(priced, job_id) == 36 and (await spent_by(priced))[:2] == [36, 36]


async def test_a_submission_that_was_surely_not_made_costs_nothing(priced: World) -> None:
    queue = priced.runtime.queue
    job_id = await priced.enqueue(start=True)
    priced.manual.advance(priced.runtime.settings.lease + 1)
    assert (await queue.rescue(job_id, 1)).word == "waiting"
    assert (await queue.rescue(job_id, 1, proof="operator")).word == "delayed"
    await queue.cancel(job_id, "app")
    assert await cost_of(priced, job_id) == 0 and (await spent_by(priced))[:2] == [0, 0]


async def test_a_refused_repeat_of_an_accepted_submit_is_no_refusal(priced: World) -> None:
    first = await priced.enqueue()
    for _ in range(2):
        await priced.enqueue()
    assert (await priced.admit(first)).word == "duplicate"
    assert await spent_by(priced) == [90, 90, 90, 90]


async def test_a_sweep_releases_the_reservations_of_jobs_that_are_gone(priced: World) -> None:
    job_id, kept = await priced.enqueue(), await priced.enqueue("bob")
    await priced.raw("DEL", priced.runtime.queue.keys.job(job_id))
    await priced.runtime.tick.run()
    assert await reservations(priced) == [kept] and await spent_by(priced) == [0, 0, 30, 30]
    assert await spent_by(priced, "bob") == [30, 30, 30, 30]


async def test_200_submits_at_once_never_overdraw_a_budget(valkey: RunningServer, clock: ManualClock) -> None:
    clock.advance((DAY // 2 - clock.now() % DAY) / 1000)
    async with make_world(valkey, clock, **CHANGES | {"max_queue_size": 5000}) as world:
        processes = [world.runtime, world.another_process(), world.another_process()]

        async def submit(number: int) -> str:
            request = SubmitRequest(user_id=f"user{number % 10}", model="acme/cheap", input={"prompt": "a lighthouse"})
            try:
                admission = processes[number % 3].admission
                return (await admission.submit("app", request, None, Budget(50)))["id"]
            except BudgetExceeded:
                return ""

        accepted = [job_id for job_id in await asyncio.gather(*(submit(number) for number in range(200))) if job_id]
        assert len(accepted) == 20 and await reservations(world) == sorted(accepted)
        assert (await spent_by(world))[2:] == [200, 200]


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


async def test_a_job_with_accounts_and_no_price_ends_at_no_cost(priced: World) -> None:
    job_id = await run_one(priced)
    await priced.raw("HDEL", priced.runtime.queue.keys.job(job_id), "price")
    assert (await priced.runtime.queue.finish(job_id, 1, "p1", "completed", {})).word == "finished"
    assert await spent_by(priced) == [0, 0, 0, 0] and await reservations(priced) == []


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


async def test_the_accounts_of_a_month_are_forgotten_long_after_it(priced: World) -> None:
    await priced.enqueue()
    key = priced.runtime.queue.keys.spending(month_of(priced.clock.now()))
    assert 99 * 86_400 < int(await priced.raw("TTL", key)) <= 100 * 86_400


async def test_no_account_says_whose_it_is(priced: World) -> None:
    await priced.enqueue("ada")
    key = priced.runtime.queue.keys.spending(month_of(priced.clock.now()))
    assert "ada" not in str(await priced.raw("HGETALL", key))


async def test_a_deployment_without_budgets_keeps_no_accounts_and_still_knows_costs(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, prices=PRICES) as world:
        job_id = await run_one(world)
        await world.runtime.queue.finish(job_id, 1, "p1", "completed", {}, bill="!reported=1,predict_time=1.000000")
        assert await cost_of(world, job_id) == 6
        assert await world.raw("EXISTS", world.runtime.queue.keys.spending(month_of(clock.now()))) == 0
    async with make_world(any_store, clock) as world:
        job_id = await run_one(world)
        await world.runtime.queue.finish(job_id, 1, "p1", "completed", {})
        assert await cost_of(world, job_id) is None


async def test_a_whole_job_is_charged_by_what_its_provider_reports(priced: World) -> None:
    request = SubmitRequest(user_id="ada", model="acme/video", input={"prompt": "a lighthouse"})
    receipt = await priced.runtime.admission.submit("app", request, None, Budget(50))
    job_id = receipt["id"]
    reported = Prediction("p1", "completed", output="https://example.com/a.mp4", metrics={"predict_time": 3.0})
    incarnation = await priced.incarnation_of(job_id)
    await priced.runtime.reconciler.apply(job_id, 1, "replicate", reported, incarnation=incarnation)
    assert await cost_of(priced, job_id) == 8


async def test_budgets_cost_what_the_table_says(valkey: RunningServer) -> None:
    counted: dict[str, tuple[int, int]] = {}
    changes = CHANGES | {"dispatch_on_submit": False}
    async with make_world(valkey, SystemClock(), **changes) as world, http_client() as client:
        bench = Counting(world, client, valkey)
        await bench.submit()  # the first of a day also says how long the accounts are kept
        bench.count()
        job_id = await bench.submit()
        counted["submit, queued, with budgets"] = bench.count()
        await bench.submit()
        bench.count()
        assert not await bench.submit()
        counted["submit, refused by a budget"] = bench.count()
        for other in await world.raw("ZRANGE", world.runtime.queue.keys.index, "0", "-1"):
            if other.startswith("job_") and other != job_id:
                await world.raw("ZREM", world.runtime.queue.keys.index, other)
        await world.runtime.queue.claim(2)
        await world.runtime.queue.record(job_id, 1, "p2", incarnation=await world.incarnation_of(job_id))
        bench.count()
        await bench.webhook(job_id, "p2")
        counted["complete by webhook, at the cost that was reserved"] = bench.count()
        cheap = await run_one(world, user="bob")
        bench.count()
        await world.runtime.queue.finish(cheap, 1, "p1", "completed", {}, bill="!reported=1,predict_time=1.000000")
        counted["complete by webhook, at a lower cost"] = bench.count()
        await world.runtime.spending.reclaim(month_of(world.clock.now()))
        counted["look for reservations without a job"] = bench.count()
    assert counted == {name: COSTS.get(name) for name in counted}


@pytest.mark.parametrize(
    ("status", "metrics", "bill"),
    [
        pytest.param("succeeded", {"predict_time": 2.5, "total_time": 3}, "!reported=1,predict_time=2.500000", id="ok"),
        pytest.param("failed", {"predict_time": 1}, "!reported=1,predict_time=1.000000,!failed=1", id="failed"),
        pytest.param("canceled", {"predict_time": 1}, "!reported=1,predict_time=1.000000", id="canceled"),
        pytest.param("aborted", {}, "free", id="aborted"),
        pytest.param("succeeded", {"predict_time": "1"}, "!reported=1", id="text"),
        pytest.param("succeeded", {"predict_time": -1}, "!reported=1", id="negative"),
        pytest.param("succeeded", {"predict_time": True}, "!reported=1", id="flag"),
        pytest.param("succeeded", None, "!reported=1", id="none"),
    ],
)
def test_a_report_becomes_a_bill(status: str, metrics: Any, bill: str) -> None:
    reported = prediction_of({"id": "p1", "status": status, "metrics": metrics})
    assert bill_of(settings_for(None, prices=PRICES), reported) == bill
    assert bill_of(settings_for(None), reported) == ""
