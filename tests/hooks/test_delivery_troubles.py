"""Failing endpoints, and what they must not affect."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock
from shared.dispatch.tick import SWEEP_EVERY
from shared.errors import StoreUncertain
from shared.hooks.subscription import subscription
from shared.jobs.batches import BatchJob, BatchRequest
from shared.providers.base import Prediction
from shared.startup import SettingsError, load_settings
from tests.hooks.deliveries import completed, delivery_of, drain, left, run, running
from tests.hooks.outbox import LATEST
from tests.receiver import OK, Receiver, receiver
from tests.world import AUTH, World, http_client, make_world, settings_for

DAY = 86_400.0


@pytest.fixture
async def world(valkey: RunningServer) -> AsyncIterator[World]:
    async with make_world(valkey, ManualClock(), allow_loopback=True, hook_timeout=2.0, max_user_tasks=500) as made:
        yield made


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**AUTH) as made:
        yield made


async def test_events_behind_a_host_that_stays_down_are_given_up_and_listed(world: World, endpoint: Receiver) -> None:
    endpoint.answers = lambda _: (503, {}, b"")
    for number in range(60):
        job_id = await world.enqueue(f"user{number}", hook_url=endpoint.url())
        await world.runtime.queue.cancel(job_id, "app")
    world.follow_ups()
    for _ in range(7 * 24):
        world.manual.advance(3600)
        await run(world)
    assert await left(world) == 0
    assert (await world.runtime.records.stats()).counters["undelivered"] == 60
    assert len((await world.runtime.outbox.undelivered(LATEST))[0]) == 60
    assert (await delivery_of(world, "job_59", "canceled")).state == "failed"


async def test_an_event_of_a_job_that_is_gone_is_counted(world: World, endpoint: Receiver) -> None:
    job_id = await completed(world, endpoint.url())
    world.follow_ups()
    await world.raw("DEL", world.runtime.queue.keys.job(job_id))
    world.manual.advance(60)
    await run(world)
    assert endpoint.received == [] and await left(world) == 0
    assert (await world.runtime.records.stats()).counters["undelivered"] == 1


async def test_a_submit_or_a_poll_delivers_no_events_of_other_jobs(
    world: World, client: httpx.AsyncClient, endpoint: Receiver
) -> None:
    """The submit also starts another user's job; a tick or a later call sends that job's event."""
    await world.enqueue("bob", hook_url=endpoint.url(), hook_events=["job.processing"])
    body = {"model": "acme/video", "input": {}, "user_id": "ada"}
    assert (await client.post("/api/submit", json=body)).status_code == 202
    assert (await world.runtime.records.read("job_0")).state == "running" and endpoint.received == []
    world.manual.advance(40)
    await world.runtime.tick.run()
    assert len(endpoint.received) == 1


async def test_trouble_of_the_outbox_is_no_trouble_of_an_accepted_submit(
    world: World, client: httpx.AsyncClient, endpoint: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def uncertain(holder: str, *_: Any) -> None:
        asked.append(holder)
        raise StoreUncertain

    monkeypatch.setattr(world.runtime.outbox, "read", uncertain)
    hook = {"hook_url": endpoint.url(), "hook_events": ["job.processing"]}
    body = {"model": "acme/video", "input": {}, "user_id": "ada", **hook}
    answer = await client.post("/api/submit", json=body)
    assert answer.status_code == 202 and asked == [answer.json()["id"]]


async def test_a_poll_of_a_batch_delivers_its_end(world: World, client: httpx.AsyncClient, endpoint: Receiver) -> None:
    """Without webhook and without tick."""
    request = BatchRequest(user_id="ada", model="acme/video", hook_url=endpoint.url(), jobs=[BatchJob(input={})])
    batch = await world.runtime.batches.create("app", request, "k", Budget(50))
    (prediction,) = world.provider.states
    world.provider.states[prediction] = Prediction(prediction, "completed", "done")
    for _ in range(6):
        world.manual.advance(30)
        world.runtime.cache.forget_all("batch:")
        assert (await client.get(f"/api/batches/{batch['id']}")).status_code == 200
    assert [json.loads(request.body)["type"] for request in endpoint.received] == ["batch.completed"]


async def test_a_sweep_delivers_at_once_the_end_of_a_batch_whose_last_job_was_lost(
    world: World, endpoint: Receiver
) -> None:
    request = BatchRequest(user_id="ada", model="acme/video", hook_url=endpoint.url(), jobs=[BatchJob(input={})])
    batch = await world.runtime.batches.create("app", request, "k", Budget(50))
    await world.raw("DEL", world.runtime.queue.keys.job(batch["jobs"][0]["id"]))
    world.manual.advance(SWEEP_EVERY)  # the next tick sweeps
    report = await world.runtime.tick.run()
    assert [json.loads(request.body)["type"] for request in endpoint.received] == ["batch.completed"]
    assert report.followed_up == 1 and await left(world) == 0


async def test_behind_many_dead_hosts_a_healthy_one_is_served_in_the_same_run(world: World, endpoint: Receiver) -> None:
    async with receiver() as dead:
        dead.answers = lambda _: (500, {}, b"")
        for number in range(70):
            job_id = await world.enqueue(f"user{number}", hook_url=f"http://127.0.0.1:{dead.port}/{number}")
            # Each has its own host: that many endpoints would be too many for a test.
            lane = f"app:{number:012d}"
            await world.raw("HSET", world.runtime.queue.keys.job(job_id), "hook_lane", lane)
            await world.runtime.queue.cancel(job_id, "app")
        healthy = await world.enqueue("last", hook_url=endpoint.url())
        await world.runtime.queue.cancel(healthy, "app")
        world.follow_ups()
        world.manual.advance(60)
        await run(world)
        assert (await delivery_of(world, healthy, "canceled")).state == "delivered"


@pytest.mark.parametrize("cut", [True, False])
async def test_a_2xx_counts_as_success_even_if_its_body_breaks_off(world: World, cut: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
        await writer.drain()
        if not cut:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    job_id = await completed(world, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    await drain(world)
    assert (await delivery_of(world, job_id)).state == "delivered"
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    "url", ["https://[bad", "http://hooks.example.com/x", "ftp://x.example.com", "https://10.0.0.1/x", "https://a.b:8443/",
            "https://u:p@a.b/", "https://localhost/"],
)  # fmt: skip
def test_a_default_url_that_cannot_be_called_stops_the_start(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_ENV", "test")
    monkeypatch.setenv("API_KEYS", "app:key-of-the-app-in-tests")
    monkeypatch.setenv("HOOKS", json.dumps({"app": {"url": url}}))
    with pytest.raises(SettingsError, match="HOOKS") as refused:
        load_settings()
    assert url not in str(refused.value)


async def test_what_is_ended_after_a_410_is_listed_for_the_operator(world: World, endpoint: Receiver) -> None:
    endpoint.answers = lambda _: (410, {}, b"")
    await completed(world, endpoint.url())
    await drain(world)
    second = await completed(world, endpoint.url())
    await drain(world)
    listed = (await world.runtime.outbox.undelivered(LATEST))[0]
    assert len(endpoint.received) == 1 and f"completed|{second}" in [found.row for found in listed]
    assert (await world.runtime.records.stats()).counters["undelivered"] == 2


async def test_the_event_of_a_batchs_end_shows_that_end_even_if_the_batch_runs_again(
    world: World, endpoint: Receiver
) -> None:
    endpoint.answers = lambda _: (500, {}, b"")
    request = BatchRequest(user_id="ada", model="acme/video", hook_url=endpoint.url(), jobs=[BatchJob(input={})])
    batch = await world.runtime.batches.create("app", request, "k", Budget(50))
    job_id = batch["jobs"][0]["id"]
    own: Any = {"incarnation": await world.incarnation_of(job_id)}
    await world.runtime.queue.fail(job_id, 1, "", code="invalid_input", detail="", retryable=False, **own)
    await drain(world)
    await world.runtime.batches.retry("app", batch["id"], Budget(50))
    endpoint.answers = lambda _: OK
    world.manual.advance(30)
    await run(world)
    first, second = (json.loads(request.body) for request in endpoint.received)
    assert first == second and second["data"]["status"] == "failed" and second["data"]["counts"]["failed"] == 1


async def test_what_one_url_asks_for_does_not_hold_up_its_host(world: World, endpoint: Receiver) -> None:
    endpoint.answers = lambda request: (404, {"Retry-After": "86400"}, b"") if request.path == "/bad" else OK
    bad, good = await completed(world, endpoint.url("/bad")), await completed(world, endpoint.url("/good"))
    await drain(world)
    assert (await delivery_of(world, bad)).state == "pending" and (await delivery_of(world, good)).state == "delivered"


async def test_one_of_the_calls_that_end_jobs_of_a_failing_host_is_the_probe(world: World, endpoint: Receiver) -> None:
    endpoint.answers = lambda _: (500, {}, b"")
    await completed(world, endpoint.url())
    await drain(world)
    world.manual.advance(10)
    for _ in range(5):
        await running(world, endpoint.url())
    for number in range(1, 6):
        await world.runtime.queue.finish(f"job_{number}", 1, f"p_job_{number}", "completed", {"output": "1"})
    rows = world.follow_ups()
    assert len(rows) == 1 and rows[0].is_probe


def test_one_host_is_one_lane_however_it_is_written() -> None:
    settings = settings_for(None)
    urls = ["https://example.com/a", "https://EXAMPLE.com:443/b", "https://example.com:/c", "https://example。com/d"]
    assert len({subscription(settings, "app", url, None)["hook_lane"] for url in urls}) == 1
    assert subscription(settings, "app", "https://www.example.com/", None)["hook_lane"] not in urls
