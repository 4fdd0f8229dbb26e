"""Thumbnails: the upload ends in time, one is made at a time, and the disk is left clean."""

import asyncio
import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock
from shared.media import examination
from shared.media.media import Media
from shared.storage.bucket import Bucket
from shared.storage.spool import spool_path
from tests.files.films import sound
from tests.files.storing import FILM, all_keys, document, ended, kept
from tests.receiver import Receiver
from tests.world import World, make_world


@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_thumbnail_s_upload_ends_in_time_for_the_note(
    source: Receiver, monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    """An upload that was stored but whose answer is late is removed again."""
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
        await world.follow_up(Budget(world.runtime.settings.store_total_timeout + 12))
        assert 1 < time.monotonic() - began < 25
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
    await world.follow_up()
    for job_id in jobs:
        assert (await document(world, job_id))["files"][0]["media_error"] == "unreadable"
    assert most == 1


async def test_what_a_killed_function_left_on_the_disk_is_removed(tmp_path: Path) -> None:
    """256 MB of 512, on a disk that the next call inherits."""
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


async def test_sound_whose_index_comes_last_is_noted_as_sound(world: World, source: Receiver) -> None:
    """Its first bytes show a film's container only, so the stored key keeps its name."""
    content = sound("pcm_s16le", "mov", 96_000)  # longer than a block of the copy
    source.answers = lambda _: (200, {}, content)
    job_id = await ended(world, source.url())
    await world.follow_up()
    (file,) = (await document(world, job_id))["files"]
    assert (file["state"], file["content_type"], file["duration"]) == ("stored", "audio/mp4", 2.0)
    assert file["thumbnail_url"] is file["media_error"] is None and file["url"].partition("?")[0].endswith(".mov")


async def test_a_drawing_is_kept_as_one_and_has_no_thumbnail(world: World, source: Receiver) -> None:
    source.answers = lambda _: (200, {"Content-Type": "text/html"}, b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    job_id = await ended(world, source.url())
    await world.follow_up()
    (file,) = (await document(world, job_id))["files"]
    assert (file["state"], file["content_type"], file["media_error"]) == ("stored", "image/svg+xml", "unknown_type")


@pytest.mark.parametrize("content", [FILM[:300], b"\x89PNG\r\n\x1a\n" + b"\0" * 100, b"GIF89a" + b"\xff" * 100])
async def test_a_corrupt_file_is_kept_as_it_is_and_its_error_is_shown(
    valkey: RunningServer, source: Receiver, content: bytes
) -> None:
    async with make_world(valkey, ManualClock(), allow_loopback=True, storage_url="memory://corrupt") as world:
        source.answers = lambda _: (200, {}, content)
        job_id = await ended(world, source.url())
        await world.follow_up()
        shown = await document(world, job_id)
        (file,) = shown["files"]
        assert shown["stage"] == "done" and file["state"] == "stored" and file["media_error"]
        assert await kept(world, job_id) == content
