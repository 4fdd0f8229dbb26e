"""A deleted job's late reports never touch the job that has its id now."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared import runtime
from shared.budget import Budget
from shared.clock import ManualClock
from shared.jobqueue import FollowUp, JobQueue
from shared.jobqueue.outbox import Tried
from shared.jobs.batches import BatchJob, BatchRequest
from shared.outbox.storing import FIELDS
from shared.providers.base import Prediction, Unknown
from shared.signing.derived import event_id_for, nonce, redriven_id
from tests.http.calls import BODY, problem, status_of, webhook_url
from tests.receiver import Receiver, receiver
from tests.world import AUTH, World, http_client, make_world

KEYED = AUTH | {"Idempotency-Key": "one key"}


@pytest.fixture
async def world(any_store: RunningServer | None) -> AsyncIterator[World]:
    location = f"memory://{secrets.token_hex(8)}"
    async with make_world(
        any_store, ManualClock(), allow_loopback=True, storage_url=location, thumbnails=False
    ) as made:
        yield made


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**KEYED) as made:
        yield made


@pytest.fixture
async def source() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        made.answers = lambda _: (200, {"Content-Type": "text/plain"}, b"a lighthouse")
        yield made


async def submit(client: httpx.AsyncClient, **changes: Any) -> str:
    answer = await client.post("/api/submit", json=BODY | changes)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def reborn(world: World, client: httpx.AsyncClient, **changes: Any) -> tuple[str, str]:
    """A job that runs as p2 under the id of a deleted one, which ran as p1; with the incarnation of that."""
    job_id = await submit(client, **changes)
    before = await world.incarnation_of(job_id)
    await world.runtime.queue.finish(job_id, 1, "p1", "canceled", {}, incarnation=before)
    assert (await client.delete(f"/api/jobs/{job_id}")).status_code == 204
    assert await submit(client, **changes) == job_id
    assert await world.incarnation_of(job_id) not in ("", before)
    return job_id, before


async def test_another_process_shows_a_deleted_job_for_as_long_as_its_cache_lasts(
    world: World, client: httpx.AsyncClient
) -> None:
    job_id = await submit(client)
    await world.runtime.queue.finish(
        job_id, 1, "p1", "completed", {"output": '"old"'}, incarnation=await world.incarnation_of(job_id)
    )
    other = world.runtime
    assert (await status_of(client, job_id))["output"] == "old"

    world.another_process()
    assert (await client.delete(f"/api/jobs/{job_id}")).status_code == 204
    assert (await client.get(f"/api/status/{job_id}")).status_code == 404
    runtime.install(other)
    assert (await status_of(client, job_id))["output"] == "old"
    kept = await other.statuses.view("app", job_id)
    assert other.statuses.left(kept) <= other.settings.status_cache_ttl
    other.cache.forget(job_id)  # its time is over
    assert (await client.get(f"/api/status/{job_id}")).status_code == 404

    assert await submit(client) == job_id
    assert (await status_of(client, job_id))["status"] == "processing"


@pytest.mark.parametrize("status", ["completed", "failed", "canceled"])
async def test_a_late_webhook_of_a_deleted_job_is_refused_and_counted(
    world: World, client: httpx.AsyncClient, status: Any
) -> None:
    job_id, before = await reborn(world, client)
    world.provider.states["p1"] = Prediction("p1", status, output=["old"], error="old")
    for _ in range(2):
        answer = await client.post(await webhook_url(world, job_id, incarnation=before), content=b"p1")
        assert (answer.status_code, answer.json()) == (200, {"result": "replaced"})
    assert (await status_of(client, job_id))["status"] == "processing"
    assert (await world.runtime.records.stats()).counters["replaced"] == 2
    world.provider.states["p2"] = Prediction("p2", "completed", output=["new"])
    assert (await client.post(await webhook_url(world, job_id), content=b"p2")).json() == {"result": "finished"}
    assert (await status_of(client, job_id))["output"] == ["new"]


async def test_a_prediction_of_a_deleted_job_that_still_runs_is_canceled(
    world: World, client: httpx.AsyncClient
) -> None:
    job_id, before = await reborn(world, client)
    world.provider.states["p1"] = Prediction("p1", "running", progress=40)
    await client.post(await webhook_url(world, job_id, incarnation=before), content=b"p1")
    assert world.provider.canceled == ["p1"]
    assert (await status_of(client, job_id))["progress"] is None


async def test_a_webhook_of_one_provider_is_none_of_another(world: World, client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    key, incarnation = world.runtime.settings.signing_key, await world.incarnation_of(job_id)
    tied = nonce(key, "wavespeed", job_id, 1, incarnation)
    query = {"job": job_id, "attempt": "1", "incarnation": incarnation, "nonce": tied}
    problem(await client.post("/api/webhook/replicate", params=query, content=b"p1"), 401, "unauthenticated")


VERBS: dict[str, Callable[[JobQueue, str, str], Awaitable[Any]]] = {
    "record": lambda queue, job, before: queue.record(job, 1, "late", incarnation=before),
    "finish": lambda queue, job, before: queue.finish(job, 1, "late", "completed", {}, incarnation=before),
    "fail": lambda queue, job, before: queue.fail(
        job, 1, "late", code="unknown", detail="", retryable=True, incarnation=before
    ),
    "snooze": lambda queue, job, before: queue.snooze(job, 1, delay=1, code="rate_limited", incarnation=before),
    "rescue": lambda queue, job, before: queue.rescue(job, 1, incarnation=before),
    "trip": lambda queue, job, before: queue.trip(job, 1, incarnation=before),
    "adopt": lambda queue, job, before: queue.adopt(job, 1, {"late": "marked"}, incarnation=before),
    "progress": lambda queue, job, before: queue.progress(job, 1, "late", 50, incarnation=before),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_a_write_for_a_deleted_job_changes_nothing_of_the_next_one(
    world: World, client: httpx.AsyncClient, verb: str
) -> None:
    """The next one's submission is unknown, so that each verb would apply to it; only its incarnation differs."""
    world.provider.outcomes = [Unknown("silence"), Unknown("silence")]
    job_id, before = await reborn(world, client)
    world.manual.advance(4 * 3600)
    keys = world.runtime.queue.keys
    state = [
        await world.raw("HGETALL", keys.job(job_id)),
        await world.raw("ZRANGE", keys.index, "0", "-1", "WITHSCORES"),
        await world.raw("HGETALL", keys.runs(0, "acme/video")),
    ]
    answer = await VERBS[verb](world.runtime.queue, job_id, before)
    assert answer is None or answer.word in ("stale", "replaced")
    assert [
        await world.raw("HGETALL", keys.job(job_id)),
        await world.raw("ZRANGE", keys.index, "0", "-1", "WITHSCORES"),
        await world.raw("HGETALL", keys.runs(0, "acme/video")),
    ] == state
    assert not world.follow_ups()


@pytest.mark.parametrize("verb", ["record", "finish", "fail"])
async def test_the_next_job_does_not_adopt_a_prediction_that_was_made_for_a_deleted_one(
    world: World, client: httpx.AsyncClient, verb: str
) -> None:
    world.provider.outcomes = [Unknown("silence"), Unknown("silence")]
    job_id, before = await reborn(world, client)
    await VERBS[verb](world.runtime.queue, job_id, before)
    world.provider.findable = ["late"]
    world.manual.advance(world.runtime.settings.lease + 1)
    await world.runtime.dispatcher.run(Budget(50))
    assert (await world.runtime.records.read(job_id)).prediction == ""


async def test_a_poll_that_began_before_the_deletion_does_not_end_the_next_job(
    world: World, client: httpx.AsyncClient
) -> None:
    job_id = await submit(client)
    before = await world.incarnation_of(job_id)
    world.manual.advance(world.runtime.settings.first_check_after + 1)
    overdue = await world.runtime.queue.check(job_id)
    assert overdue is not None and overdue.incarnation == before
    await world.runtime.queue.finish(job_id, 1, "p1", "canceled", {}, incarnation=before)
    await client.delete(f"/api/jobs/{job_id}")
    world.provider.outcomes = [Unknown("silence")]
    await submit(client)
    world.provider.states["p1"] = Prediction("p1", "completed", output=["old"])
    assert (await world.runtime.reconciler.ask(overdue, 5)).word == "replaced"
    assert (await status_of(client, job_id))["status"] == "processing"


async def test_a_late_copy_of_a_deleted_job_leaves_the_files_of_the_next_one(
    world: World, client: httpx.AsyncClient, source: Receiver
) -> None:
    job_id = await submit(client)
    before = await world.incarnation_of(job_id)
    old = Prediction("p1", "completed", output=source.url("/old"))
    await world.runtime.reconciler.apply(job_id, 1, "replicate", old, incarnation=before)
    (row,) = world.follow_ups()
    frozen = await world.runtime.outbox.read(job_id, ("completed",), FIELDS)
    await client.delete(f"/api/jobs/{job_id}")
    await submit(client)
    new = Prediction("p2", "completed", output=source.url("/new"))
    source.answers = lambda asked: (200, {"Content-Type": "text/plain"}, asked.path.encode())
    now = await world.incarnation_of(job_id)
    await world.runtime.reconciler.apply(job_id, 1, "replicate", new, incarnation=now)
    await world.follow_up()
    # The copier of the deleted job goes on where it was frozen, with the same turn.
    await world.runtime.storing._store(row, frozen, Budget(50))
    (file,) = (await status_of(client, job_id))["files"]
    assert file["state"] == "stored" and (await client.get(file["url"])).text == "/new"
    assert len([key async for page in world.runtime.bucket.pages("") for key in page]) == 1


async def test_a_late_delivery_for_a_deleted_job_says_nothing_of_the_next_ones_event(
    world: World, client: httpx.AsyncClient, source: Receiver
) -> None:
    hooked = {"hook_url": source.url("/hook"), "hook_events": ["job.failed"]}
    job_id, before = await reborn(world, client, **hooked)
    now, outbox = await world.incarnation_of(job_id), world.runtime.outbox
    await world.runtime.queue.finish(job_id, 1, "p2", "canceled", {}, incarnation=now)
    lane = await world.raw("HGET", world.runtime.queue.keys.job(job_id), "hook_lane")
    row, tried = FollowUp("tell", job_id, "failed"), Tried("delivered", 0, "{}")
    assert not await outbox.note(row, lane, "tag", 0, tried, incarnation=before)
    assert await outbox.note(row, lane, "tag", 0, tried, incarnation=now)


async def test_events_and_retries_of_two_jobs_with_one_id_have_different_ids(
    world: World, client: httpx.AsyncClient, source: Receiver
) -> None:
    hooked = {"hook_url": source.url("/hook"), "hook_events": ["job.failed"]}
    made, ids = [], set()
    for _ in range(2):
        job_id = await submit(client, **hooked)
        incarnation = await world.incarnation_of(job_id)
        prediction = Prediction(f"p{len(world.provider.created)}", "canceled")
        world.provider.states[prediction.id] = prediction
        await client.post(await webhook_url(world, job_id), content=prediction.id.encode())
        assert source.received[-1].headers["webhook-id"] == event_id_for(
            world.runtime.settings.signing_key, job_id, incarnation, "failed"
        )
        retried = await client.post(f"/api/jobs/{job_id}/retry")
        made.append(retried.json()["id"])
        assert made[-1] == redriven_id(world.runtime.settings.signing_key, job_id, incarnation)
        ids.add(source.received[-1].headers["webhook-id"])
        await client.delete(f"/api/jobs/{job_id}")
    assert len(ids) == 2 and made[0] != made[1]


async def test_the_jobs_of_a_batch_and_of_its_retry_have_its_incarnation(
    world: World, client: httpx.AsyncClient
) -> None:
    body = {"user_id": "ada", "model": "acme/video", "jobs": [{"input": {}}] * 2}
    seen = []
    for _ in range(2):
        batch = (await client.post("/api/batches", json=body)).json()["id"]
        incarnation = await world.incarnation_of(f"{batch}_0")
        assert incarnation and await world.incarnation_of(f"{batch}_1") == incarnation
        for number in range(2):
            named: Any = {"code": "invalid_input", "detail": "", "retryable": False, "incarnation": incarnation}
            await world.runtime.queue.fail(f"{batch}_{number}", 1, "", **named)
        await client.post(f"/api/batches/{batch}/retry")
        assert await world.incarnation_of(f"{batch}_0r1") == incarnation
        for number in range(2):
            await world.runtime.queue.fail(f"{batch}_{number}r1", 1, "", **named)
        assert (await client.delete("/api/users?user_id=ada")).json()["jobs"] == 4
        seen.append(incarnation)
    assert len(set(seen)) == 2


async def test_a_batch_with_the_id_of_an_earlier_one_has_nothing_of_it(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    """The earlier batch has expired; its jobs, which had files or events, are kept for longer."""
    async with make_world(any_store, clock) as world:
        queue, keys = world.runtime.queue, world.runtime.queue.keys
        request = BatchRequest(user_id="ada", model="acme/video", jobs=[BatchJob(input={"prompt": "x"})])
        seen = []
        for _ in range(2):
            batch = (await world.runtime.batches.create("app", request, "a key", Budget(50)))["id"]
            job_id = f"{batch}_0"
            for name in (job_id, f"{job_id}r1"):
                record = await world.runtime.records.read(name)
                assert (record.status, record.output, record.attempts) == ("processing", None, 1)
                assert await world.raw("TTL", keys.job(name)) == -1
                said: Any = {"code": "timeout", "detail": "", "retryable": False}
                own = await world.incarnation_of(name)
                await queue.fail(name, 1, "", incarnation=own, **said)
                if name == job_id:
                    await world.runtime.batches.retry("app", batch, Budget(50))
            seen.append(own)
            await world.raw("DEL", keys.batch(batch))
        assert len(set(seen)) == 2
