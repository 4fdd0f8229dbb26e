"""Files that an output holds itself, as data: URIs, are stored and shown by URL."""

import base64
import json
import secrets
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from shared.budget import Budget
from shared.clock import ManualClock
from shared.outbox import storing
from shared.providers.base import Prediction
from shared.storage.bucket import Bucket, StorageError
from shared.storage.files import data_uris_in
from shared.storage.staging import pieces_of, stage
from tests.buckets import content, everything, memory_settings
from tests.files.storing import FILM, all_keys, document, ended, job_of, kept
from tests.logs import all_logs
from tests.receiver import receiver
from tests.world import World, make_world

SVG = b"<svg xmlns='http://www.w3.org/2000/svg' width='4' height='3'/>"


def uri(data: bytes, kind: str = "video/mp4") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


async def test_a_data_uri_becomes_a_stored_file(world: World) -> None:
    async with receiver() as owner:
        job_id = await ended(world, {"film": uri(FILM), "n": 1}, hook_url=owner.url())
        before = await document(world, job_id)
        (file,) = before["files"]
        assert (before["status"], before["stage"], file["state"]) == ("completed", "storing", "pending")
        assert before["output"] == {"film": file["url"], "n": 1} and "invalid" not in file["url"]
        assert "data:" not in str((await job_of(world, job_id)).output)
        await world.follow_up()
        after = await document(world, job_id)
        (file,) = after["files"]
        assert (after["stage"], file["state"], file["content_type"]) == ("done", "stored", "video/mp4")
        assert (file["size"], file["width"], file["height"]) == (len(FILM), 320, 180) and file["thumbnail_url"]
        assert after["output"] == {"film": file["url"], "n": 1} and await kept(world, job_id) == FILM
        assert json.loads(owner.received[0].body)["data"]["files"][0]["state"] == "stored"
    await world.runtime.erasure.delete_job("app", job_id, Budget(50))
    assert await all_keys(world) == []


@pytest.mark.parametrize(
    ("written", "data"),
    [
        ("DATA:image/PNG;BASE64,AAEC", b"\0\1\2"),
        ("data:image/png;BASE64,AAEC", b"\0\1\2"),
        ("data:image/svg+xml;utf8,<svg%20/>", b"<svg />"),
        ("data:image/svg+xml;charset=utf-8;utf8,<svg/>", b"<svg/>"),
    ],
)
def test_a_data_uri_may_be_written_as_browsers_read_it(written: str, data: bytes) -> None:
    (found,) = data_uris_in({"a": [written]})
    assert b"".join(pieces_of(found)) == data


async def test_a_film_of_more_than_an_output_may_have_is_no_failure(world: World) -> None:
    data = secrets.token_bytes(5_000_000)
    job_id = await ended(world, [uri(data), "https://replicate.delivery/none"])
    shown = await document(world, job_id)
    assert shown["status"] == "completed" and len(json.dumps(shown)) < 5000
    assert await kept(world, job_id) == data


async def test_files_in_an_output_are_stored_without_being_held_twice() -> None:
    data = bytes(6_000_000)
    given = [uri(data)]
    bucket = Bucket(memory_settings())
    tracemalloc.start()
    try:
        await stage(given, data_uris_in(given), Discarding(bucket.settings), "results/x", max_bytes=10**9)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


class Discarding(Bucket):
    """A bucket that keeps nothing, so that only the staging itself takes memory."""

    async def save(self, key: str, chunks: AsyncIterator[bytes], content_type: str) -> None:
        async for _ in chunks:
            pass


@pytest.mark.parametrize(
    "text",
    [
        uri(SVG, "image/svg+xml"),
        uri(SVG, "image/svg+xml;charset=utf-8"),
        uri(SVG, "image/svg+xml") + "\n",
        "data:image/svg+xml;base64," + base64.urlsafe_b64encode(SVG).decode().rstrip("="),
        "data:image/svg+xml;base64," + quote(base64.b64encode(SVG).decode(), safe=""),
        "data:image/svg+xml;base64," + "\n".join(base64.b64encode(SVG).decode()),
        "data:image/svg+xml," + quote(SVG),
        "data:image/svg+xml;charset=utf-8," + SVG.decode(),
        f"![picture]({uri(SVG, 'image/svg+xml')}) as asked",
        json.dumps({"image": uri(SVG, "image/svg+xml")}).replace("/", "\\/"),
    ],
)
async def test_each_way_to_write_a_data_uri_is_read(text: str) -> None:
    bucket = Bucket(memory_settings())
    staged = await stage([text], data_uris_in([text]), bucket, "results/x", max_bytes=10**6)
    (file,) = staged.files.values()
    assert (file["type"], file["size"]) == ("image/svg+xml", len(SVG)) and await content(bucket, file["key"]) == SVG
    assert "data:" not in str(staged.output) and file["url"] in str(staged.output)


@pytest.mark.parametrize(
    "text", ["data:", "data: the weather, tomorrow", "data:image/png;base64,", "data:image/png;base64,A", "data:a/b,",
             "data:image/png;base64,%%%%", "data:image/png;base64,é", "see data:text/plain,hello"],
)  # fmt: skip
async def test_what_is_no_file_stays_in_the_output(text: str) -> None:
    bucket = Bucket(memory_settings())
    staged = await stage([text], data_uris_in([text]), bucket, "results/x", max_bytes=10**6)
    assert (staged.output, staged.files, await everything(bucket)) == ([text], {}, [])


def test_pieces_are_small_and_whole() -> None:
    data = secrets.token_bytes(1_000_001)
    pieces = list(pieces_of(uri(data)))
    assert b"".join(pieces) == data and max(map(len, pieces)) < 200_000


async def test_fifty_of_them_are_stored_and_the_others_stay(world: World) -> None:
    texts = [uri(b"%d" % n, "text/plain") for n in range(60)]
    job_id = await ended(world, texts)
    shown = await document(world, job_id)
    assert len(shown["files"]) == 50 and shown["output"][50:] == texts[50:]
    assert not any(text.startswith("data:") for text in shown["output"][:50])


async def test_a_repeat_stores_nothing_twice_and_a_late_one_nothing(world: World) -> None:
    job_id = await ended(world, uri(FILM))
    keys = await all_keys(world)
    late = await world.runtime.reconciler.apply(
        job_id, 1, "replicate", Prediction(f"p_{job_id}", "completed", uri(FILM + b"x"))
    )
    assert late.word == "already" and await all_keys(world) == keys and len(keys) == 1


async def test_a_storage_that_fails_loses_no_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small output keeps its files; a large one waits at its provider for the next question."""
    changes: dict[str, Any] = {"storage_url": f"memory://{secrets.token_hex(8)}"}

    async def refuses(*_: Any) -> None:
        raise StorageError("save: down")

    small, large = uri(FILM), uri(bytes(5_000_000))
    async with make_world(None, ManualClock(), **changes) as world:
        with monkeypatch.context() as patched, all_logs() as logged:
            patched.setattr(Bucket, "save", refuses)
            kept_small, waits = await ended(world, small), await ended(world, large)
        assert [line["is_kept"] for line in logged if line["event"] == "output_not_staged"] == [True, False]
        shown = await document(world, kept_small)
        assert (shown["status"], shown["output"], shown["files"]) == ("completed", small, [])
        assert (await job_of(world, waits)).status == "processing"
        again = Prediction(f"p_{waits}", "completed", large)
        assert (await world.runtime.reconciler.apply(waits, 1, "replicate", again)).word == "finished"
        assert (await document(world, waits))["files"][0]["size"] == 5_000_000


async def test_a_full_disk_costs_the_thumbnail_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuses(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storing, "fill", refuses)
    job_id = await ended(world, uri(FILM))
    await world.follow_up()
    (file,) = (await document(world, job_id))["files"]
    assert (file["state"], file["media_error"]) == ("stored", "too_large_to_show")


async def test_without_a_storage_an_output_stays_as_it_is() -> None:
    async with make_world(None, ManualClock()) as world:
        shown = await document(world, await ended(world, uri(FILM)))
        assert (shown["output"], shown["files"]) == (uri(FILM), [])
