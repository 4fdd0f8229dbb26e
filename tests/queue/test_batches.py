"""Batches: one task of their user, counters that always sum, ordered results, and an end in every case."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock
from shared.jobqueue import Claimed
from tests.world import AUTH, OTHER_AUTH, World, http_client, make_world

INPUTS = [{"prompt": f"scene {n}"} for n in range(10)]


def body(**changes: Any) -> dict[str, Any]:
    jobs = [{"input": given} for given in INPUTS]
    return {"user_id": "ada", "model": "acme/still", "jobs": jobs} | changes


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**AUTH) as made:
        yield made


async def created(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await client.post("/api/batches", json=body(**changes))
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def read(world: World, client: httpx.AsyncClient, batch: dict[str, Any], query: str = "") -> dict[str, Any]:
    world.runtime.cache.forget(f"batch:{batch['id']}:0:0")
    answer = await client.get(f"/api/batches/{batch['id']}{query}")
    assert answer.status_code == 200, answer.text
    document = dict(answer.json())
    counts = dict(document["counts"])
    assert sum(counts.values()) == 2 * counts["expected"], "the counters do not sum"
    return document


async def end(world: World, job: str, outcome: str = "completed", attempt: int = 1) -> None:
    record = await world.runtime.records.read(job)
    prediction, queue, incarnation = record.prediction, world.runtime.queue, await world.incarnation_of(job)
    if outcome == "completed":
        fields = {"output": f'"{job}"'}
        await queue.finish(job, attempt, prediction, "completed", fields, incarnation=incarnation)
    else:
        said: Any = {"code": "content_policy", "detail": "refused", "retryable": False, "incarnation": incarnation}
        await queue.fail(job, attempt, prediction, **said)


async def running(world: World, batch: dict[str, Any], client: httpx.AsyncClient) -> list[str]:
    jobs = (await read(world, client, batch))["jobs"]
    return [job["id"] for job in jobs if job["status"] == "processing"]


async def drain(world: World, batch: dict[str, Any], client: httpx.AsyncClient, **ends: str) -> None:
    """Lets every job end, completed unless its number is named to fail."""
    for _ in range(30):
        await world.runtime.dispatcher.run(Budget(60))
        for job in await running(world, batch, client):
            number = job.rpartition("_")[2]
            attempt = (await world.runtime.records.read(job)).attempt
            await end(world, job, ends.get(f"n{number}", "completed"), attempt)


async def test_ten_images_are_one_task_and_show_their_progress(world: World, client: httpx.AsyncClient) -> None:
    batch = await created(client)
    assert (batch["status"], batch["progress"], batch["percent"]) == ("processing", "0/10", 0)
    assert batch["counts"] == {
        "expected": 10, "pending": 7, "processing": 3, "completed": 0, "failed": 0, "canceled": 0,
    }  # fmt: skip
    for _ in range(2):  # two more tasks, but not three
        await world.enqueue("ada")
    with pytest.raises(Exception, match="live tasks"):
        await world.enqueue("ada")
    for _ in range(5):
        await end(world, (await running(world, batch, client))[0])
        await world.runtime.dispatcher.run(Budget(60))
    document = await read(world, client, batch)
    assert (document["progress"], document["percent"]) == ("5/10", 50)


async def test_no_more_jobs_of_a_batch_run_than_its_user_may(world: World, client: httpx.AsyncClient) -> None:
    batch = await created(client, queue="video")
    for _ in range(4):
        await world.runtime.dispatcher.run(Budget(60))
        assert len(await running(world, batch, client)) == world.runtime.settings.max_user_tasks
        await end(world, (await running(world, batch, client))[0])


async def test_a_batch_ends_once_with_results_in_order(world: World, client: httpx.AsyncClient) -> None:
    batch = await created(client)
    await drain(world, batch, client, n4="failed")
    document = await read(world, client, batch, "?first=0&count=50")
    assert (document["status"], document["progress"]) == ("completed", "10/10") and document["ended_at"]
    assert [result["number"] for result in document["results"]] == list(range(10))
    good = [result["output"] for result in document["results"] if result["number"] != 4]
    assert good == [f"{batch['id']}_{n}" for n in range(10) if n != 4]
    error = {"code": "content_policy", "class": "content_policy", "detail": "refused"}
    assert document["results"][4] == {"number": 4, "status": "failed", "output": None, "files": [], "error": error}
    assert (await world.runtime.records.stats()).counters["batches"] == 1
    assert await world.indexed() == 0
    assert await world.raw("ZCARD", world.runtime.queue.keys.user("app", "ada")) == 0


async def test_under_all_or_nothing_one_failure_ends_the_rest(world: World, client: httpx.AsyncClient) -> None:
    batch = await created(client, policy="all_or_nothing")
    first, second, _ = await running(world, batch, client)
    await end(world, first)
    await end(world, second, "failed")
    document = await read(world, client, batch)
    assert document["counts"]["canceled"] >= 7 and document["status"] == "processing"
    await world.runtime.dispatcher.run(Budget(60))  # sends the cancellation to the provider
    assert world.provider.canceled
    document = await read(world, client, batch)
    assert (document["status"], document["progress"]) == ("failed", "10/10")
    assert (document["counts"]["completed"], document["counts"]["failed"]) == (1, 1)


async def test_a_cancelled_batch_ends_and_frees_its_users_place(world: World, client: httpx.AsyncClient) -> None:
    batch = await created(client)
    answer = await client.post(f"/api/batches/{batch['id']}/cancel")
    assert answer.status_code in (200, 202)
    document = await read(world, client, batch)
    assert (document["status"], document["counts"]["canceled"]) == ("canceled", 10)
    assert (await client.post(f"/api/batches/{batch['id']}/cancel")).status_code == 409
    for _ in range(3):
        await world.enqueue("ada")


async def test_a_cancelled_batch_whose_provider_is_silent_ends_when_it_confirms(
    world: World, client: httpx.AsyncClient
) -> None:
    batch = await created(client)
    world.provider.is_silent = True
    assert (await client.post(f"/api/batches/{batch['id']}/cancel")).json()["result"] == "cancel_requested"
    document = await read(world, client, batch)
    assert (document["status"], document["counts"]["processing"], document["counts"]["canceled"]) == (
        "processing",
        3,
        7,
    )
    world.provider.is_silent = False
    world.manual.advance(60)
    await world.runtime.dispatcher.run(Budget(60))
    assert (await read(world, client, batch))["counts"]["canceled"] == 10


async def test_failed_jobs_are_tried_anew_in_their_places(world: World, client: httpx.AsyncClient) -> None:
    batch = await created(client)
    await drain(world, batch, client, n2="failed", n7="failed")
    answer = await client.post(f"/api/batches/{batch['id']}/retry")
    assert answer.json()["retried"] == 2
    document = await read(world, client, batch)
    assert document["progress"] == "8/10" and document["ended_at"] is None
    retried = [job for job in document["jobs"] if job["status"] != "completed"]
    assert [job["number"] for job in retried] == [2, 7]
    for number in (2, 7):  # the old ones stay as they ended
        assert (await world.runtime.records.read(f"{batch['id']}_{number}")).status == "failed"
    await drain(world, batch, client)
    document = await read(world, client, batch, "?first=2&count=1")
    assert document["progress"] == "10/10" and document["counts"]["completed"] == 10
    assert document["results"][0]["output"] == document["jobs"][2]["id"]
    assert (await client.post(f"/api/batches/{batch['id']}/retry")).json()["retried"] == 0


async def test_what_a_stopped_retry_has_left_says_nothing_of_the_job_in_its_place(
    world: World, client: httpx.AsyncClient
) -> None:
    batch, keys = await created(client, jobs=[{"input": given} for given in INPUTS[:2]]), world.runtime.queue.keys
    good, bad = await running(world, batch, client)
    await end(world, good)
    await end(world, bad, "failed")
    await client.post(f"/api/batches/{batch['id']}/retry")
    await world.raw("DEL", keys.job(bad))
    (again,) = await running(world, batch, client)
    await world.raw("ZADD", keys.batch_queue(batch["id"]), "1", bad)
    await world.runtime.queue.rehome(keys.user("app", "ada"))
    assert await world.raw("HGET", keys.batch(batch["id"]), "s1") is None, "the job in its place still runs"
    await world.raw("ZADD", keys.batch_queue(batch["id"]), "1", bad)
    await end(world, again)
    assert (await read(world, client, batch))["status"] == "processing"
    await world.runtime.queue.rehome(keys.user("app", "ada"))
    ended = await read(world, client, batch)
    assert (ended["status"], ended["counts"]["completed"]) == ("completed", 2)


async def test_a_retry_of_a_failed_whole_tries_also_what_was_cancelled(world: World, client: httpx.AsyncClient) -> None:
    batch = await created(client, policy="all_or_nothing")
    await end(world, (await running(world, batch, client))[0], "failed")
    await world.runtime.dispatcher.run(Budget(60))
    assert (await client.post(f"/api/batches/{batch['id']}/retry")).json()["retried"] == 10
    await drain(world, batch, client)
    assert (await read(world, client, batch))["status"] == "completed"


async def test_the_same_key_and_body_make_the_same_batch(world: World, client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "storyboard-1"}
    first = (await client.post("/api/batches", json=body(), headers=key)).json()
    again = await client.post("/api/batches", json=body(), headers=key)
    assert (again.status_code, again.json()["id"]) == (202, first["id"])
    other = await client.post("/api/batches", json=body(policy="all_or_nothing"), headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_conflict")
    assert (await world.runtime.records.stats()).backlog == 7


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"jobs": []}, "jobs"),
        ({"jobs": [{"input": {}}] * 201}, "jobs"),
        ({"model": None}, "model"),
        ({"queue": "nowhere"}, "queue"),
        ({"provider": "unknown"}, "provider"),
        ({"policy": "some"}, "policy"),
        ({"jobs": [{"input": {}, "extra": 1}]}, "jobs[0].extra"),
        ({"jobs": [{"input": {}}, {"input": {}, "metadata": {"a": 1}}]}, "jobs[1].metadata"),
        ({"hook_url": "http://10.0.0.1/"}, "hook_url"),
    ],
)
async def test_a_bad_batch_is_refused_whole_and_the_field_is_named(
    world: World, client: httpx.AsyncClient, changes: dict[str, Any], field: str
) -> None:
    answer = await client.post("/api/batches", json=body(**changes))
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert await world.indexed() == 0


async def test_a_batch_is_hidden_from_other_applications(world: World, client: httpx.AsyncClient) -> None:
    batch = await created(client)
    for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry")):
        for url in (f"/api/batches/{batch['id']}{path}", f"/api/batches/bat_unknown{path}"):
            answer = await client.request(method, url, headers=OTHER_AUTH)
            assert (answer.status_code, answer.json()["code"]) == (404, "batch_not_found")


@pytest.mark.parametrize("query", ["first=-1", "first=200", "count=51", "count=x", "first=1e3", "count=" + "9" * 30])
async def test_a_page_that_cannot_be_is_refused(world: World, client: httpx.AsyncClient, query: str) -> None:
    batch = await created(client)
    answer = await client.get(f"/api/batches/{batch['id']}?{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, query.partition("=")[0])


async def test_a_full_queue_refuses_a_batch_whole(any_store: RunningServer | None, clock: ManualClock) -> None:
    async with make_world(any_store, clock, max_queue_size=9) as world, http_client(**AUTH) as client:
        answer = await client.post("/api/batches", json=body())
        assert (answer.status_code, answer.json()["code"]) == (503, "queue_full")
        assert await world.indexed() == 0


async def test_single_jobs_submitted_next_to_a_batch_take_their_turn(world: World, client: httpx.AsyncClient) -> None:
    batch = await created(client)
    world.manual.advance(1)
    late = await world.enqueue("ada", queue="storyboard")
    urgent = await world.enqueue("ada", queue="storyboard", priority=5)
    assert (await world.runtime.records.read(late)).state == "backlog"
    await end(world, (await running(world, batch, client))[0])
    started: tuple[Claimed, ...] = (await world.runtime.queue.claim(5)).started
    assert [job.id for job in started] == [urgent]


async def test_the_best_jobs_of_a_batch_are_ready_first(world: World, client: httpx.AsyncClient) -> None:
    await world.runtime.controls.set_gates({"=s": 0})
    jobs = [{"input": given, "priority": 5 if number in (3, 7) else 2} for number, given in enumerate(INPUTS)]
    batch = await created(client, jobs=jobs)
    await world.runtime.controls.set_gates({"=s": None})
    started = [job.id for job in (await world.runtime.queue.claim(5)).started]
    assert started == [f"{batch['id']}_{n}" for n in (3, 7, 0)]


async def test_a_batch_of_two_hundred_takes_one_call(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock, dispatch_on_submit=False) as world, http_client(**AUTH) as client:
        valkey.reset_bill()
        await created(client, jobs=[{"input": {"prompt": "p" * 2000}}] * 200)
        bill = valkey.bill()
        assert (bill.calls, bill.billed) == (2, 5 + 208)  # created, and read for the answer
        stats = await world.runtime.records.stats()
        assert (stats.queues[1].ready, stats.backlog) == (3, 197)


async def test_a_batch_under_the_fair_policy_pays_for_each_of_its_jobs(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(
        any_store, clock, priority_policy="fair", max_user_tasks=20, dispatch_on_submit=False
    ) as world:
        async with http_client(**AUTH) as client:
            batch = await created(client, queue="video")
            single = await world.enqueue("bob")
            order = [job.id for _ in range(11) for job in await _one(world)]
    assert order.index(single) <= 1
    assert [job for job in order if job != single] == [f"{batch['id']}_{n}" for n in range(10)]


@pytest.mark.parametrize("how", ["single", "batch", "expired"])
async def test_under_fair_a_cancelled_batch_is_not_paid_for(
    any_store: RunningServer | None, clock: ManualClock, how: str
) -> None:
    """A user's next job was in place 181 and not 4, as long as one job of the batch had not ended."""
    changes: dict[str, Any] = {"max_user_tasks": 5, "max_user_queued": 9, "dispatch_on_submit": False}
    async with make_world(any_store, clock, priority_policy="fair", **changes) as world, http_client(**AUTH) as client:
        batch = await created(client, queue="video", user_id="bob", jobs=[{"input": {"n": n}} for n in range(180)])
        [running] = (await world.runtime.queue.claim(1)).started
        await world.runtime.queue.record(running.id, 1, "p1", incarnation=running.incarnation)
        if how == "expired":
            for number in range(1, 180):
                await _expire(world, f"{batch['id']}_{number}")
        else:
            await client.post(f"/api/batches/{batch['id']}/cancel")
        for _ in range(5):
            await world.enqueue("ada")
        if how == "batch":
            await created(client, queue="video", user_id="bob", jobs=[{"input": {}}])
        else:
            await world.enqueue("bob")
        assert "bob" in [job.user for job in (await world.runtime.queue.claim(4)).started]


async def _expire(world: World, job: str) -> None:
    await world.raw("HSET", world.runtime.queue.keys.job(job), "expire_at", "1")
    await world.runtime.queue.expire(job)


async def test_under_fair_a_job_that_was_started_is_paid_for(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, priority_policy="fair", max_user_tasks=5, max_user_queued=9) as world:
        for job in [await world.enqueue("bob", start=True) for _ in range(3)]:
            record = await world.runtime.records.read(job)
            await world.runtime.queue.fail(job, 1, "", code="timeout", detail="", retryable=True)
            await world.runtime.queue.cancel(job, "app")
            assert record.state == "submitting"
        bob, ada = await world.enqueue("bob"), [await world.enqueue("ada") for _ in range(2)]
        assert [job.id for job in (await world.runtime.queue.claim(3)).started] == [*ada, bob]


async def _one(world: World) -> tuple[Claimed, ...]:
    started = (await world.runtime.queue.claim(1)).started
    for job in started:
        queue = world.runtime.queue
        own: dict[str, Any] = {"incarnation": job.incarnation}
        await queue.record(job.id, job.attempt, f"p-{job.id}", incarnation=job.incarnation)
        await queue.finish(job.id, job.attempt, f"p-{job.id}", "completed", {"output": "1"}, **own)
    return started


async def test_a_batch_ends_although_a_job_of_it_is_lost(world: World, client: httpx.AsyncClient) -> None:
    batch = await created(client, jobs=[{"input": given} for given in INPUTS[:4]])
    keys = world.runtime.queue.keys
    for job in await running(world, batch, client):
        await end(world, job)
    await world.raw("DEL", keys.job(f"{batch['id']}_3"))
    await world.runtime.queue.rehome(keys.user("app", "ada"))
    document = await read(world, client, batch)
    assert document["ended_at"] and document["counts"]["failed"] == 1


async def test_results_hold_any_output_of_a_provider_and_no_page_is_too_large(
    world: World, client: httpx.AsyncClient
) -> None:
    batch = await created(client, jobs=[{"input": given} for given in INPUTS[:4]])
    for number in range(4):
        await world.runtime.dispatcher.run(Budget(60))
        job = f"{batch['id']}_{number}"
        prediction = (await world.runtime.records.read(job)).prediction
        output = {"output": '"\\ud800"' if number == 0 else f'"{"x" * 1_200_000}"'}
        incarnation = await world.incarnation_of(job)
        await world.runtime.queue.finish(job, 1, prediction, "completed", output, incarnation=incarnation)
    document = await read(world, client, batch, "?first=0&count=50")
    assert [result["number"] for result in document["results"]] == [0, 1, 2] and document["next_first"] == 3
    document = await read(world, client, batch, "?first=3&count=50")
    assert [result["number"] for result in document["results"]] == [3] and document["next_first"] is None


async def test_a_retry_that_does_not_fit_into_the_queue_is_refused(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, max_queue_size=10) as world, http_client(**AUTH) as client:
        batch = await created(client, policy="all_or_nothing")
        await end(world, (await running(world, batch, client))[0], "failed")
        await world.runtime.dispatcher.run(Budget(60))
        await world.runtime.controls.set_gates({"=s": 0})
        await world.enqueue("bob")
        answer = await client.post(f"/api/batches/{batch['id']}/retry")
        assert (answer.status_code, answer.json()["code"]) == (503, "queue_full")
        assert (await read(world, client, batch))["counts"]["failed"] == 1


async def test_every_page_of_a_batch_is_fresh_after_a_cancel(world: World, client: httpx.AsyncClient) -> None:
    batch = await created(client)
    url = f"/api/batches/{batch['id']}?first=0&count=2"
    assert (await client.get(url)).json()["status"] == "processing"
    await client.post(f"/api/batches/{batch['id']}/cancel")
    assert (await client.get(url)).json()["status"] == "canceled"
