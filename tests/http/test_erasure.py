"""Results over HTTP; what is deleted is gone from store and storage, and nothing else is; what retention drops."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.rest_server.running import RunningServer
from local.simulator.media import video
from shared.budget import Budget
from shared.clock import ManualClock
from shared.jobqueue import Outbox
from shared.jobs import erasure
from shared.providers.base import Prediction
from shared.storage import layout
from shared.storage.bucket import Bucket, StorageError
from shared.storage.retention import Retention
from tests.buckets import S3, everything, file_settings, memory_settings, pieces, s3_server, s3_settings
from tests.http.problem import problem
from tests.receiver import Receiver, receiver
from tests.world import AUTH, OTHER_AUTH, World, http_client, make_world

DAY = 86_400
FILM = video("a paper boat")


@pytest.fixture
async def source() -> AsyncIterator[Receiver]:
    """Where the provider's files lie, and where owners are told."""
    async with receiver() as made:
        made.answers = lambda _: (200, {"Content-Type": "video/mp4"}, FILM)
        yield made


@pytest.fixture
async def world(any_store: RunningServer | None) -> AsyncIterator[World]:
    location = f"memory://{secrets.token_hex(8)}"
    async with make_world(
        any_store, ManualClock(), allow_loopback=True, storage_url=location, thumbnails=False, max_user_queued=100
    ) as made:
        yield made


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**AUTH) as made:
        yield made


async def ended(world: World, output: Any, user: str = "ada", **changes: Any) -> str:
    """A job whose run has brought this output; nothing has been done about its files yet."""
    job_id = await world.enqueue(user, start=True, **changes)
    await world.runtime.queue.record(job_id, 1, f"p_{job_id}")
    await world.runtime.reconciler.apply(job_id, 1, "replicate", Prediction(f"p_{job_id}", "completed", output))
    return job_id


async def stored(world: World, output: Any, user: str = "ada", **changes: Any) -> str:
    job_id = await ended(world, output, user, **changes)
    await world.runtime.outbox_worker.drain(Budget(50))
    return job_id


async def document(world: World, client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    world.runtime.statuses.forget(job_id)
    answer = await client.get(f"/api/status/{job_id}")
    assert answer.status_code == 200
    shown: dict[str, Any] = answer.json()
    return shown


async def kept(world: World) -> list[str]:
    return await everything(world.runtime.bucket)


async def test_a_result_leads_to_our_own_copy(world: World, client: httpx.AsyncClient, source: Receiver) -> None:
    job_id = await stored(world, [source.url("/a"), {"more": source.url("/b")}])
    shown = await document(world, client, job_id)
    assert [file["state"] for file in shown["files"]] == ["stored"] * 2
    answer = await client.get(f"/api/jobs/{job_id}/result")
    assert answer.status_code == 303 and answer.headers["location"] == shown["files"][0]["url"] == shown["output"][0]
    assert answer.headers["location"].startswith("/api/files/results/")
    assert (await client.get(answer.headers["location"])).content == FILM
    second = await client.get(f"/api/jobs/{job_id}/result?file=1")
    assert second.headers["location"] == shown["files"][1]["url"] == shown["output"][1]["more"]
    problem(await client.get(f"/api/jobs/{job_id}/result?file=2"), 404, "no_such_file")
    for bad in ("-1", "x", "", "1.0", "9" * 9, "\u0661"):
        answer = await client.get(f"/api/jobs/{job_id}/result", params={"file": bad})
        assert problem(answer, 422, "invalid_request")["field"] == "file"
    problem(await client.get(f"/api/jobs/{job_id}/result?file=0", headers=OTHER_AUTH), 404, "job_not_found")


async def test_only_our_own_copies_may_be_paths(world: World, client: httpx.AsyncClient, source: Receiver) -> None:
    """What a provider calls a path of ours is no file of the job's."""
    job_id = await stored(world, ["/api/files/results/x", "//example.org/x", source.url("/a")])
    location = (await client.get(f"/api/jobs/{job_id}/result")).headers["location"]
    assert location == (await document(world, client, job_id))["files"][0]["url"]
    other = await stored(world, "/api/files/results/x")
    answer = await client.get(f"/api/jobs/{other}/result")
    assert (answer.status_code, answer.json()) == (200, {"output": "/api/files/results/x"})


async def test_a_file_is_deleted_when_its_retention_is_over(any_store: RunningServer | None, source: Receiver) -> None:
    location = f"memory://{secrets.token_hex(8)}"
    settings_ = {"allow_loopback": True, "storage_url": location, "storage_retention": DAY}
    async with make_world(any_store, ManualClock(), **settings_) as world, http_client(**AUTH) as client:
        job_id = await stored(world, {"video": source.url("/a"), "seed": 7})
        (file,) = (await document(world, client, job_id))["files"]
        assert file["state"] == "stored"
        world.manual.advance(DAY - 0.001)
        assert (await document(world, client, job_id))["files"][0]["state"] == "stored"
        world.manual.advance(0.001)
        shown = await document(world, client, job_id)
        (gone,) = shown["files"]
        assert (gone["state"], gone["url"], gone["thumbnail_url"]) == ("deleted", None, None)
        assert gone["sha256"] == file["sha256"] and shown["output"] == {"video": None, "seed": 7}
        assert shown["status"] == "completed"
        problem(await client.get(f"/api/jobs/{job_id}/result?file=0"), 404, "no_such_file")


async def test_a_sweep_drops_the_files_that_are_too_old(any_store: RunningServer | None, source: Receiver) -> None:
    location = f"memory://{secrets.token_hex(8)}"
    settings_ = {"allow_loopback": True, "storage_url": location, "storage_retention": 2 * DAY, "thumbnails": False}
    async with make_world(any_store, ManualClock(), **settings_) as world:
        await stored(world, source.url("/a"))
        world.manual.advance(DAY)
        young = await stored(world, source.url("/a"))
        for _ in range(16):  # minutes; one of them sweeps
            await world.runtime.tick.run()
            world.manual.advance(60)
        assert len(await kept(world)) == 2
        world.manual.advance(2 * DAY)
        for _ in range(16):
            await world.runtime.tick.run()
            world.manual.advance(60)
        (key,) = await kept(world)
        assert f"/{young}/" in key


async def test_a_storage_that_fails_does_not_fail_the_tick(
    any_store: RunningServer | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> list[str]:
        raise StorageError("folders")

    monkeypatch.setattr(Bucket, "folders", fails)
    async with make_world(any_store, ManualClock(), storage_url="memory://x", storage_retention=1) as world:
        for _ in range(16):
            assert (await world.runtime.tick.run()).rounds == 1
            world.manual.advance(60)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture(params=["file", "memory", "s3"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Bucket:
    if request.param == "file":
        return Bucket(file_settings(tmp_path, storage_retention=DAY))
    if request.param == "memory":
        return Bucket(memory_settings(storage_retention=DAY))
    server = request.getfixturevalue("s3")
    return Bucket(s3_settings(server, server.bucket(), storage_retention=DAY))


async def test_retention_drops_whole_days_and_knows_its_own(bucket: Bucket) -> None:
    clock = ManualClock()
    today, old = layout.day_of(clock.now()), layout.day_of(clock.now() - 3 * DAY * 1000)
    young = [f"results/{today}/u/j/0.mp4", f"uploads/{today}/u/x.png", f"results/else/{old}/x", f"other/{old}/x", "x"]
    gone = [f"results/{old}/u{n % 3}/j{n}/0.mp4" for n in range(30)] + [f"uploads/{old}/u/x.png"]
    for key in [*young, *gone]:
        await bucket.save(key, pieces(b"x"), "video/mp4")
    retention = Retention(bucket, bucket.settings, clock)
    assert await retention.sweep(Budget(0)) == 0
    assert await retention.sweep(Budget(20)) == len(gone)
    assert await everything(bucket) == sorted(young)
    assert await retention.sweep(Budget(20)) == 0


@pytest.mark.parametrize("kind", ["file", "memory"])
async def test_retention_drops_more_than_a_page(kind: str, tmp_path: Path) -> None:
    changes = {"storage_retention": DAY}
    bucket = Bucket(file_settings(tmp_path, **changes) if kind == "file" else memory_settings(**changes))
    clock = ManualClock()
    old = layout.day_of(clock.now() - 3 * DAY * 1000)
    for n in range(0, 2400, 60):
        await asyncio.gather(*(bucket.save(f"results/{old}/u{n}/{m}.x", pieces(b"x"), "a/b") for m in range(60)))
    assert await Retention(bucket, bucket.settings, clock).sweep(Budget(60)) == 2400
    assert await everything(bucket) == []


async def test_a_deleted_job_takes_its_files_with_it(world: World, client: httpx.AsyncClient, source: Receiver) -> None:
    other = await stored(world, source.url("/b"))
    job_id = await stored(world, [source.url("/a"), source.url("/b")])
    assert len(await kept(world)) == 3
    problem(await client.delete(f"/api/jobs/{job_id}", headers=OTHER_AUTH), 404, "job_not_found")
    assert len(await kept(world)) == 3
    assert (await client.delete(f"/api/jobs/{job_id}")).status_code == 204
    assert [key for key in await kept(world) if f"/{other}/" not in key] == [] and len(await kept(world)) == 1
    problem(await client.get(f"/api/status/{job_id}"), 404, "job_not_found")
    problem(await client.delete(f"/api/jobs/{job_id}"), 404, "job_not_found")


async def test_a_deletion_that_fails_half_way_leaves_a_job_that_can_be_deleted_again(
    world: World, client: httpx.AsyncClient, source: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await stored(world, [source.url("/a"), source.url("/b")])
    delete = Bucket.delete

    async def half(self: Bucket, keys: list[str]) -> None:
        await delete(self, keys[:1])
        raise StorageError("delete")

    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "delete", half)
        problem(await client.delete(f"/api/jobs/{job_id}"), 503, "storage_unavailable")
    assert len(await kept(world)) == 1
    assert [file["state"] for file in (await document(world, client, job_id))["files"]] == ["stored"] * 2
    assert (await client.delete(f"/api/jobs/{job_id}")).status_code == 204 and await kept(world) == []


async def test_an_erasure_finds_every_job_that_still_exists(any_store: RunningServer | None, source: Receiver) -> None:
    """However short TASK_TTL is, a job with files is known for a week after its end, and it may have waited before."""
    changes: dict[str, Any] = {"storage_url": f"memory://{secrets.token_hex(8)}", "task_ttl": DAY, "queue_ttl": 3 * DAY}
    async with (
        make_world(any_store, ManualClock(), allow_loopback=True, **changes) as world, http_client(**AUTH) as client,
    ):  # fmt: skip
        job_id = await world.enqueue(start=True)
        world.manual.advance(3 * DAY)
        await world.runtime.queue.record(job_id, 1, "p")
        await world.runtime.reconciler.apply(job_id, 1, "replicate", Prediction("p", "completed", source.url("/a")))
        await world.runtime.outbox_worker.drain(Budget(50))
        world.manual.advance(7 * DAY - 1)
        assert await world.runtime.history.trim() == 0
        erased = (await client.delete("/api/users/ada")).json()
        assert (erased["jobs"], erased["is_complete"]) == (1, True)
        problem(await client.get(f"/api/status/{job_id}"), 404, "job_not_found")
        world.manual.advance(2 * DAY)
        assert await world.runtime.history.trim() == 0, "the erasure has left nothing"


async def test_a_deployment_erases_nothing_of_another_in_its_bucket(source: Receiver) -> None:
    shared: dict[str, Any] = {"storage_url": f"memory://{secrets.token_hex(8)}", "allow_loopback": True}
    async with make_world(None, ManualClock(), queue_prefix="production", **shared) as production:
        await stored(production, source.url("/a"))
        ours = await kept(production)
        async with make_world(None, ManualClock(), queue_prefix="preview", **shared) as preview:
            assert (await preview.runtime.erasure.erase_user("app", "ada", Budget(20)))["files"] == 0
        assert await kept(production) == ours != []


async def test_an_upload_outlives_the_retention_until_no_job_can_wait_for_it(bucket: Bucket) -> None:
    clock = ManualClock()
    settings_ = bucket.settings.model_copy(update={"storage_retention": 60})
    assert (settings_.queue_ttl, settings_.cancel_after) == (DAY, 1800)
    retention = Retention(bucket, settings_, clock)
    for root in ("results", "uploads"):
        await bucket.save(f"{root}/{layout.day_of(clock.now())}/u/j/0.png", pieces(b"x"), "image/png")
    clock.advance(DAY - clock.now() / 1000 % DAY + 61)
    assert await retention.sweep(Budget(20)) == 1
    clock.advance(DAY + 1800 - 62)
    assert await retention.sweep(Budget(20)) == 0, "a job that was given it just before midnight may still run"
    clock.advance(2)
    assert await retention.sweep(Budget(20)) == 1


async def test_an_erasure_keeps_the_uploads_that_a_live_job_may_need(world: World, client: httpx.AsyncClient) -> None:
    now = world.clock.now()
    old, young = (layout.upload_key(moment, "app", "ada", "png") for moment in (now - 4 * DAY * 1000, now))
    for key in (old, young):
        await world.runtime.bucket.save(key, pieces(b"x"), "image/png")
    job_id = await world.enqueue()
    answer = (await client.delete("/api/users/ada")).json()
    assert answer == {"jobs": 0, "files": 1, "live": 1, "is_complete": True} and await kept(world) == [young]
    await world.runtime.cancellation.cancel("app", job_id, Budget(20))
    answer = (await client.delete("/api/users/ada")).json()
    assert answer == {"jobs": 1, "files": 1, "live": 0, "is_complete": True} and await kept(world) == []


@pytest.mark.parametrize("verb", ["pages", "delete"])
async def test_while_the_storage_does_not_answer_the_job_stays(
    world: World, client: httpx.AsyncClient, source: Receiver, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    job_id = await stored(world, source.url("/a"))
    without_files = await stored(world, "text")

    async def fails(*_: object) -> None:
        raise StorageError("delete")

    async def breaks(*_: object) -> AsyncIterator[list[str]]:
        raise StorageError("list")
        yield []

    with monkeypatch.context() as patched:
        patched.setattr(Bucket, verb, fails if verb == "delete" else breaks)
        answer = await client.delete(f"/api/jobs/{job_id}")
        assert problem(answer, 503, "storage_unavailable")["retryable"] is True and answer.headers["retry-after"]
        assert (await client.delete(f"/api/jobs/{without_files}")).status_code == 204
    shown = await document(world, client, job_id)
    assert shown["files"][0]["state"] == "stored" and len(await kept(world)) == 1
    assert (await client.delete(f"/api/jobs/{job_id}")).status_code == 204
    assert await kept(world) == []


@pytest.mark.parametrize("noted", [1, 2])
async def test_a_job_that_is_still_stored_can_be_deleted(
    world: World, client: httpx.AsyncClient, source: Receiver, noted: int
) -> None:
    """A copy is finished after the job was deleted: its note is refused, and it removes what it made."""
    job_id = await ended(world, [source.url("/a"), source.url("/b")])
    keep = Outbox.keep

    async def late(self: Outbox, *given: Any, **named: Any) -> bool:
        notes.append(await kept(world))
        if len(notes) == noted:
            await world.runtime.erasure.delete_job("app", job_id, Budget(50))
        return await keep(self, *given, **named)

    notes: list[list[str]] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Outbox, "keep", late)
        await world.runtime.outbox_worker.drain(Budget(50))
    assert await kept(world) == [] and [len(keys) for keys in notes] == [1, 2][:noted]
    assert len(source.received) == noted, "nothing more is fetched once a note was refused"
    problem(await client.get(f"/api/status/{job_id}"), 404, "job_not_found")
    assert await world.raw("ZCARD", world.runtime.queue.keys.outbox) == 0


async def test_a_copy_that_is_noted_while_its_job_is_being_deleted_is_removed(
    world: World, client: httpx.AsyncClient, source: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the listing of the files and the end of the job: the copier's turn is over by then."""
    job_id = await ended(world, source.url("/a"))
    pages = Bucket.pages

    async def listed(self: Bucket, prefix: str) -> AsyncIterator[list[str]]:
        async for page in pages(self, prefix):
            yield page
        if "/job_" in prefix:
            await world.runtime.storing.store(row, Budget(50))
            await world.runtime.storing._store(row, fields, Budget(50))

    (row,), _ = world.runtime.outbox.follow_ups.take()
    fields = (await world.runtime.records.read(job_id)).fields
    monkeypatch.setattr(Bucket, "pages", listed)
    assert (await client.delete(f"/api/jobs/{job_id}")).status_code == 204
    assert source.received != [] and await kept(world) == []


async def test_a_deletion_that_the_storage_refused_leaves_the_copy_to_the_next_turn(
    world: World, client: httpx.AsyncClient, source: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await ended(world, source.url("/a"))
    (row,), _ = world.runtime.outbox.follow_ups.take()

    async def breaks(*_: object) -> AsyncIterator[list[str]]:
        raise StorageError("list")
        yield []

    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "pages", breaks)
        problem(await client.delete(f"/api/jobs/{job_id}"), 503, "storage_unavailable")
    await world.runtime.storing.store(row, Budget(50))
    assert await kept(world) == [], "its turn was over before it began"
    world.manual.advance(world.runtime.settings.lease + 1)
    await world.runtime.outbox_worker.run(Budget(50))
    assert (await document(world, client, job_id))["files"][0]["state"] == "stored"


async def erase(client: httpx.AsyncClient, user: str = "ada", **headers: Any) -> dict[str, Any]:
    answer = await client.delete(f"/api/users/{user}", **headers)
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    report: dict[str, Any] = answer.json()
    return report


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
    world.runtime.outbox.follow_ups.take()
    await world.runtime.batch_queue.cancel(batch, "app")
    for number in range(3):
        await world.runtime.queue.finish(f"{batch}_{number}", 1, f"p{number + 1}", "canceled", {})
    others = [await stored(world, source.url("/x"), "bob"), await stored(world, source.url("/y"), "ada2")]
    foreign = await uploaded(world, "ada", "other")
    before = {key for key in await kept(world) if any(f"/{job}/" in key for job in others)} | {foreign}
    assert await erase(client, "ada", headers=OTHER_AUTH) == {"jobs": 0, "files": 1, "live": 0, "is_complete": True}
    assert await erase(client) == {"jobs": 7, "files": 6, "live": 0, "is_complete": True}
    assert set(await kept(world)) == before - {foreign}
    assert await erase(client) == {"jobs": 0, "files": 0, "live": 0, "is_complete": True}
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
    await world.runtime.reconciler.apply(
        f"{batch}_0", 1, "replicate", Prediction("p1", "completed", output=source.url("/a"))
    )
    await world.runtime.outbox_worker.drain(Budget(50))
    gone = await stored(world, source.url("/b"))
    assert await erase(client) == {"jobs": 1, "files": 1, "live": 3, "is_complete": True}
    problem(await client.get(f"/api/status/{gone}"), 404, "job_not_found")
    shown = await document(world, client, f"{batch}_0")
    assert (await client.get(shown["files"][0]["url"])).content == FILM
    assert (await document(world, client, live))["status"] == "processing"
    await client.post(f"/api/jobs/{live}/cancel")
    await world.runtime.queue.finish(live, 1, "", "canceled", {})
    await world.runtime.queue.finish(f"{batch}_1", 1, "p2", "completed", {"output": "1"})
    report = await erase(client)
    assert report["files"] == 1 and await kept(world) == [] and report["is_complete"]


async def test_an_erasure_without_time_says_so_and_goes_on(
    world: World, client: httpx.AsyncClient, source: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        await stored(world, source.url(f"/{number}"))
    out_of_time = await world.runtime.erasure.erase_user("app", "ada", Budget(0))
    assert out_of_time == {"jobs": 0, "files": 0, "live": 0, "is_complete": False}

    async def hangs(*_: object) -> None:
        await asyncio.sleep(60)

    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "delete", hangs)
        report = await world.runtime.erasure.erase_user("app", "ada", Budget(10.2))
        assert report == {"jobs": 5, "files": 0, "live": 0, "is_complete": False}
    assert await erase(client) == {"jobs": 0, "files": 5, "live": 0, "is_complete": True}


async def test_an_erasure_without_storage_answer_is_503_and_can_be_repeated(
    world: World, client: httpx.AsyncClient, source: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stored(world, source.url("/a"))

    async def fails(*_: object) -> None:
        raise StorageError("delete")

    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "delete", fails)
        problem(await client.delete("/api/users/ada"), 503, "storage_unavailable")
    assert await erase(client) == {"jobs": 0, "files": 1, "live": 0, "is_complete": True}


@pytest.mark.parametrize("user", ["a/b", "../x y", "é:|@,", "%", "0" * 128])
async def test_a_user_of_any_name_can_be_erased(valkey_world: World, user: str) -> None:
    await valkey_world.runtime.queue.cancel(await valkey_world.enqueue(user), "app")
    async with http_client(**AUTH) as client:
        path = "".join(f"%{byte:02x}" for byte in user.encode())
        assert await erase(client, path) == {"jobs": 1, "files": 0, "live": 0, "is_complete": True}


@pytest.mark.parametrize("user", ["", "%20", "ada%20", "a%09b", "u" * 129, "%e2%80%ae", "%00"])
async def test_a_user_that_no_job_can_have_is_refused(valkey_world: World, user: str) -> None:
    async with http_client(**AUTH) as client:
        assert problem(await client.delete(f"/api/users/{user}"), 422, "invalid_request")["field"] == "user_id"
        problem(await client.delete("/api/users/ada", headers={"Authorization": "Bearer x"}), 401, "unauthenticated")


ROUTES = st.sampled_from([
    ("POST", "/api/jobs/job_0/redeliver"), ("POST", "/api/batches/job_0/redeliver"), ("POST", "/api/uploads"),
    ("GET", "/api/jobs/job_0/result"), ("GET", "/api/jobs/job_0/deliveries"), ("GET", "/api/batches/x/deliveries"),
    ("GET", "/api/operate/undelivered"), ("DELETE", "/api/users/%25"), ("GET", "/api/hooks"), ("DELETE", "/api/jobs/x"),
])  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(route=ROUTES, content_=st.binary(max_size=100), name=st.sampled_from(["file", "before", "x"]), value=st.text(),
       is_json=st.booleans())  # fmt: skip
async def test_no_body_or_query_whatever_makes_a_route_fail(
    valkey_world: World, route: tuple[str, str], content_: bytes, name: str, value: str, is_json: bool
) -> None:
    headers = AUTH | ({"Content-Type": "application/json"} if is_json else {})
    if "operate" in route[1]:
        headers["Authorization"] = "Bearer operator-token-in-tests"
    async with http_client() as client:
        query = {name: value.encode("utf-8", "replace").decode()}
        answer = await client.request(*route, content=content_, params=query, headers=headers)
    assert answer.status_code < 500
