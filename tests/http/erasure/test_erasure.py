"""An erased user is gone from store and storage, and nothing else is."""

import asyncio
import secrets
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock
from shared.jobqueue.replies import Trimmed
from shared.jobs import erasure
from shared.providers.base import Prediction
from shared.storage import layout
from shared.storage.bucket import Bucket, StorageError
from tests.buckets import pieces
from tests.http.calls import problem
from tests.http.erasure.jobs import DAY, FILM, counts, document, erase, kept, stored
from tests.receiver import Receiver
from tests.world import AUTH, OTHER_AUTH, World, http_client, make_world


async def test_an_erasure_finds_every_job_that_still_exists(any_store: RunningServer | None, source: Receiver) -> None:
    """Even with a short TASK_TTL a job with files is kept for a week after its end, plus its time in the queue."""
    changes: dict[str, Any] = {"storage_url": f"memory://{secrets.token_hex(8)}", "task_ttl": DAY, "queue_ttl": 3 * DAY}
    async with (
        make_world(any_store, ManualClock(), allow_loopback=True, **changes) as world, http_client(**AUTH) as client,
    ):  # fmt: skip
        job_id = await world.enqueue(start=True)
        world.manual.advance(3 * DAY)
        await world.runtime.queue.record(job_id, 1, "p")
        await world.runtime.reconciler.apply(job_id, 1, "replicate", Prediction("p", "completed", source.url("/a")))
        await world.follow_up()
        world.manual.advance(7 * DAY - 1)
        assert await world.runtime.history.trim() == Trimmed(0, 0)
        assert (await erase(client))["jobs"] == 1
        problem(await client.get(f"/api/status/{job_id}"), 404, "job_not_found")
        world.manual.advance(2 * DAY)
        assert await world.runtime.history.trim() == Trimmed(0, 0), "the erasure leaves nothing"


async def test_a_deployment_erases_nothing_of_another_in_its_bucket(source: Receiver) -> None:
    shared: dict[str, Any] = {"storage_url": f"memory://{secrets.token_hex(8)}", "allow_loopback": True}
    async with make_world(None, ManualClock(), queue_prefix="production", **shared) as production:
        await stored(production, source.url("/a"))
        ours = await kept(production)
        async with make_world(None, ManualClock(), queue_prefix="preview", **shared) as preview:
            assert (await preview.runtime.erasure.erase_user("app", "ada", Budget(20)))["files"] == 0
        assert await kept(production) == ours != []


async def test_an_erasure_keeps_the_uploads_that_a_live_job_may_need(world: World, client: httpx.AsyncClient) -> None:
    now = world.clock.now()
    old, young = (layout.upload_key(moment, "app", "ada", "png") for moment in (now - 4 * DAY * 1000, now))
    for key in (old, young):
        await world.runtime.bucket.save(key, pieces(b"x"), "image/png")
    job_id = await world.enqueue()
    assert counts(await erase(client)) == (0, 1, 1) and await kept(world) == [young]
    await world.runtime.cancellation.cancel("app", job_id, Budget(20))
    assert counts(await erase(client)) == (1, 1, 0) and await kept(world) == []


async def uploaded(world: World, user: str = "ada", owner: str = "app") -> str:
    key = layout.upload_key(world.clock.now(), owner, user, "png")
    await world.runtime.bucket.save(key, pieces(b"x"), "image/png")
    return key


async def test_a_user_is_erased_with_jobs_batches_files_and_uploads(
    world: World, client: httpx.AsyncClient, source: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "PAGE", 2)
    keys = world.runtime.queue.keys
    for day in range(3):
        await stored(world, source.url(f"/{day}"), hook_url=source.url("/hook"))
        await uploaded(world)
        world.manual.advance(DAY)
    dead = await world.enqueue(start=True)
    await world.runtime.queue.fail(dead, 1, "", code="invalid_input", detail="", retryable=False)
    body = {"user_id": "ada", "model": "acme/video", "jobs": [{"input": {}}] * 3, "hook_url": source.url("/hook")}
    batch = (await client.post("/api/batches", json=body)).json()["id"]
    problem(await client.delete(f"/api/jobs/{batch}_0"), 409, "belongs_to_batch")
    world.follow_ups()
    await world.runtime.batch_queue.cancel(batch, "app")
    for number in range(3):
        job_id, prediction = f"{batch}_{number}", f"p{number + 1}"
        own = await world.incarnation_of(job_id)
        await world.runtime.queue.finish(job_id, 1, prediction, "canceled", {}, incarnation=own)
    others = [await stored(world, source.url("/x"), "bob"), await stored(world, source.url("/y"), "ada2")]
    foreign = await uploaded(world, "ada", "other")
    before = {key for key in await kept(world) if any(f"/{job}/" in key for job in others)} | {foreign}
    assert counts(await erase(client, "ada", headers=OTHER_AUTH)) == (0, 1, 0)
    assert counts(await erase(client)) == (7, 6, 0)
    assert set(await kept(world)) == before - {foreign}
    assert counts(await erase(client)) == (0, 0, 0)
    problem(await client.get(f"/api/batches/{batch}"), 404, "batch_not_found")
    assert (await client.get("/api/jobs", params={"user_id": "ada"})).json()["jobs"] == []
    for job_id in others:
        assert (await document(world, client, job_id))["files"][0]["state"] == "stored"
    if world.server is not None:
        left = await world.raw("KEYS", "*")
        assert not any(batch in key or key.startswith(keys.job("job_0")) for key in left), left
        for key in (keys.index, keys.dead, keys.undelivered, keys.outbox):
            assert not any(":ada|" in row for row in await world.raw("ZRANGE", key, "0", "-1")), key


async def test_live_jobs_and_those_of_live_batches_stay_with_their_files(
    world: World, client: httpx.AsyncClient, source: Receiver
) -> None:
    live = await world.enqueue(start=True)
    body = {"user_id": "ada", "model": "acme/video", "jobs": [{"input": {}}] * 2}
    batch = (await client.post("/api/batches", json=body)).json()["id"]
    own, prediction = await world.incarnation_of(f"{batch}_0"), Prediction("p1", "completed", output=source.url("/a"))
    await world.runtime.reconciler.apply(f"{batch}_0", 1, "replicate", prediction, incarnation=own)
    await world.follow_up()
    gone = await stored(world, source.url("/b"))
    assert counts(await erase(client)) == (1, 1, 3)
    problem(await client.get(f"/api/status/{gone}"), 404, "job_not_found")
    shown = await document(world, client, f"{batch}_0")
    assert (await client.get(shown["files"][0]["url"])).content == FILM
    assert (await document(world, client, live))["status"] == "processing"
    await client.post(f"/api/jobs/{live}/cancel")
    await world.runtime.queue.finish(live, 1, "p9", "canceled", {})
    await world.runtime.queue.finish(f"{batch}_1", 1, "p2", "completed", {"output": "1"}, incarnation=own)
    assert counts(await erase(client))[1:] == (1, 0) and await kept(world) == []


async def test_an_erasure_without_time_says_so_and_goes_on(
    world: World, client: httpx.AsyncClient, source: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        await stored(world, source.url(f"/{number}"))
    out_of_time = await world.runtime.erasure.erase_user("app", "ada", Budget(0))
    assert counts(out_of_time) == (0, 0, 0) and not out_of_time["is_complete"]

    async def hangs(*_: object) -> None:
        await asyncio.sleep(60)

    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "delete", hangs)
        report = await world.runtime.erasure.erase_user("app", "ada", Budget(15.2))
        assert counts(report) == (5, 0, 0) and not report["is_complete"]
    assert counts(await erase(client)) == (0, 5, 0)


async def test_an_erasure_without_storage_answer_is_503_and_can_be_repeated(
    world: World, client: httpx.AsyncClient, source: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stored(world, source.url("/a"))

    async def fails(*_: object) -> None:
        raise StorageError("delete")

    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "delete", fails)
        problem(await client.delete("/api/users", params={"user_id": "ada"}), 503, "storage_unavailable")
    assert counts(await erase(client)) == (0, 1, 0)


NAMES = [".", "..", "a/b", "../x y", "%2F", "%61", "%", "a?b=c&d", "a#b", "a+b", "a b", "é:|@,", "0" * 128]


@pytest.mark.parametrize("user", NAMES)
async def test_a_user_of_any_name_is_erased_and_no_other(valkey_world: World, user: str) -> None:
    """With settings of the default: without a storage, an erasure is complete at once."""
    queue = valkey_world.runtime.queue
    others = [await valkey_world.enqueue(other) for other in NAMES if other != user]
    own = await valkey_world.enqueue(user)
    for job_id in (own, *others):
        await queue.cancel(job_id, "app")
    async with http_client(**AUTH) as client:
        report = await erase(client, user)
        assert counts(report) == (1, 0, 0) and report["is_complete"] and report["repeat_at"] is None
        problem(await client.get(f"/api/status/{own}"), 404, "job_not_found")
        assert [(await client.get(f"/api/status/{job_id}")).status_code for job_id in others] == [200] * len(others)


@pytest.mark.parametrize("user", ["", "a\tb", "u" * 129, "\u202e", "\0"])
async def test_a_user_that_no_job_can_have_is_refused(valkey_world: World, user: str) -> None:
    async with http_client(**AUTH) as client:
        answer = await client.delete("/api/users", params={"user_id": user})
        assert problem(answer, 422, "invalid_request")["field"] == "user_id"


@pytest.mark.parametrize("query", ["", "user_id=ada&user_id=bob", "user_id=ada&cancel=yes", "user_id=ada&x=1"])
async def test_an_erasure_that_is_not_clear_is_refused(valkey_world: World, query: str) -> None:
    async with http_client(**AUTH) as client:
        problem(await client.delete(f"/api/users?{query}"), 422, "invalid_request")
        assert (await client.delete("/api/users/ada")).status_code == 404, "a path cannot carry every name"
        stranger = {"Authorization": "Bearer x"}
        problem(await client.delete("/api/users?user_id=ada", headers=stranger), 401, "unauthenticated")


ROUTES = st.sampled_from([
    ("POST", "/api/jobs/job_0/redeliver"), ("POST", "/api/batches/job_0/redeliver"), ("POST", "/api/uploads"),
    ("GET", "/api/jobs/job_0/result"), ("GET", "/api/jobs/job_0/deliveries"), ("GET", "/api/batches/x/deliveries"),
    ("GET", "/api/operate/undelivered"), ("DELETE", "/api/users"), ("GET", "/api/hooks"), ("DELETE", "/api/jobs/x"),
])  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(route=ROUTES, content_=st.binary(max_size=100), name=st.sampled_from(["file", "before", "x"]), value=st.text(),
       is_json=st.booleans())  # fmt: skip
async def test_no_body_or_query_makes_a_route_fail(
    valkey_world: World, route: tuple[str, str], content_: bytes, name: str, value: str, is_json: bool
) -> None:
    headers = AUTH | ({"Content-Type": "application/json"} if is_json else {})
    if "operate" in route[1]:
        headers["Authorization"] = "Bearer operator-token-in-tests"
    async with http_client() as client:
        query = {name: value.encode("utf-8", "replace").decode()}
        answer = await client.request(*route, content=content_, params=query, headers=headers)
    assert answer.status_code < 500
