"""Deliveries to owners: the request, its signature, the retries and the log."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock
from shared.hooks.delivery import LADDER
from shared.hooks.event import MAX_BYTES, event_body, secrets_of
from shared.jobs.batches import BatchJob, BatchRequest
from tests.hooks.deliveries import completed, delivery_of, drain, left, run, running
from tests.hooks.outbox import LATEST
from tests.receiver import OK, Receiver, receiver
from tests.world import World, make_world

TWO_SECRETS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + "QUFB" * 11)
HOOKS: dict[str, Any] = {"app": {"secrets": TWO_SECRETS}}
DAY = 86_400.0


@pytest.fixture
async def world(any_store: RunningServer | None) -> AsyncIterator[World]:
    # The verifiers of other libraries allow five minutes by the machine's clock.
    clock = ManualClock(time.time_ns() // 1_000_000)
    settings = {"allow_loopback": True, "hooks": HOOKS, "api_keys": "app:key-of-the-app-in-tests"}
    async with make_world(any_store, clock, **settings) as made:
        yield made


async def test_the_end_of_a_job_is_delivered_by_the_call_that_ended_it_and_both_secrets_sign(
    world: World, endpoint: Receiver
) -> None:
    job_id = await completed(world, endpoint.url(), metadata={"order": "7"})
    await drain(world)
    (request,) = endpoint.received
    for secret in TWO_SECRETS:
        event = request.verified(secret)
        assert event["type"] == "job.completed" and event["data"]["id"] == job_id
        assert event["data"]["output"] == "done" and event["data"]["metadata"] == {"order": "7"}
    assert await left(world) == 0
    record = await delivery_of(world, job_id)
    assert (record.state, record.tries) == ("delivered", 1)
    assert json.loads(record.entries[0])["status"] == 204


async def test_a_key_without_its_own_secrets_signs_with_a_derived_one(
    any_store: RunningServer | None, endpoint: Receiver
) -> None:
    clock = ManualClock(time.time_ns() // 1_000_000)
    async with make_world(any_store, clock, allow_loopback=True) as world:
        await completed(world, endpoint.url())
        await drain(world)
        (secret,) = secrets_of(world.runtime.settings, "app")
        assert endpoint.received[0].verified(secret)["type"] == "job.completed"
        assert secrets_of(world.runtime.settings, "other") != (secret,)


async def test_a_failed_delivery_is_tried_ten_times_under_one_id_and_is_then_given_up_visibly(
    world: World, endpoint: Receiver
) -> None:
    endpoint.answers = lambda _: (500, {}, b"no")
    job_id = await completed(world, endpoint.url())
    await drain(world)
    for number in range(1, len(LADDER)):
        assert len(endpoint.received) == number
        world.manual.advance(LADDER[number] * 0.9 - 1)
        await run(world)
        assert len(endpoint.received) == number, "before its time"
        world.manual.advance(LADDER[number] * 0.25 + 1200)  # its jitter, and the pause of a failing host
        await run(world)
    assert len(endpoint.received) == len(LADDER)
    assert len({request.event_id for request in endpoint.received}) == 1
    stamps = [int(request.headers["webhook-timestamp"]) for request in endpoint.received]
    assert stamps == sorted(set(stamps)), "each try has a fresh timestamp"
    assert await left(world) == 0
    record = await delivery_of(world, job_id)
    assert (record.state, record.tries, len(record.entries)) == ("failed", 10, 10)
    assert json.loads(record.entries[0])["answer"] == "no"
    undelivered = (await world.runtime.outbox.undelivered(LATEST))[0]
    assert [found.row for found in undelivered] == [f"completed|{job_id}"]
    assert (await world.runtime.records.stats()).counters["undelivered"] == 1


@pytest.mark.parametrize("status", [199, 301, 302, 307, 400, 404, 500, 503])
async def test_only_2xx_is_success_and_no_redirect_is_followed(
    valkey_world: World, valkey: RunningServer, endpoint: Receiver, status: int
) -> None:
    async with make_world(valkey, ManualClock(), allow_loopback=True, hook_timeout=0.3) as world:
        endpoint.answers = lambda request: (status, {"Location": endpoint.url("/other")}, b"")
        job_id = await completed(world, endpoint.url())
        await drain(world)
        assert (await delivery_of(world, job_id)).state == "pending"
        assert endpoint.on("/other") == []


async def test_410_stops_all_deliveries_to_that_url_and_to_no_other(world: World, endpoint: Receiver) -> None:
    endpoint.answers = lambda request: (410, {}, b"") if request.path == "/gone" else OK
    first = await completed(world, endpoint.url("/gone"))
    await drain(world)
    assert (await delivery_of(world, first)).state == "disabled"
    second, other = await completed(world, endpoint.url("/gone")), await completed(world, endpoint.url("/other"))
    await drain(world)
    world.manual.advance(DAY)
    await run(world)
    assert len(endpoint.on("/gone")) == 1 and len(endpoint.on("/other")) == 1
    assert (await delivery_of(world, second)).state == "disabled" and (
        await delivery_of(world, other)
    ).state == "delivered"
    # The owner has repaired the URL: a redelivery is tried, and so are later events.
    endpoint.answers = lambda _: OK
    await world.runtime.outbox.redeliver(first, "completed", "app")
    await drain(world)
    assert (await delivery_of(world, first)).state == "delivered"
    third = await completed(world, endpoint.url("/gone"))
    await drain(world)
    assert (await delivery_of(world, third)).state == "delivered"


async def test_retry_after_is_obeyed(world: World, endpoint: Receiver) -> None:
    endpoint.answers = lambda _: (429, {"Retry-After": "600"}, b"")
    job_id = await completed(world, endpoint.url())
    await drain(world)
    endpoint.answers = lambda _: OK
    world.manual.advance(590)
    await run(world)
    assert len(endpoint.received) == 1
    world.manual.advance(20)
    await run(world)
    assert (await delivery_of(world, job_id)).state == "delivered"


async def test_a_host_that_hangs_is_left_alone_while_others_are_served(
    any_store: RunningServer | None, clock: ManualClock, endpoint: Receiver
) -> None:
    changes: dict[str, Any] = {"allow_loopback": True, "hook_timeout": 2.0}
    async with make_world(any_store, clock, **changes) as world, receiver() as hung:
        hung.answers = lambda _: None
        for _ in range(3):
            await completed(world, hung.url())
        healthy = [await completed(world, endpoint.url()) for _ in range(3)]
        world.follow_ups()  # the functions that ended them have died
        world.manual.advance(60)
        assert await run(world) == 6
        assert [(await delivery_of(world, job_id)).state for job_id in healthy] == ["delivered"] * 3
        tried = len(hung.received)
        world.manual.advance(1)
        await run(world)
        assert len(hung.received) == tried, "it is backed off"
        world.manual.advance(130)
        hung.answers = lambda _: OK
        await run(world)
        assert len(hung.received) == tried + 1 or await left(world) == 0, "one row is the probe"
        for _ in range(3):
            world.manual.advance(400)
            await run(world)
        assert await left(world) == 0


async def test_new_ends_do_not_try_a_host_that_is_backed_off(world: World, endpoint: Receiver) -> None:
    endpoint.answers = lambda _: (503, {"Retry-After": "300"}, b"")
    await completed(world, endpoint.url("/a"))
    await drain(world)
    second = await completed(world, endpoint.url("/b"))
    await drain(world)
    assert len(endpoint.received) == 1 and (await delivery_of(world, second)).state == "pending"
    endpoint.answers = lambda _: OK
    world.manual.advance(400)
    await run(world)
    assert (await delivery_of(world, second)).state == "delivered"


async def test_only_the_requested_events_are_delivered(world: World, endpoint: Receiver) -> None:
    url = endpoint.url()
    job_id = await running(world, url, hook_events=["job.processing", "job.failed"])
    await drain(world)
    assert [json.loads(request.body)["type"] for request in endpoint.received] == ["job.processing"]
    assert json.loads(endpoint.received[0].body)["data"]["status"] == "processing"
    await world.runtime.queue.fail(job_id, 1, "", code="invalid_input", detail="no such model", retryable=False)
    await drain(world)
    event = json.loads(endpoint.received[1].body)
    assert event["type"] == "job.failed" and event["data"]["error"]["code"] == "invalid_input"
    await completed(world, url, hook_events=["job.failed"])
    canceled = await world.enqueue(hook_url=url)
    await world.runtime.queue.cancel(canceled, "app")
    await drain(world)
    assert [json.loads(request.body)["type"] for request in endpoint.received[2:]] == ["job.canceled"]
    assert len({request.event_id for request in endpoint.received}) == 3


async def test_a_later_attempt_is_no_second_beginning(world: World, endpoint: Receiver) -> None:
    job_id = await running(world, endpoint.url(), hook_events=["job.processing"])
    await drain(world)
    await world.runtime.queue.fail(job_id, 1, "", code="timeout", detail="", retryable=True)
    world.manual.advance(1000)
    await world.runtime.queue.claim(1)
    await world.runtime.queue.record(job_id, 2, "p2")
    await drain(world)
    assert len(endpoint.received) == 1


async def test_a_keys_default_url_and_events_are_used_where_a_job_names_none(
    any_store: RunningServer | None, endpoint: Receiver
) -> None:
    hooks = {"app": {"url": endpoint.url("/default"), "events": ["job.completed"]}}
    settings = {"allow_loopback": True, "hooks": hooks, "api_keys": "app:key-of-the-app-in-tests"}
    async with make_world(any_store, ManualClock(), **settings) as world:
        job_id = await world.enqueue(start=True)
        await world.runtime.queue.record(job_id, 1, "p")
        await world.runtime.queue.finish(job_id, 1, "p", "completed", {"output": "1"})
        await world.runtime.queue.cancel(await world.enqueue(), "app")
        await drain(world)
        assert [json.loads(request.body)["type"] for request in endpoint.on("/default")] == ["job.completed"]


async def test_a_batch_is_one_event_at_its_end_and_another_when_it_ends_again(world: World, endpoint: Receiver) -> None:
    request = BatchRequest(
        user_id="ada",
        model="acme/video",
        hook_url=endpoint.url(),
        jobs=[BatchJob(input={}), BatchJob(input={})],
    )
    batch = await world.runtime.batches.create("app", request, "k", Budget(50))
    own: Any = {"incarnation": await world.incarnation_of(batch["jobs"][0]["id"])}
    for job in batch["jobs"]:
        await world.runtime.queue.fail(job["id"], 1, "", code="invalid_input", detail="", retryable=False, **own)
    await drain(world)
    assert [json.loads(request.body)["type"] for request in endpoint.received] == ["batch.completed"]
    assert await world.runtime.batches.retry("app", batch["id"], Budget(50)) == 2
    await world.runtime.batches.cancel("app", batch["id"], Budget(50))
    for number in range(2):
        await world.runtime.queue.finish(f"{batch['id']}_{number}r1", 1, f"p{number + 3}", "canceled", {}, **own)
    await drain(world)
    events = [json.loads(request.body) for request in endpoint.received]
    assert [event["type"] for event in events] == ["batch.completed"] * 2
    assert endpoint.received[0].event_id != endpoint.received[1].event_id
    assert events[0]["data"]["counts"]["failed"] == 2 and events[0]["data"]["status"] == "failed"
    assert events[1]["data"]["counts"]["canceled"] == 2


async def test_a_function_that_dies_before_it_delivers_leaves_the_event_to_the_tick(
    world: World, endpoint: Receiver
) -> None:
    job_id = await completed(world, endpoint.url())
    world.follow_ups()
    await world.runtime.tick.run()
    assert endpoint.received == [], "its lease is still held"
    world.manual.advance(31)
    await world.runtime.tick.run()
    assert (await delivery_of(world, job_id)).state == "delivered"


@pytest.mark.parametrize("how", ["deleted", "its user erased"])
async def test_a_deleted_job_sends_no_more_events(world: World, endpoint: Receiver, how: str) -> None:
    """The promise to notify at least once ends with the job."""
    job_id = await completed(world, endpoint.url())
    world.follow_ups()
    if how == "deleted":
        await world.runtime.history.delete(job_id, "app")
    else:
        record = await world.runtime.records.read(job_id)
        assert (await world.runtime.erasure.erase_user("app", record.user, Budget(60)))["jobs"] == 1
    world.manual.advance(31)
    await run(world)
    assert endpoint.received == [] and await left(world) == 0


async def test_an_address_that_is_not_public_is_never_connected_to(
    any_store: RunningServer | None, endpoint: Receiver
) -> None:
    """The guard checks each try, even if submit accepted the URL."""
    async with make_world(any_store, ManualClock()) as world:
        job_id = await completed(world, endpoint.url())
        await drain(world)
        assert endpoint.received == []
        assert json.loads((await delivery_of(world, job_id)).entries[0])["error"] == "address_refused"


async def test_the_answer_is_kept_to_500_bytes_and_an_endless_one_is_not_awaited(
    world: World, endpoint: Receiver
) -> None:
    endpoint.answers = lambda _: (200, {}, b"\xff" * 1_000_000)
    job_id = await completed(world, endpoint.url())
    await drain(world)
    record = await delivery_of(world, job_id)
    assert record.state == "delivered" and len(json.loads(record.entries[0])["answer"]) <= 500


def test_a_body_stays_below_20_kb_and_names_what_it_leaves_out() -> None:
    data = {"id": "job_1", "output": "x" * 30_000, "files": [], "metadata": {"a": "é" * 2000}}
    body = event_body("completed", 0, data)
    assert len(body) <= MAX_BYTES
    event = json.loads(body)["data"]
    assert event["output"] is None and event["omitted"] == ["output"] and event["metadata"] == data["metadata"]


@pytest.mark.parametrize("text", ["سلام دنیا ", "🎬🎞️", "動画"])
def test_text_of_any_script_takes_its_bytes_of_utf_8_in_a_body(text: str) -> None:
    data = {
        "id": "job_1",
        "output": "https://a.dev/1.mp4",
        "files": [{"state": "stored"}],
        "metadata": {"a": text * 500},
    }
    body = event_body("completed", 0, data)
    assert text.encode() in body and "omitted" not in json.loads(body)["data"]


def test_a_body_leaves_out_its_largest_part_first() -> None:
    data = {
        "id": "job_1",
        "output": "https://a.dev/1.mp4",
        "files": [{"state": "stored"}],
        "metadata": {"a": "é" * 10_000},
    }
    event = json.loads(event_body("completed", 0, data))["data"]
    assert event["omitted"] == ["metadata"] and event["metadata"] is None
    assert (event["output"], event["files"]) == (data["output"], data["files"])


def test_half_of_a_surrogate_pair_in_an_output_is_sent_escaped() -> None:
    assert json.loads(event_body("completed", 0, {"output": "\ud83d"}))["data"]["output"] == "\ud83d"


@pytest.mark.exhaustive
@pytest.mark.timeout(400)
async def test_a_thousand_deliveries_to_fifty_endpoints_of_which_twenty_fail(valkey: RunningServer) -> None:
    """Ten hang and ten answer 500; the thirty healthy ones are all served within two ticks.

    The ten hang until the healthy ones are served: no time is measured, so that a slow machine proves the same.
    """
    patient = {
        "hook_timeout": 20.0, "store_connect_timeout": 20.0, "store_try_timeout": 25.0, "store_total_timeout": 55.0,
        "provider_timeout": 60.0, "function_max_duration": 800.0,
    }  # fmt: skip
    async with make_world(valkey, ManualClock(), allow_loopback=True, max_user_tasks=1000,
                          max_concurrent_tasks=1000, max_queue_size=5000, **patient) as world:  # fmt: skip
        endpoints = [receiver() for _ in range(50)]
        there = [await endpoint.__aenter__() for endpoint in endpoints]
        for ill in there[:10]:
            ill.answers = lambda _: None
        for ill in there[10:20]:
            ill.answers = lambda _: (500, {}, b"")
        ended = []
        for number in range(1000):
            job_id = await world.enqueue(f"user{number}", hook_url=there[number % 50].url())
            await world.runtime.queue.cancel(job_id, "app")
            ended.append(job_id)
        world.follow_ups()  # no process handled them
        world.manual.advance(60)
        patience = asyncio.create_task(hang_up_when_served(there[:10], there[20:], 20))
        for _ in range(2):
            await world.runtime.tick.run()
            world.manual.advance(60)
        await patience
        assert [len({request.event_id for request in healthy.received}) for healthy in there[20:]] == [20] * 30
        assert all(1 <= len(ill.received) <= 12 for ill in there[:20]), [len(ill.received) for ill in there[:20]]
        await asyncio.gather(*(endpoint.__aexit__(None, None, None) for endpoint in endpoints))


async def hang_up_when_served(hanging: list[Receiver], healthy: list[Receiver], each: int) -> None:
    """Closes the connections of those that hang when each of the healthy ones has been sent so many events."""
    while any(len(endpoint.received) < each for endpoint in healthy):
        await asyncio.sleep(0.05)
    for endpoint in hanging:
        endpoint.hang_up()
