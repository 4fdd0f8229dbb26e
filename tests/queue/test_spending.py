"""Budgets: what a job costs, and that each reservation is settled once."""

import asyncio
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock, SystemClock
from shared.dispatch.bills import bill_of
from shared.errors import BudgetExceeded
from shared.jobqueue.constants import DAY
from shared.jobqueue.periods import begins_in, month_of
from shared.jobs.request import SubmitRequest
from shared.providers.base import Prediction
from shared.providers.replicate_api import prediction_of
from tests.costs import COSTS
from tests.counting import Counting
from tests.queue.jobs import ids, run_one
from tests.queue.priced import CENT, CHANGES, PRICES, cost_of, reservations, spent_by
from tests.world import World, http_client, make_world, settings_for


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
        await world.runtime.history.delete(job_id, "app")
        counted["delete of a job, with budgets"] = bench.count()
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
        pytest.param(
            "succeeded",
            {"predict_time": 2.5, "total_time": 3},
            "!reported=1,predict_time=2.500000,total_time=3.000000",
            id="ok",
        ),
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
    assert bill_of(settings_for(None), reported) == bill


def test_a_bill_has_twenty_metrics_at_most_and_those_of_the_prices_first() -> None:
    metrics = {f"a{n}": 1 for n in range(30)} | {"predict_time": 2, "Not a metric": 3, "more\n": 4, "a=b,c": 5}
    reported = prediction_of({"id": "p1", "status": "succeeded", "metrics": metrics})
    parts = bill_of(settings_for(None, prices=PRICES), reported).split(",")
    assert parts[0] == "!reported=1" and len(parts) == 21 and "predict_time=2.000000" in parts
