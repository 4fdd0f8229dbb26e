"""Results are kept: what a job shows while its files are copied and after, and what happens when that fails."""

import asyncio
import hashlib
import json
import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from local.rest_server.running import RunningServer
from local.simulator.media import video
from shared.budget import Budget
from shared.clock import ManualClock
from shared.jobqueue import FollowUp, Outbox
from shared.jobqueue.job import Job
from shared.media import examination
from shared.media.media import Media
from shared.providers.base import Prediction
from shared.storage.bucket import Bucket
from shared.storage.spool import spool_path
from tests.buckets import pieces
from tests.receiver import Answer, Received, Receiver, receiver
from tests.world import World, make_world

FILM = video("a paper boat")
HOURS = 3600


@pytest.fixture
async def source() -> AsyncIterator[Receiver]:
    """Where the provider's files lie."""
    async with receiver() as made:
        made.answers = lambda _: (200, {"Content-Type": "video/mp4"}, FILM)
        yield made


@pytest.fixture
async def world(any_store: RunningServer | None) -> AsyncIterator[World]:
    location = f"memory://{secrets.token_hex(8)}"  # nobody else's files
    async with make_world(
        any_store, ManualClock(), allow_loopback=True, storage_url=location, hook_timeout=1.0
    ) as made:
        yield made


async def ended(world: World, output: Any, **changes: Any) -> str:
    """A job whose run has brought this output; nothing has been done about its files yet."""
    job_id = await world.enqueue(start=True, **changes)
    await world.runtime.queue.record(job_id, 1, f"p_{job_id}")
    await world.runtime.reconciler.apply(job_id, 1, "replicate", Prediction(f"p_{job_id}", "completed", output))
    return job_id


async def document(world: World, job_id: str) -> dict[str, Any]:
    world.runtime.statuses.forget(job_id)
    view = await world.runtime.statuses.view("app", job_id)
    shown: dict[str, Any] = json.loads(view.value.body)
    return shown


async def job_of(world: World, job_id: str) -> Job:
    return await world.runtime.records.read(job_id)


async def kept(world: World, job_id: str, number: int = 0) -> bytes:
    """What the storage has as this file of the job."""
    key = json.loads((await job_of(world, job_id)).fields["files"])[number]["key"]
    return b"".join([piece async for piece in world.runtime.bucket.read(key)])


async def all_keys(world: World) -> list[str]:
    return [key async for page in world.runtime.bucket.pages("") for key in page]


async def test_a_completed_job_is_usable_at_once_and_shows_our_copy_afterwards(world: World, source: Receiver) -> None:
    url = source.url("/film.mp4")
    job_id = await ended(world, [url])
    before = await document(world, job_id)
    assert (before["status"], before["stage"], before["output"]) == ("completed", "storing", [url])
    assert before["files"][0]["state"] == "pending" and before["files"][0]["url"] == url
    await world.runtime.outbox_worker.drain(Budget(50))
    after = await document(world, job_id)
    assert (after["status"], after["stage"]) == ("completed", "done")
    (file,) = after["files"]
    assert file["state"] == "stored" and file["url"] == after["output"][0] != url
    assert file["sha256"] == hashlib.sha256(FILM).hexdigest() and file["size"] == len(FILM)
    assert (file["content_type"], file["width"], file["height"]) == ("video/mp4", 320, 180)
    assert file["duration"] == pytest.approx(2, abs=0.2) and file["thumbnail_url"] and file["media_error"] is None
    assert await kept(world, job_id) == FILM
    assert await world.raw("ZCARD", world.runtime.queue.keys.outbox) == 0


async def test_the_owner_is_told_when_the_files_are_stored_and_not_before(world: World, source: Receiver) -> None:
    async with receiver() as owner:
        job_id = await ended(world, source.url("/film.mp4"), hook_url=owner.url())
        assert (await job_of(world, job_id)).is_storing and owner.received == []
        await world.runtime.outbox_worker.drain(Budget(50))
        event = json.loads(owner.received[0].body)
        assert event["type"] == "job.completed" and event["data"]["files"][0]["state"] == "stored"
        assert event["data"]["output"] == event["data"]["files"][0]["url"]


async def test_urls_anywhere_in_an_output_are_files_if_they_are_the_providers(world: World, source: Receiver) -> None:
    url = source.url("/film.mp4")
    output = {"video": url, "also": [url, "https://elsewhere.example/x.png"], "text": f"see {url}"}
    job_id = await ended(world, output)
    await world.runtime.outbox_worker.drain(Budget(50))
    shown = await document(world, job_id)
    assert len(shown["files"]) == 1 and len(source.received) == 1
    ours = shown["files"][0]["url"]
    assert shown["output"] == {"video": ours, "also": [ours, output["also"][1]], "text": output["text"]}


async def test_an_output_without_files_is_done_at_once(world: World) -> None:
    shown = await document(world, await ended(world, "just words"))
    assert (shown["stage"], shown["files"], shown["output"]) == ("done", [], "just words")


async def test_a_source_that_fails_is_asked_again_with_patience(world: World, source: Receiver) -> None:
    source.answers = lambda _: (503, {}, b"")
    job_id = await ended(world, source.url())
    await world.runtime.outbox_worker.drain(Budget(50))
    shown = await document(world, job_id)
    assert shown["stage"] == "storing" and shown["files"][0]["error"] == "source_unavailable"
    await world.runtime.tick.run()
    assert len(source.received) == 1, "not before its time"
    source.answers = lambda _: (200, {}, FILM)
    world.manual.advance(15)
    await world.runtime.tick.run()
    shown = await document(world, job_id)
    assert shown["stage"] == "done" and shown["files"][0]["error"] is None and await kept(world, job_id) == FILM


async def test_a_file_that_is_gone_ends_expired_and_the_owner_is_told(world: World, source: Receiver) -> None:
    source.answers = lambda _: (410, {}, b"")
    async with receiver() as owner:
        job_id = await ended(world, source.url(), hook_url=owner.url())
        for _ in range(4):
            await world.runtime.outbox_worker.drain(Budget(50))
            await world.runtime.outbox_worker.run(Budget(50))
            world.manual.advance(100)
        shown = await document(world, job_id)
        assert shown["status"] == "completed" and shown["files"][0]["state"] == "expired"
        assert shown["files"][0]["url"] == source.url() and len(source.received) == 3
        assert json.loads(owner.received[0].body)["data"]["files"][0]["state"] == "expired"


@pytest.mark.parametrize("status", [403, 404])
async def test_a_file_that_is_not_there_yet_is_asked_for_until_it_is_too_late(
    world: World, source: Receiver, status: int
) -> None:
    source.answers = lambda _: (status, {}, b"")
    late, early = await ended(world, source.url("/late")), await ended(world, source.url("/early"))
    world.runtime.outbox.follow_ups.take()
    for _ in range(7):
        world.manual.advance(310)
        await world.runtime.outbox_worker.run(Budget(50))
    assert len(source.on("/late")) == len(source.on("/early")) == 7
    (file,) = (await document(world, late))["files"]
    assert (file["state"], file["error"]) == ("pending", "source_gone")
    source.answers = lambda request: (200, {}, FILM) if request.path == "/early" else (status, {}, b"")
    world.manual.advance(310)  # 41:20 minutes after the end
    await world.runtime.outbox_worker.run(Budget(50))
    (file,) = (await document(world, early))["files"]
    assert file["state"] == "stored" and file["thumbnail_url"], "no try that ended keeps it from being looked into"
    world.manual.advance(310)
    await world.runtime.outbox_worker.run(Budget(50))
    (file,) = (await document(world, late))["files"]
    assert (file["state"], file["error"], file["url"]) == ("expired", "source_gone", source.url("/late"))


async def test_turns_are_not_tries(world: World, source: Receiver) -> None:
    """Claims whose answers were lost, or whose function had no time left, ask nobody."""
    source.answers = lambda _: (410, {}, b"")
    job_id = await ended(world, source.url())
    world.runtime.outbox.follow_ups.take()
    for turn in range(2, 8):
        world.manual.advance(130)
        ((row,), _) = await world.runtime.outbox.claim(1, 0, 1)
        assert row.turn == turn
    for tries in (1, 2, 3):
        assert (await document(world, job_id))["files"][0]["state"] == "pending"
        await world.runtime.storing.store(row, Budget(50))
        assert len(source.received) == tries
    assert (await document(world, job_id))["files"][0]["state"] == "expired"


async def test_a_killed_function_loses_the_work_at_one_file(world: World, source: Receiver) -> None:
    hanging = asyncio.Event()

    def answers(request: Received) -> Answer | None:
        if request.path == "/2" and not hanging.is_set():
            hanging.set()
            return None
        return 200, {}, FILM

    source.answers = answers
    job_id = await ended(world, [source.url(f"/{n}") for n in range(4)])
    storing = asyncio.create_task(world.runtime.outbox_worker.drain(Budget(50)))
    await hanging.wait()
    # What it had made of the third when it was killed.
    folder = json.loads((await job_of(world, job_id)).fields["files"])[0]["key"].rpartition("/")[0]
    await world.runtime.bucket.save(f"{folder}/2.mp4", pieces(FILM), "video/mp4")
    storing.cancel()
    await asyncio.gather(storing, return_exceptions=True)
    assert [file["state"] for file in (await document(world, job_id))["files"]] == ["stored"] * 2 + ["pending"] * 2
    world.manual.advance(119)
    assert await world.runtime.outbox_worker.run(Budget(50)) == 0, "each note has kept its turn"
    world.manual.advance(2)
    await world.runtime.outbox_worker.run(Budget(50))
    shown = await document(world, job_id)
    assert shown["stage"] == "done" and [file["state"] for file in shown["files"]] == ["stored"] * 4
    assert [len(source.on(f"/{n}")) for n in range(4)] == [1, 1, 2, 1]
    files = json.loads((await job_of(world, job_id)).fields["files"])
    assert sorted(await all_keys(world)) == sorted(file[name] for file in files for name in ("key", "thumbnail"))


async def test_a_note_that_is_refused_ends_the_turn(world: World, source: Receiver) -> None:
    job_id = await ended(world, [source.url(f"/{n}") for n in range(3)])
    ((first,), _) = world.runtime.outbox.follow_ups.take()
    keep, notes = Outbox.keep, 0

    async def late(self: Outbox, *given: Any, **named: Any) -> bool:
        nonlocal notes
        notes += 1
        if notes == 2:
            world.manual.advance(130)
            await self.claim(1, 0, 1)
        return await keep(self, *given, **named)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Outbox, "keep", late)
        await world.runtime.storing.store(first, Budget(50))
    assert notes == 2 and len(source.received) == 2
    files = json.loads((await job_of(world, job_id)).fields["files"])
    assert [file["state"] for file in files] == ["stored", "pending", "pending"]
    assert sorted(await all_keys(world)) == sorted([files[0]["key"], files[0]["thumbnail"]])


async def test_what_cannot_be_copied_is_listed_all_the_same(valkey: RunningServer, source: Receiver) -> None:
    source.answers = lambda _: (200, {}, b"words")
    changes: dict[str, Any] = {"allow_loopback": True, "storage_url": f"memory://{secrets.token_hex(8)}"}
    async with make_world(valkey, ManualClock(), **changes) as world:
        long = source.url("/" + "x" * 4000)
        job_id = await ended(world, [long, *(source.url(f"/{n}") for n in range(300))])
        await world.runtime.outbox_worker.drain(Budget(50))
        shown = await document(world, job_id)
        files = shown["files"]
        assert len(files) == 200 and shown["stage"] == "done" and len(source.received) == 50
        assert (files[0]["state"], files[0]["error"], files[0]["url"]) == ("failed", "url_too_long", long)
        assert {file["state"] for file in files[1:51]} == {"stored"}
        assert {(file["state"], file["error"]) for file in files[51:]} == {("failed", "too_many")}
        assert shown["output"][0] == long and shown["output"][51] == files[51]["url"] == source.url("/50")
        job_id = await ended(world, long)
        await world.runtime.outbox_worker.drain(Budget(50))
        assert (await document(world, job_id))["stage"] == "done"


@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_thumbnail_s_upload_ends_in_time_for_the_note(
    source: Receiver, monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    """Also where it was kept, and only the answer is late: then it is removed again."""
    save = Bucket.save

    async def slow(self: Bucket, key: str, chunks: AsyncIterator[bytes], content_type: str) -> None:
        if is_kept or "thumbnail" not in key:
            await save(self, key, chunks, content_type)
        if "thumbnail" in key:
            await asyncio.sleep(30)

    monkeypatch.setattr(Bucket, "save", slow)
    for name in ("ABORT_DEADLINE", "MIN_COPY_TIME"):
        monkeypatch.setattr(f"shared.outbox.storing.{name}", 0)
    changes: dict[str, Any] = {"allow_loopback": True, "storage_url": f"memory://{secrets.token_hex(8)}"}
    async with make_world(None, ManualClock(), **changes) as world:
        job_id = await ended(world, source.url())
        began = time.monotonic()
        await world.runtime.outbox_worker.drain(Budget(world.runtime.settings.store_total_timeout + 2))
        assert 1 < time.monotonic() - began < 4
        shown = await document(world, job_id)
        (file,) = shown["files"]
        assert shown["stage"] == "done" and (file["state"], file["media_error"]) == ("stored", "out_of_time")
        assert file["thumbnail_url"] is None and file["width"] == 320
        assert [key for key in await all_keys(world) if "thumbnail" in key] == []


async def test_one_file_at_a_time_is_looked_into(
    world: World, source: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, most = 0, 0

    async def examined(path: Path, content_type: str, *, timeout: float) -> Media:
        nonlocal looking, most
        looking += 1
        most = max(most, looking)
        await asyncio.sleep(0.1)
        looking -= 1
        return Media(error="unreadable")

    monkeypatch.setattr(examination, "examine", examined)
    jobs = [await ended(world, source.url(f"/{n}"), user=f"user{n}") for n in range(3)]
    await world.runtime.outbox_worker.drain(Budget(50))
    for job_id in jobs:
        assert (await document(world, job_id))["files"][0]["media_error"] == "unreadable"
    assert most == 1


async def test_what_a_killed_function_left_on_the_disk_is_removed(tmp_path: Path) -> None:
    """256 MB of 512, on a function's disk that outlives it."""
    old, young, others = tmp_path / "sluice-media-old", tmp_path / "sluice-media-young", tmp_path / "sluice-x"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tempfile, "tempdir", str(tmp_path))
        for folder in (old, young, others):
            folder.mkdir()
            (folder / "file").write_bytes(b"x")
        for folder in (old, others):
            os.utime(folder, (time.time() - 3700,) * 2)
        with spool_path() as path:
            path.write_bytes(b"x")
            assert sorted(tmp_path.iterdir()) == sorted([path.parent, young, others])
        assert sorted(tmp_path.iterdir()) == sorted([young, others])


async def test_a_copy_is_reported_after_30_minutes_and_given_up_after_45(world: World, source: Receiver) -> None:
    source.answers = lambda _: (500, {}, b"")
    job_id = await ended(world, source.url())
    world.runtime.outbox.follow_ups.take()
    for minutes in (29, 2, 13):
        world.manual.advance(minutes * 60)
        with capture_logs() as logged:
            await world.runtime.tick.run()
        assert any(line["event"] == "copy_late" for line in logged) == (minutes != 29)
        assert (await document(world, job_id))["files"][0]["state"] == "pending"
    world.manual.advance(3 * 60)
    await world.runtime.tick.run()
    shown = await document(world, job_id)
    assert (shown["stage"], shown["files"][0]["state"]) == ("done", "expired")
    assert (await world.runtime.records.stats()).counters["files_given_up"] == 1


async def test_a_file_beyond_the_size_cap_or_a_redirect_is_refused_for_good(
    valkey: RunningServer, source: Receiver
) -> None:
    changes: dict[str, Any] = {"allow_loopback": True, "storage_url": "memory://cap", "storage_max_bytes": 1000}
    async with make_world(valkey, ManualClock(), **changes) as world:
        job_id = await ended(world, source.url())
        await world.runtime.outbox_worker.drain(Budget(50))
        file = (await document(world, job_id))["files"][0]
        assert (file["state"], file["error"], file["url"]) == ("failed", "too_large", source.url())
        source.answers = lambda _: (302, {"Location": source.url("/b")}, b"")
        job_id = await ended(world, source.url("/a"))
        await world.runtime.outbox_worker.drain(Budget(50))
        assert (await document(world, job_id))["files"][0]["error"] == "redirected"
        assert source.on("/b") == [] and await all_keys(world) == []


async def test_a_file_elsewhere_is_never_fetched(valkey: RunningServer, source: Receiver) -> None:
    """Without ALLOW_LOOPBACK the simulator's address is what it is to a deployment: somebody's own machine."""
    async with make_world(valkey, ManualClock(), storage_url="memory://elsewhere") as world:
        shown = await document(world, await ended(world, [source.url(), "http://replicate.delivery/x.mp4"]))
        assert shown["files"] == [] and shown["stage"] == "done" and source.received == []


async def test_who_comes_late_removes_nothing_but_his_own(world: World, source: Receiver) -> None:
    job_id = await ended(world, source.url())
    ((first,), _) = world.runtime.outbox.follow_ups.take()
    world.manual.advance(200)
    await world.runtime.outbox_worker.run(Budget(50))
    (ours,) = [key for key in await all_keys(world) if "thumbnail" not in key]
    await world.runtime.storing.store(first, Budget(50))
    assert ours in await all_keys(world) and await kept(world, job_id) == FILM
    # The same, but frozen between its copy and its note.
    files = [{"url": source.url(), "state": "stored", "key": "of another"}]
    assert not await world.runtime.outbox.keep(job_id, first.turn, json.dumps(files))
    assert await kept(world, job_id) == FILM


async def test_a_copy_whose_turn_is_over_is_removed_again(world: World, source: Receiver) -> None:
    job_id = await ended(world, source.url())
    ((first,), _) = world.runtime.outbox.follow_ups.take()
    stolen = asyncio.Event()

    def answers(_: Received) -> Answer:
        stolen.set()
        return 200, {}, FILM

    source.answers = answers
    copying = asyncio.create_task(world.runtime.storing.store(first, Budget(50)))
    await stolen.wait()
    world.manual.advance(200)
    ((second,), _) = await world.runtime.outbox.claim(1, 0, 1)
    assert second == FollowUp("store", job_id, turn=2, noted_at=world.clock.now())
    await copying
    assert await all_keys(world) == []
    await world.runtime.storing.store(second, Budget(50))
    assert await kept(world, job_id) == FILM


async def test_a_poll_takes_up_a_copy_that_somebody_has_left(world: World, source: Receiver) -> None:
    """On a plan whose schedule runs once a day nobody else would in time."""
    job_id = await ended(world, source.url())
    world.runtime.outbox.follow_ups.take()
    assert (await document(world, job_id))["stage"] == "storing" and source.received == []
    world.manual.advance(130)
    assert (await document(world, job_id))["stage"] == "done"


async def test_without_time_nothing_is_begun_and_somebody_else_comes_soon(world: World, source: Receiver) -> None:
    job_id = await ended(world, source.url())
    await world.runtime.outbox_worker.drain(Budget(1))
    assert source.received == [] and (await document(world, job_id))["stage"] == "storing"
    world.manual.advance(15)
    await world.runtime.tick.run()
    assert (await document(world, job_id))["stage"] == "done"


@pytest.mark.parametrize("killed", [3, 4])
async def test_what_killed_four_functions_is_stored_without_being_looked_into(
    world: World, source: Receiver, killed: int
) -> None:
    job_id = await ended(world, source.url())
    world.runtime.outbox.follow_ups.take()
    for _ in range(killed - 1):
        world.runtime.outbox.follow_ups.take()
        world.manual.advance(130)
        await world.runtime.outbox.claim(1, 0, 1)
    world.manual.advance(130)
    await world.runtime.outbox_worker.run(Budget(50))
    (file,) = (await document(world, job_id))["files"]
    assert file["state"] == "stored" and (file["width"] is None) == (file["thumbnail_url"] is None) == (killed == 4)
    assert file["media_error"] == ("skipped" if killed == 4 else None)


@pytest.mark.parametrize("content", [FILM[:300], b"\x89PNG\r\n\x1a\n" + b"\0" * 100, b"GIF89a" + b"\xff" * 100])
async def test_a_corrupt_file_is_kept_as_it_is_and_its_error_is_told(
    valkey: RunningServer, source: Receiver, content: bytes
) -> None:
    async with make_world(valkey, ManualClock(), allow_loopback=True, storage_url="memory://corrupt") as world:
        source.answers = lambda _: (200, {}, content)
        job_id = await ended(world, source.url())
        await world.runtime.outbox_worker.drain(Budget(50))
        shown = await document(world, job_id)
        (file,) = shown["files"]
        assert shown["stage"] == "done" and file["state"] == "stored" and file["media_error"]
        assert await kept(world, job_id) == content


async def test_a_document_does_not_change_while_its_urls_stand(world: World, source: Receiver) -> None:
    job_id = await ended(world, source.url())
    await world.runtime.outbox_worker.drain(Budget(50))
    first = await world.runtime.statuses.view("app", job_id)
    world.runtime.statuses.forget(job_id)
    second = await world.runtime.statuses.view("app", job_id)
    assert first.value.etag == second.value.etag
    world.manual.advance(HOURS)
    world.runtime.statuses.forget(job_id)
    third = await world.runtime.statuses.view("app", job_id)
    assert third.value.etag != first.value.etag, "its URLs are fresh ones"


async def test_what_the_outbox_has_lost_is_found_again(world: World, source: Receiver) -> None:
    """By whoever asks for the job, and a lane by the sweep."""
    async with receiver() as owner:
        job_id = await ended(world, source.url(), hook_url=owner.url())
        world.runtime.outbox.follow_ups.take()
        await world.raw("DEL", world.runtime.queue.keys.outbox)
        world.manual.advance(130)
        assert (await document(world, job_id))["stage"] == "done" and len(owner.received) == 1
        owner.answers = lambda _: (500, {}, b"")
        await ended(world, "words", hook_url=owner.url())
        await world.runtime.outbox_worker.drain(Budget(50))
        await world.raw("DEL", world.runtime.queue.keys.outbox)
        owner.answers = lambda _: (200, {}, b"")
        for _ in range(31):
            world.manual.advance(60)
            await world.runtime.tick.run()
        assert len(owner.received) == 3
