"""Results are stored: what a job shows during and after the copy, and when it fails."""

import hashlib
import json
import secrets
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from tests.files.storing import FILM, HOURS, all_keys, document, ended, job_of, kept
from tests.logs import all_logs
from tests.receiver import Receiver, receiver
from tests.world import World, make_world


async def test_a_completed_job_is_usable_at_once_and_shows_our_copy_afterwards(world: World, source: Receiver) -> None:
    url = source.url("/film.mp4")
    job_id = await ended(world, [url])
    before = await document(world, job_id)
    assert (before["status"], before["stage"], before["output"]) == ("completed", "storing", [url])
    assert before["files"][0]["state"] == "pending" and before["files"][0]["url"] == url
    await world.follow_up()
    after = await document(world, job_id)
    assert (after["status"], after["stage"]) == ("completed", "done")
    (file,) = after["files"]
    assert file["state"] == "stored" and file["url"] == after["output"][0] != url
    assert file["sha256"] == hashlib.sha256(FILM).hexdigest() and file["size"] == len(FILM)
    assert (file["content_type"], file["width"], file["height"]) == ("video/mp4", 320, 180)
    assert file["duration"] == pytest.approx(2, abs=0.2) and file["thumbnail_url"] and file["media_error"] is None
    assert await kept(world, job_id) == FILM
    assert await world.raw("ZCARD", world.runtime.queue.keys.outbox) == 0


async def test_the_owner_is_notified_when_the_files_are_stored_and_not_before(world: World, source: Receiver) -> None:
    async with receiver() as owner:
        job_id = await ended(world, source.url("/film.mp4"), hook_url=owner.url())
        assert (await job_of(world, job_id)).is_storing and owner.received == []
        await world.follow_up()
        event = json.loads(owner.received[0].body)
        assert event["type"] == "job.completed" and event["data"]["files"][0]["state"] == "stored"
        assert event["data"]["output"] == event["data"]["files"][0]["url"]


async def test_urls_anywhere_in_an_output_are_files_if_they_are_the_providers(world: World, source: Receiver) -> None:
    url = source.url("/film.mp4")
    output = {"video": url, "also": [url, "https://elsewhere.example/x.png"], "text": f"see {url}"}
    job_id = await ended(world, output)
    await world.follow_up()
    shown = await document(world, job_id)
    assert len(shown["files"]) == 1 and len(source.received) == 1
    ours = shown["files"][0]["url"]
    assert shown["output"] == {"video": ours, "also": [ours, output["also"][1]], "text": f"see {ours}"}


async def test_an_output_without_files_is_done_at_once(world: World) -> None:
    shown = await document(world, await ended(world, "just words"))
    assert (shown["stage"], shown["files"], shown["output"]) == ("done", [], "just words")


async def test_a_source_that_fails_is_asked_again_with_patience(world: World, source: Receiver) -> None:
    source.answers = lambda _: (503, {}, b"")
    job_id = await ended(world, source.url())
    await world.follow_up()
    shown = await document(world, job_id)
    assert shown["stage"] == "storing" and shown["files"][0]["error"] == "source_unavailable"
    await world.runtime.tick.run()
    assert len(source.received) == 1, "not before its time"
    source.answers = lambda _: (200, {}, FILM)
    world.manual.advance(15)
    await world.runtime.tick.run()
    shown = await document(world, job_id)
    assert shown["stage"] == "done" and shown["files"][0]["error"] is None and await kept(world, job_id) == FILM


async def test_a_file_that_is_gone_ends_expired_and_the_owner_is_notified(world: World, source: Receiver) -> None:
    source.answers = lambda _: (410, {}, b"")
    async with receiver() as owner:
        job_id = await ended(world, source.url(), hook_url=owner.url())
        for _ in range(4):
            await world.follow_up()
            await world.work_off()
            world.manual.advance(100)
        shown = await document(world, job_id)
        assert shown["status"] == "completed" and shown["files"][0]["state"] == "expired"
        assert shown["files"][0]["url"] == source.url() and len(source.received) == 3
        assert json.loads(owner.received[0].body)["data"]["files"][0]["state"] == "expired"


async def test_one_410_behind_other_failures_is_not_yet_believed(world: World, source: Receiver) -> None:
    statuses = iter([503, 404, 410, 410, 200])
    source.answers = lambda _: (next(statuses), {}, FILM)
    job_id = await ended(world, source.url())
    await world.follow_up()
    for tries in range(2, 6):
        (file,) = (await document(world, job_id))["files"]
        assert file["state"] == "pending" and len(source.received) == tries - 1
        world.manual.advance(400)
        await world.work_off()
    (file,) = (await document(world, job_id))["files"]
    assert file["state"] == "stored" and file["error"] is None


@pytest.mark.parametrize("status", [403, 404])
async def test_a_file_that_is_not_there_yet_is_asked_for_until_it_is_too_late(
    world: World, source: Receiver, status: int
) -> None:
    source.answers = lambda _: (status, {}, b"")
    late, early = await ended(world, source.url("/late")), await ended(world, source.url("/early"))
    world.follow_ups()
    for _ in range(7):
        world.manual.advance(310)
        await world.work_off()
    assert len(source.on("/late")) == len(source.on("/early")) == 7
    (file,) = (await document(world, late))["files"]
    assert (file["state"], file["error"]) == ("pending", "source_gone")
    source.answers = lambda request: (200, {}, FILM) if request.path == "/early" else (status, {}, b"")
    world.manual.advance(310)  # 41:20 minutes after the end
    await world.work_off()
    (file,) = (await document(world, early))["files"]
    assert file["state"] == "stored" and file["thumbnail_url"], "tries that ended do not prevent a thumbnail"
    world.manual.advance(310)
    await world.work_off()
    (file,) = (await document(world, late))["files"]
    assert (file["state"], file["error"], file["url"]) == ("expired", "source_gone", source.url("/late"))


async def test_what_cannot_be_copied_is_listed_all_the_same(valkey: RunningServer, source: Receiver) -> None:
    source.answers = lambda _: (200, {}, b"words")
    changes: dict[str, Any] = {"allow_loopback": True, "storage_url": f"memory://{secrets.token_hex(8)}"}
    async with make_world(valkey, ManualClock(), **changes) as world:
        long = source.url("/" + "x" * 4000)
        job_id = await ended(world, [long, *(source.url(f"/{n}") for n in range(300))])
        await world.follow_up()
        shown = await document(world, job_id)
        files = shown["files"]
        assert len(files) == 301 and shown["stage"] == "done" and len(source.received) == 50
        assert (files[0]["state"], files[0]["error"], files[0]["url"]) == ("failed", "url_too_long", long)
        assert {file["state"] for file in files[1:51]} == {"stored"}
        assert {(file["state"], file["error"]) for file in files[51:]} == {("failed", "too_many")}
        assert shown["output"][0] == long and shown["output"][51] == files[51]["url"] == source.url("/50")
        job_id = await ended(world, long)
        await world.follow_up()
        assert (await document(world, job_id))["stage"] == "done"


async def test_a_copy_is_reported_after_30_minutes_and_given_up_after_45(world: World, source: Receiver) -> None:
    source.answers = lambda _: (500, {}, b"")
    job_id = await ended(world, source.url())
    world.follow_ups()
    for minutes in (29, 2, 13):
        world.manual.advance(minutes * 60)
        with all_logs() as logged:
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
        await world.follow_up()
        file = (await document(world, job_id))["files"][0]
        assert (file["state"], file["error"], file["url"]) == ("failed", "too_large", source.url())
        for elsewhere in ("https://elsewhere.example/b", "http://replicate.delivery/b", "ftp://[", "/a"):
            redirect = (302, {"Location": elsewhere}, b"")
            source.answers = lambda _, answer=redirect: answer  # type: ignore[misc]
            job_id = await ended(world, source.url("/a"))
            await world.follow_up()
            file = (await document(world, job_id))["files"][0]
            assert (file["state"], file["error"]) == ("failed", "redirected")
        assert len(source.on("/a")) == 3 + 4 and await all_keys(world) == []


async def test_a_redirect_within_the_providers_own_hosts_is_followed(world: World, source: Receiver) -> None:
    source.answers = lambda request: (200, {}, FILM) if "b.mp4" in request.path else (307, {"Location": "/b.mp4"}, b"")
    job_id = await ended(world, source.url("/a.mp4"))
    await world.follow_up()
    (file,) = (await document(world, job_id))["files"]
    assert file["state"] == "stored" and await kept(world, job_id) == FILM


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html><html><body>Bad gateway</body></html>",
        b'\xef\xbb\xbf\n<?xml version="1.0"?><Error><Code>SlowDown</Code></Error>',
        b"<html><head>",
    ],
)
async def test_an_error_page_in_place_of_a_film_is_tried_again_and_then_failed(
    world: World, source: Receiver, page: bytes
) -> None:
    source.answers = lambda request: (200, {"Content-Type": "video/mp4"}, page)
    lost, late = await ended(world, source.url("/lost.mp4")), await ended(world, source.url("/late.mp4"))
    await world.follow_up()
    for job_id in (lost, late):
        (file,) = (await document(world, job_id))["files"]
        assert (file["state"], file["error"]) == ("pending", "error_page")
    source.answers = lambda request: (200, {}, FILM if request.path == "/late.mp4" else page)
    world.manual.advance(20)
    await world.work_off()
    assert (await document(world, late))["files"][0]["state"] == "stored" and await kept(world, late) == FILM
    world.manual.advance(45 * 60)
    await world.work_off()
    (file,) = (await document(world, lost))["files"]
    assert (file["state"], file["error"]) == ("failed", "error_page")


async def test_a_file_elsewhere_is_never_fetched(valkey: RunningServer, source: Receiver) -> None:
    """Without ALLOW_LOOPBACK the guard refuses the simulator's address, as in a deployment."""
    async with make_world(valkey, ManualClock(), storage_url="memory://elsewhere") as world:
        shown = await document(world, await ended(world, [source.url(), "http://replicate.delivery/x.mp4"]))
        assert [(file["state"], file["url"]) for file in shown["files"]] == [
            ("foreign_host", "http://replicate.delivery/x.mp4")
        ]
        assert shown["stage"] == "done" and source.received == []


async def test_a_document_does_not_change_while_its_urls_are_valid(world: World, source: Receiver) -> None:
    job_id = await ended(world, source.url())
    await world.follow_up()
    first = await world.runtime.statuses.view("app", job_id)
    world.runtime.statuses.forget(job_id)
    second = await world.runtime.statuses.view("app", job_id)
    assert first.value.etag == second.value.etag
    world.manual.advance(HOURS)
    world.runtime.statuses.forget(job_id)
    third = await world.runtime.statuses.view("app", job_id)
    assert third.value.etag != first.value.etag, "its URLs are fresh ones"


async def test_an_entry_that_the_outbox_has_lost_is_found_again(world: World, source: Receiver) -> None:
    """A poll finds a lost job, and the sweep finds a lost lane."""
    async with receiver() as owner:
        job_id = await ended(world, source.url(), hook_url=owner.url())
        world.follow_ups()
        await world.raw("DEL", world.runtime.queue.keys.outbox)
        world.manual.advance(130)
        assert (await document(world, job_id))["stage"] == "done" and len(owner.received) == 1
        owner.answers = lambda _: (500, {}, b"")
        await ended(world, "words", hook_url=owner.url())
        await world.follow_up()
        await world.raw("DEL", world.runtime.queue.keys.outbox)
        owner.answers = lambda _: (200, {}, b"")
        for _ in range(31):
            world.manual.advance(60)
            await world.runtime.tick.run()
        assert len(owner.received) == 3
