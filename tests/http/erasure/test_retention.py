"""Retention deletes old files from the storage and keeps the others."""

import asyncio
import secrets
from pathlib import Path

import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock
from shared.storage import layout
from shared.storage.bucket import Bucket, StorageError
from shared.storage.retention import Retention
from tests.buckets import everything, file_settings, memory_settings, pieces
from tests.http.calls import problem
from tests.http.erasure.jobs import DAY, document, kept, stored
from tests.receiver import Receiver
from tests.world import AUTH, http_client, make_world


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
    assert await retention.sweep(Budget(20)) == 0, "a job submitted with it just before midnight may still run"
    clock.advance(2)
    assert await retention.sweep(Budget(20)) == 1
