"""A status explains itself with place, reason and estimate, within the cost of a poll."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock, iso
from shared.providers.base import Throttled
from tests.world import AUTH, World, http_client, make_world


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**AUTH) as made:
        yield made


async def poll(world: World, client: httpx.AsyncClient, job: str) -> dict[str, Any]:
    world.runtime.statuses.forget(job)
    answer = await client.get(f"/api/status/{job}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def teach(world: World, *seconds: float) -> None:
    """Runs the model this many times, each for this long."""
    for n, took in enumerate(seconds):
        job = await world.enqueue(f"teacher{n}", start=True, job_id=f"lesson{n}")
        await world.runtime.queue.record(job, 1, f"lesson{n}")
        world.manual.advance(took)
        world.manual.true_now += n - world.manual.true_now % 32 + 32  # each its own place among the recent runs
        await world.runtime.queue.finish(job, 1, f"lesson{n}", "completed", {"output": "1"})


async def fill(world: World, count: int = 5, **changes: Any) -> None:
    for n in range(count):
        job = await world.enqueue(f"filler{n}", **changes)
        (claimed,) = (await world.runtime.queue.claim(1)).started
        assert claimed.id == job
        await world.runtime.queue.record(job, 1, f"p-{job}")


async def test_a_full_system_is_named_with_its_numbers(world: World, client: httpx.AsyncClient) -> None:
    await fill(world)
    jobs = [await world.enqueue(user) for user in ("ada", "bob")]
    documents = [await poll(world, client, job) for job in jobs]
    assert [document["queue_position"] for document in documents] == [1, 2]
    assert {document["waiting_reason"] for document in documents} == {"system 5 of 5"}


async def test_a_full_queue_is_named(world: World, client: httpx.AsyncClient) -> None:
    await fill(world, 3, queue="storyboard")
    document = await poll(world, client, await world.enqueue("ada", queue="storyboard"))
    assert (document["waiting_reason"], document["queue_position"]) == ("queue storyboard 3 of 3", 1)


async def test_a_users_own_limit_is_named(any_store: RunningServer | None, clock: ManualClock) -> None:
    async with make_world(any_store, clock, max_user_queued=9) as world, http_client(**AUTH) as client:
        jobs = [await world.enqueue("ada") for _ in range(5)]
        document = await poll(world, client, jobs[4])
        assert (document["waiting_reason"], document["queue_position"]) == ("user limit 3 of 3", 2)
        assert (document["status"], document["stage"]) == ("pending", "queued")


async def test_places_in_a_long_backlog_are_exact(any_store: RunningServer | None, clock: ManualClock) -> None:
    async with make_world(any_store, clock, max_user_queued=200) as world, http_client(**AUTH) as client:
        jobs = []
        for _ in range(103):
            jobs.append(await world.enqueue("ada"))
            world.manual.true_now += 1
        assert [(await poll(world, client, jobs[n]))["queue_position"] for n in (3, 20, 102)] == [1, 18, 100]


async def test_a_paused_provider_is_named_until_when(world: World, client: httpx.AsyncClient) -> None:
    world.provider.outcomes = [Throttled("rate_limited", 30)]
    job = await world.enqueue("ada")
    await world.runtime.dispatcher.run(Budget(60))
    until = (await world.runtime.records.stats()).gates["~p0"]
    other = await world.enqueue("bob")
    assert (await poll(world, client, job))["waiting_reason"] == f"rate_limited, refused once, retry at {iso(until)}"
    assert (await poll(world, client, other))["waiting_reason"] == f"provider replicate paused until {iso(until)}"


@pytest.mark.parametrize(
    ("gate", "reason"),
    [("=s", "the system is paused"), ("=q0", "queue video is paused"), ("=p0", "provider replicate is paused")],
)
async def test_an_operators_pause_is_named_and_nothing_is_estimated(
    world: World, client: httpx.AsyncClient, gate: str, reason: str
) -> None:
    await teach(world, 10)
    await world.runtime.controls.set_gates({gate: 0})
    document = await poll(world, client, await world.enqueue("ada"))
    assert (document["waiting_reason"], document["eta_seconds"]) == (reason, None)


async def test_an_open_circuit_is_named(any_store: RunningServer | None, clock: ManualClock) -> None:
    async with make_world(any_store, clock, circuit_failures=1) as world, http_client(**AUTH) as client:
        failed = await world.enqueue("ada", start=True)
        await world.runtime.queue.record(failed, 1, "p")
        await world.runtime.queue.fail(failed, 1, "p", code="timeout", detail="too slow", retryable=True)
        job = await world.enqueue("bob")
        assert (await poll(world, client, job))["waiting_reason"] == "circuit open: acme/video"
        await world.runtime.queue.claim(5)
        assert (await poll(world, client, job))["waiting_reason"] == "circuit open: acme/video"
        document = await poll(world, client, failed)
        assert document["waiting_reason"] == f"retry at {document['due_at']}"
        assert document["error"] == {"code": "timeout", "class": "timeout", "detail": "too slow", "retryable": True}
        (attempt,) = document["failed_attempts"]
        assert (attempt["attempt"], attempt["class"], attempt["prediction"]) == (1, "timeout", "p")


async def test_a_providers_rate_is_named(any_store: RunningServer | None, clock: ManualClock) -> None:
    async with make_world(any_store, clock, provider_rates="replicate:6") as world, http_client(**AUTH) as client:
        await fill(world, 1)
        document = await poll(world, client, await world.enqueue("ada"))
        assert document["waiting_reason"] == "provider replicate takes 6 a minute"


async def test_estimates_come_from_recent_runs_of_the_model(world: World, client: httpx.AsyncClient) -> None:
    await teach(world, *[20.0] * 8, 60.0, 60.0)
    await fill(world)
    job = await world.enqueue("ada")
    document = await poll(world, client, job)
    assert 20 + 20 / 5 <= document["eta_seconds"] <= 30 and 60 <= document["eta_p90_seconds"] <= 80
    other = await poll(world, client, await world.enqueue("bob", model="acme/new"))
    assert (other["eta_seconds"], other["eta_p90_seconds"]) == (None, None)


async def test_a_running_jobs_estimate_counts_down_and_its_etag_stays(world: World, client: httpx.AsyncClient) -> None:
    await teach(world, 20.0)
    await fill(world, 1)
    url = f"/api/status/job_{world.submitted - 1}"
    first = await client.get(url)
    world.manual.advance(5)
    world.runtime.statuses.forget(url.rpartition("/")[2])
    again = await client.get(url)
    assert again.json()["eta_seconds"] == first.json()["eta_seconds"] - 5
    assert first.headers["etag"] == again.headers["etag"] and first.headers["etag"].startswith("W/")
    headers = {"If-None-Match": first.headers["etag"]}
    assert (await client.get(url, headers=headers)).status_code == 304


async def test_a_document_holds_all_that_its_owner_may_ask(world: World, client: httpx.AsyncClient) -> None:
    document = await poll(world, client, await world.enqueue("ada"))
    assert {
        "queue_position", "eta_seconds", "eta_p90_seconds", "waiting_reason", "attempts", "max_attempts", "created_at",
        "submitted_at", "started_at", "ended_at", "expires_at", "error", "failed_attempts", "links",
    } <= document.keys()  # fmt: skip
    assert {"status", "cancel"} <= document["links"].keys()


@pytest.mark.parametrize("waiting", [1, 50, 400])
async def test_a_poll_with_everything_is_one_call_and_four_commands_at_most(
    valkey: RunningServer, clock: ManualClock, waiting: int
) -> None:
    changes: dict[str, Any] = {"max_user_tasks": 1000, "max_queue_size": 2000}
    async with make_world(valkey, clock, **changes) as world, http_client(**AUTH) as client:
        await teach(world, 20.0)
        await fill(world)
        for _ in range(waiting):
            job = await world.enqueue("ada")
            world.manual.true_now += 1
        valkey.reset_bill()
        document = await poll(world, client, job)
        bill = valkey.bill()
        assert (bill.calls, bill.billed) == (1, 4)
        assert document["queue_position"] == waiting
        assert document["eta_seconds"] > 20 and document["waiting_reason"] == "system 5 of 5"


async def test_a_poll_of_the_backlog_is_one_call_and_five_commands(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock, max_user_queued=9) as world, http_client(**AUTH) as client:
        await teach(world, 20.0)
        jobs = [await world.enqueue("ada") for _ in range(9)]
        valkey.reset_bill()
        document = await poll(world, client, jobs[8])
        bill = valkey.bill()
        assert (bill.calls, bill.billed) == (1, 5) and document["queue_position"] == 6


async def test_a_job_that_does_not_wait_is_polled_with_one_command(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock) as world, http_client(**AUTH) as client:
        await world.raw("HSET", world.runtime.queue.keys.models + "0:acme/video", "r", "60000")
        await fill(world, 1)
        first = await client.get("/api/status/job_0")
        world.runtime.statuses.forget("job_0")
        valkey.reset_bill()
        await client.get("/api/status/job_0")
        assert (valkey.bill().calls, valkey.bill().billed) == (1, 1)
        # Another process learns it from the caller's ETag.
        world.another_process()
        valkey.reset_bill()
        await client.get("/api/status/job_0", headers={"If-None-Match": first.headers["etag"]})
        assert (valkey.bill().calls, valkey.bill().billed) == (1, 1)


async def test_a_job_whose_queue_was_taken_away_still_has_a_status(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, queues="image:1") as world, http_client(**AUTH) as client:
        job = await world.enqueue("ada", queue="image")
        world.another_process(queues="")
        assert (await poll(world, client, job))["waiting_reason"] == "the queue is no longer configured"
