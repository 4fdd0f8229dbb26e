"""The cost of each operation, counted at the REST server and compared with DESIGN.md's table."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.clock import SystemClock
from shared.providers.base import Prediction
from tests.access.issuing import user_of
from tests.costs import COSTS
from tests.counting import Counting
from tests.world import AUTH, OPERATOR, PROCESSOR, http_client, make_world

Operation = Callable[["Counting"], Awaitable[None]]


@pytest.fixture
async def immediate(valkey: RunningServer) -> AsyncIterator[Counting]:
    """A deployment that starts jobs at submit."""
    async with make_world(valkey, SystemClock(), max_user_tasks=100) as world, http_client() as client:
        valkey.reset_bill()
        yield Counting(world, client, valkey)


@pytest.fixture
async def queued(valkey: RunningServer) -> AsyncIterator[Counting]:
    """A deployment that starts no job at submit."""
    changes = {"dispatch_on_submit": False, "max_concurrent_tasks": 10, "max_user_tasks": 1000}
    async with make_world(valkey, SystemClock(), max_queue_size=5000, **changes) as world, http_client() as client:
        valkey.reset_bill()
        yield Counting(world, client, valkey)


async def test_a_queued_job_costs_what_the_table_says(queued: Counting) -> None:
    counted = {}
    job_id = await queued.submit()
    counted["submit, queued"] = queued.count()
    await queued.dispatch()
    counted["claim one and record it"] = queued.count()
    await queued.webhook(job_id, "p1")
    counted["complete by webhook"] = queued.count()
    await queued.poll(job_id)
    counted["poll"] = queued.count()
    await queued.poll(job_id)
    counted["poll from the cache"] = queued.count()
    total = tuple(sum(parts) for parts in zip(*counted.values(), strict=True))
    counted["queued job that a tick starts: submit, claim, record, complete, one poll"] = total
    assert counted == {name: COSTS[name] for name in counted}
    assert total <= (5, 28)


async def test_a_queued_job_that_the_end_of_another_starts_costs_what_the_table_says(valkey: RunningServer) -> None:
    changes: dict[str, Any] = {"dispatch_on_submit": False, "queue_concurrency": 1, "max_user_tasks": 4}
    async with make_world(valkey, SystemClock(), **changes) as world, http_client() as client:
        bench, counted = Counting(world, client, valkey), {}
        jobs = [await bench.submit() for _ in range(4)]
        await bench.dispatch()
        bench.count()
        await bench.webhook(jobs[0], "p1")
        counted["complete by webhook, find that jobs wait, start one and record it"] = bench.count()
        await bench.webhook(jobs[1], "p2")
        counted["complete by webhook, start the next and record it"] = bench.count()
        await bench.poll(jobs[1])
        assert bench.count() == COSTS["poll"]
        parts = ("submit, queued", "complete by webhook, start the next and record it", "poll")
        costs = [{**COSTS, **counted}[part] for part in parts]
        calls, commands = sum(cost[0] for cost in costs), sum(cost[1] for cost in costs)
        counted["queued job: submit, end that starts the next, record, one poll"] = (calls, commands)
    assert counted == {name: COSTS.get(name) for name in counted}
    assert (calls, commands) <= (4, 26)


async def test_a_job_started_at_submit_costs_what_the_table_says(immediate: Counting) -> None:
    counted = {}
    job_id = await immediate.submit()
    counted["submit, started at once and recorded"] = immediate.count()
    await immediate.poll(job_id)
    counted["first poll of a job that runs"] = immediate.count()
    await immediate.webhook(job_id, "p1")
    await immediate.poll(job_id)
    rest = immediate.count()
    first = counted["submit, started at once and recorded"]
    counted["job started at submit: submit, record, complete, one poll"] = (first[0] + rest[0], first[1] + rest[1])
    assert counted == {name: COSTS[name] for name in counted}
    assert counted["job started at submit: submit, record, complete, one poll"] <= (4, 23)


async def test_a_second_api_key_costs_what_the_table_says(valkey: RunningServer) -> None:
    changes = {"max_key_queued": None, "max_key_tasks": None, "dispatch_on_submit": False}
    async with make_world(valkey, SystemClock(), **changes) as world, http_client() as client:
        valkey.reset_bill()
        bench, counted = Counting(world, client, valkey), {}
        job_id = await bench.submit()
        counted["submit, queued, with a second API key"] = bench.count()
        await bench.dispatch()
        counted["claim one and record it, with a second API key"] = bench.count()
        await bench.webhook(job_id, "p1")
        counted["complete by webhook, with a second API key"] = bench.count()
    async with make_world(valkey, SystemClock(), **changes | {"dispatch_on_submit": True}) as world:
        async with http_client() as client:
            valkey.reset_bill()
            bench = Counting(world, client, valkey)
            await bench.submit()
            counted["submit, started at once and recorded, with a second API key"] = bench.count()
    assert counted == {name: COSTS.get(name) for name in counted}


async def test_an_empty_tick_costs_one_call_and_at_most_four_commands(
    immediate: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "shared.dispatch.tick.SWEEP_EVERY", 1 << 60
    )  # the sweep comes every 15th minute and is counted separately
    assert (await immediate.client.post("/api/process-queue", headers=PROCESSOR)).status_code == 200
    assert immediate.count() == COSTS["empty tick, heartbeat included"] <= (1, 4)


async def test_claiming_ten_costs_at_most_three_commands_a_job(queued: Counting) -> None:
    for _ in range(10):
        await queued.submit()
    queued.count()
    assert len((await queued.world.runtime.queue.claim(10)).started) == 10
    assert queued.count() == COSTS["claim ten"] <= (1, 30)


async def _repeat(bench: Counting) -> None:
    await bench.submit("keyed", key="k")


async def _refuse(bench: Counting) -> None:
    with pytest.raises(Exception, match="live tasks"):
        await bench.world.enqueue("crowd")


async def _cancel_waiting(bench: Counting) -> None:
    assert (await bench.client.post("/api/jobs/waiting/cancel", headers=AUTH)).status_code == 200


async def _cancel_running(bench: Counting) -> None:
    bench.world.provider.is_silent = True
    assert (await bench.client.post("/api/jobs/running/cancel", headers=AUTH)).status_code == 202


async def _fail(bench: Counting) -> None:
    await bench.webhook("running", "p-running", "failed")


async def _snooze(bench: Counting) -> None:
    await bench.world.runtime.queue.snooze("submitting", 1, delay=5, code="rate_limited")


async def _rescue(bench: Counting) -> None:
    await bench.world.runtime.queue.rescue("submitting", 1)


async def _poll_overdue(bench: Counting) -> None:
    await bench.poll("running")


async def _statistics(bench: Counting) -> None:
    assert (await bench.client.get("/api/process-queue", headers=PROCESSOR)).status_code == 200


async def _token(bench: Counting) -> None:
    await user_of(bench.client)


async def _poll_with_token(bench: Counting) -> None:
    ada, job_id = await user_of(bench.client), await bench.submit()
    bench.count()
    assert (await bench.client.get(f"/api/status/{job_id}", headers=ada)).status_code == 200


async def _cancel_with_token(bench: Counting) -> None:
    ada, job_id = await user_of(bench.client), await bench.submit()
    bench.count()
    assert (await bench.client.post(f"/api/jobs/{job_id}/cancel", headers=ada)).status_code == 200


async def _health(bench: Counting) -> None:
    assert (await bench.client.get("/api/health")).status_code == 200


OPERATIONS: dict[str, Operation] = {
    "submit again with the same idempotency key": _repeat,
    "submit, refused by the user's limit": _refuse,
    "cancel a waiting job": _cancel_waiting,
    "cancel a running job": _cancel_running,
    "fail an attempt, and look for the next job": _fail,
    "snooze": _snooze,
    "rescue, too early": _rescue,
    "poll that asks the provider": _poll_overdue,
    "statistics of two queues and two API keys": _statistics,
    "health": _health,
    "token for a user": _token,
    "poll of a waiting job with a user's token": _poll_with_token,
    "cancel of a waiting job with a user's token": _cancel_with_token,
}


@pytest.mark.parametrize("name", OPERATIONS)
async def test_the_rarer_operations_cost_what_the_table_says(name: str, valkey: RunningServer) -> None:
    changes: dict[str, Any] = {
        "dispatch_on_submit": False,
        "first_check_after": 0.001,
        "max_concurrent_tasks": 2,
        "public_base_url": "https://sluice.example.org",
    }
    async with make_world(valkey, SystemClock(), **changes) as world, http_client() as client:
        bench = Counting(world, client, valkey)
        await bench.submit("keyed", key="k")
        for _ in range(3):
            await world.enqueue("crowd")
        await world.enqueue("ada", job_id="waiting")
        for job_id in ("running", "submitting"):
            await world.enqueue("bob", job_id=job_id, priority=5)
        assert [job.id for job in (await world.runtime.queue.claim(2)).started] == ["running", "submitting"]
        await world.runtime.queue.record("running", 1, "p-running")
        world.provider.states["p-running"] = Prediction("p-running", "running", progress=40)
        if OPERATIONS[name] is _fail:  # so that its claim finds nothing
            for job_id in await world.raw("ZRANGE", world.runtime.queue.keys.index, "0", "-1"):
                if job_id != "running":
                    await world.raw("ZREM", world.runtime.queue.keys.index, job_id)
        bench.count()
        await OPERATIONS[name](bench)
        assert bench.count() == COSTS[name]


async def test_each_extra_costs_what_the_table_says(valkey: RunningServer) -> None:
    """What a backlog, the fair policy, batches and a probe add to the operations above."""
    counted: dict[str, tuple[int, int]] = {}
    changes: dict[str, Any] = {"dispatch_on_submit": False, "max_user_tasks": 2, "max_user_queued": 50}
    async with make_world(valkey, SystemClock(), **changes) as world, http_client() as client:
        bench, queue = Counting(world, client, valkey), world.runtime.queue
        await bench.submit()
        await bench.submit()
        bench.count()
        waiting = await bench.submit()
        counted["submit, into the backlog"] = bench.count()
        await world.runtime.records.explain(waiting)
        counted["poll of a job in a backlog"] = bench.count()
        await world.raw("HSET", queue.keys.job(waiting), "p50", "20000", "p90", "30000")
        bench.count()
        await world.runtime.records.explain(waiting)
        assert bench.count() == (1, 4), "far from the head, its times were noted at submit"
        await world.enqueue("ada", priority=5)
        counted["submit, taking the place of a worse job of the same user"] = bench.count()
        (started, *_) = (await queue.claim(2)).started
        await queue.record(started.id, 1, "p2")
        bench.count()
        await queue.finish(started.id, 1, "p2", "completed", {"output": "1"})
        counted["end of a job that makes the next of its user ready"] = bench.count()
        assert (await queue.claim(2)).started
    async with make_world(valkey, SystemClock(), priority_policy="fair", dispatch_on_submit=False) as world:
        async with http_client() as client:
            bench = Counting(world, client, valkey)
            bench.count()
            await bench.submit()
            counted["submit, under the fair policy"] = bench.count()
            await world.runtime.queue.claim(1)
            counted["claim one, under the fair policy"] = bench.count()
    async with make_world(valkey, SystemClock(), dispatch_on_submit=False) as world, http_client() as client:
        bench = Counting(world, client, valkey)
        bench.count()
        body = {"user_id": "ada", "model": "acme/still", "jobs": [{"input": {}}] * 10}
        batch = (await client.post("/api/batches", json=body, headers=AUTH)).json()["id"]
        counted["batch of ten, answer included"] = bench.count()
        (last,) = await world.raw("ZRANGE", world.runtime.queue.keys.batch_queue(batch), "-1", "-1")
        bench.count()
        await world.runtime.records.explain(last)
        counted["poll of a job in a batch's backlog"] = bench.count()
        (job, *_) = (await world.runtime.queue.claim(1)).started
        await world.runtime.queue.record(job.id, 1, "p1", incarnation=job.incarnation)
        bench.count()
        own = job.incarnation
        await world.runtime.queue.finish(job.id, 1, "p1", "completed", {"output": "1"}, incarnation=own)
        counted["end of a batch's job, with the next made ready"] = bench.count()
        await client.get(f"/api/batches/{batch}", headers=AUTH)
        counted["poll of a batch"] = bench.count()
        await client.post(f"/api/batches/{batch}/cancel", headers=AUTH)
        counted["cancel of the nine others, and a look for work"] = bench.count()
        await world.enqueue("bob", job_id="paused")
        await world.runtime.queue.claim(1)
        bench.count()
        await world.runtime.queue.snooze("paused", 1, delay=0.001, code="rate_limited", pause=True)
        counted["snooze that pauses the provider"] = bench.count()
        (probe,) = (await world.runtime.queue.claim(1)).started
        await world.runtime.queue.record(probe.id, probe.attempt, "p2", probe=probe.probe)
        counted["claim one and record it, as a probe"] = bench.count()
        await client.patch("/api/operate/limits", json={"system": 4}, headers=OPERATOR)
        counted["change a limit, and look for work"] = bench.count()
    assert counted == {name: COSTS.get(name) for name in counted}


async def test_a_long_queue_makes_no_operation_dearer_than_the_table_says(queued: Counting) -> None:
    for number in range(100):
        await queued.world.enqueue(f"user{number}", priority=1 + number % 5)
        await queued.world.enqueue(f"other{number}", queue="storyboard")
    queued.count()
    job_id = await queued.submit("late")
    assert queued.count() == COSTS["submit, behind a long queue"]
    assert len((await queued.world.runtime.queue.claim(1)).started) == 1
    assert queued.count() == COSTS["claim one, from two long queues"]
    await queued.poll(job_id)
    assert queued.count() == COSTS["poll with position, reason and estimate"] <= (1, 4)
    queued.world.runtime.cache.forget(job_id)
    await queued.poll(job_id)
    assert queued.count() == COSTS["poll whose place was read a moment ago"] <= (1, 1)


async def test_with_all_that_watches_a_job_costs_three_commands_more_at_most(valkey: RunningServer) -> None:
    """Statistics, the count of commands, alerts, metrics and traces; the ticks' own looks are in the table."""
    watched: dict[str, Any] = {
        "statistics": True, "count_commands": True, "commands_quota": 1_000_000, "metrics_token": "m" * 32,
        "alert_webhook_url": "https://alerts.example/hook",
    }  # fmt: skip
    jobs, spent = 40, {}  # of each operation every tenth is counted
    for name, changes in (("plain", {}), ("watched", watched)):
        room: dict[str, Any] = {"dispatch_on_submit": False, "max_user_tasks": 1000, "max_queue_size": 5000}
        async with make_world(valkey, SystemClock(), **room, **changes) as world, http_client() as client:
            bench = Counting(world, client, valkey)
            for number in range(1, 11 + jobs):
                if number == 11:  # before, the store learns the scripts, and each count gets its end
                    bench.count()
                job_id = await bench.submit()
                await bench.dispatch()
                await bench.webhook(job_id, f"p{number}")
                await bench.poll(job_id)
            spent[name] = bench.count()
    calls, commands = (after - before for before, after in zip(spent["plain"], spent["watched"], strict=True))
    assert 2 * jobs < commands <= 3 * jobs and calls <= jobs / 5
