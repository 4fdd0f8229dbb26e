"""What every kind of storage promises."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from shared.config.settings import Settings
from shared.storage import bucket as buckets
from shared.storage.bucket import Bucket, StorageError
from shared.storage.upload import PART
from tests.buckets import (
    MIB,
    S3,
    content,
    everything,
    file_settings,
    pieces,
    s3_settings,
)
from tests.world import settings_for

LONG = random.Random(0).randbytes(2 * PART + 12_345)


def cut(whole: bytes, size: int) -> list[bytes]:
    return [whole[at : at + size] for at in range(0, len(whole), size)]


@pytest.mark.parametrize("size", [1, 64 * 1024, PART, 3 * PART])
async def test_what_is_saved_is_read_back_however_it_was_cut(bucket: Bucket, size: int) -> None:
    whole = LONG if size > 1 else LONG[:100]
    await bucket.save("a/b c/ü%20.bin", pieces(*cut(whole, size)), "video/mp4")
    assert await content(bucket, "a/b c/ü%20.bin") == whole
    assert await bucket.size("a/b c/ü%20.bin") == len(whole)
    assert await everything(bucket) == ["a/b c/ü%20.bin"]


async def test_an_empty_file_is_a_file(bucket: Bucket) -> None:
    await bucket.save("nothing", pieces(), "text/plain")
    assert (await content(bucket, "nothing"), await bucket.size("nothing")) == (b"", 0)


async def test_a_span_of_a_file_is_read(bucket: Bucket) -> None:
    await bucket.save("x", pieces(*cut(LONG, 1_000_003)), "video/mp4")
    assert await content(bucket, "x", 5, PART + 7) == LONG[5 : PART + 7]
    assert await content(bucket, "x", len(LONG) - 3) == LONG[-3:]
    assert await content(bucket, "x", 0, 1) == LONG[:1]
    assert await content(bucket, "x", 7, 7) == b""


async def test_another_bucket_of_the_same_settings_sees_the_same_files(settings: Settings) -> None:
    await Bucket(settings).save("x", pieces(b"abc"), "text/plain")
    assert await content(Bucket(settings), "x") == b"abc"


async def test_a_second_save_replaces_the_first(bucket: Bucket) -> None:
    await bucket.save("x", pieces(b"first"), "text/plain")
    await bucket.save("x", pieces(b"2nd"), "text/plain")
    assert await content(bucket, "x") == b"2nd"


async def test_a_file_that_is_not_there_has_no_size_and_cannot_be_read(bucket: Bucket) -> None:
    assert await bucket.size("a/none.mp4") is None
    with pytest.raises(StorageError, match=r"^read: FileNotFoundError( NoSuchKey)?$"):
        await content(bucket, "a/none.mp4")


async def test_deleting_spares_the_others_and_does_not_mind_what_is_missing(bucket: Bucket) -> None:
    for name in ("a/1", "a/2", "b/3"):
        await bucket.save(name, pieces(b"x"), "text/plain")
    await bucket.delete(["none", "a/1", "a/none", "b/3"])
    assert await everything(bucket) == ["a/2"]
    await bucket.delete([])


async def test_more_than_a_page_of_files_is_listed_and_deleted(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "PAGE", 7)
    keys = [f"many/{number:04}" for number in range(20)]
    for key in keys:
        await bucket.save(key, pieces(b"x"), "text/plain")
    found = [page async for page in bucket.pages("many")]
    assert sorted(key for page in found for key in page) == keys
    assert max(len(page) for page in found) <= 7
    await bucket.delete(keys)
    assert await everything(bucket) == []


async def test_folders_are_listed_and_end_with_their_last_file(bucket: Bucket) -> None:
    for name in ("results/2026-01-02/u/0.mp4", "results/2026-01-01/u/0.mp4", "results/2026-01-01/v/0.mp4", "uploads/x"):
        await bucket.save(name, pieces(b"x"), "video/mp4")
    assert await bucket.folders("results") == ["results/2026-01-01", "results/2026-01-02"]
    assert await bucket.folders("results/2026-01-01/") == ["results/2026-01-01/u", "results/2026-01-01/v"]
    assert [page async for page in bucket.pages("results/2026-01-0")] in ([], [[]])  # a folder, not a beginning
    await bucket.delete(["results/2026-01-02/u/0.mp4"])
    assert await bucket.folders("results") == ["results/2026-01-01"]
    assert await bucket.folders("none") == []


class Broken(Exception):
    pass


async def failing(size: int) -> AsyncIterator[bytes]:
    for part in cut(LONG[:size], MIB):
        yield part
    raise Broken("the source")


@pytest.mark.parametrize("size", [0, 10, len(LONG)])
async def test_an_iterator_that_fails_leaves_nothing_and_its_own_error(bucket: Bucket, size: int) -> None:
    with pytest.raises(Broken, match="the source"):
        await bucket.save("x/y", failing(size), "video/mp4")
    assert await everything(bucket) == []
    assert await bucket.size("x/y") is None


async def test_an_iterator_that_fails_spares_the_file_that_was_there(bucket: Bucket) -> None:
    await bucket.save("x/y", pieces(b"before"), "video/mp4")
    with pytest.raises(Broken):
        await bucket.save("x/y", failing(len(LONG)), "video/mp4")
    assert await content(bucket, "x/y") == b"before"


class Stalling:
    """Gives most of the file, sets an event, and then stalls."""

    def __init__(self) -> None:
        self.has_stalled = asyncio.Event()
        self._given = iter(cut(LONG, MIB)[:11])

    def __aiter__(self) -> "Stalling":
        return self

    async def __anext__(self) -> bytes:
        for part in self._given:
            return part
        self.has_stalled.set()
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_cancelled_save_leaves_nothing(bucket: Bucket) -> None:
    source = Stalling()
    saving = asyncio.create_task(bucket.save("x/y", source, "video/mp4"))
    await source.has_stalled.wait()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert await everything(bucket) == []


@pytest.mark.parametrize("others", ["preview", "production:2", "production..", "..", "sluice"])
async def test_deployments_that_share_a_storage_do_not_see_each_other_s_files(settings: Settings, others: str) -> None:
    """Retention and erasure walk through all of results/ and uploads/."""
    ours, theirs = (Bucket(settings.model_copy(update={"queue_prefix": name})) for name in ("production", others))
    for bucket in (ours, theirs):
        await bucket.save("results/2026-01-01/u/j/0.mp4", pieces(bucket.prefix.encode()), "video/mp4")
    for bucket in (ours, theirs):
        assert await bucket.folders("results") == ["results/2026-01-01"]
        assert [page async for page in bucket.pages("results")] == [["results/2026-01-01/u/j/0.mp4"]]
    await theirs.delete(["results/2026-01-01/u/j/0.mp4"])
    assert await theirs.folders("results") == []
    assert await content(ours, "results/2026-01-01/u/j/0.mp4") == ours.prefix.encode()


async def test_a_deployment_s_files_are_in_a_folder_named_after_its_prefix(tmp_path: Path, s3: S3) -> None:
    name, prefix = s3.bucket(), {"queue_prefix": "sluice:preview:x"}
    folders = (
        s3_settings(s3, name, **prefix), s3_settings(s3, name, storage_url=f"s3://{name}", **prefix),
        file_settings(tmp_path, **prefix),
    )  # fmt: skip
    for number, bucket in enumerate(map(Bucket, folders), 1):
        await bucket.save(f"a/{number}", pieces(b"x"), "a/b")
        await bucket.close()
    keys = [entry["Key"] for entry in s3.client.list_objects_v2(Bucket=name)["Contents"]]
    assert keys == ["sluice/preview/x/a/2", "some/prefix/sluice/preview/x/a/1"]
    assert (tmp_path / "kept files" / "sluice" / "preview" / "x" / "a" / "3").read_bytes() == b"x"
    assert [path.name for path in tmp_path.iterdir()] == ["kept files"]


async def test_a_short_file_costs_one_request(s3: S3) -> None:
    name = s3.bucket()
    await Bucket(s3_settings(s3, name)).save("x", pieces(b"abc"), "image/png")
    head = s3.client.head_object(Bucket=name, Key="some/prefix/sluice/test/x")
    assert head["ContentType"] == "image/png"
    assert "-" not in head["ETag"]  # of several parts it would end in their number


async def test_s3_is_left_no_parts_by_an_error_or_a_cancellation(s3: S3) -> None:
    name = s3.bucket()
    bucket = Bucket(s3_settings(s3, name))
    with pytest.raises(Broken):
        await bucket.save("x", failing(len(LONG)), "video/mp4")
    assert s3.dangling(name) == []
    source = Stalling()
    saving = asyncio.create_task(bucket.save("y", source, "video/mp4"))
    await source.has_stalled.wait()
    assert s3.dangling(name) == ["some/prefix/sluice/test/y"]  # so parts had been uploaded
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert s3.dangling(name) == []


async def test_a_folder_is_left_no_pieces_by_an_error(tmp_path: Path) -> None:
    bucket = Bucket(file_settings(tmp_path))
    with pytest.raises(Broken):
        await bucket.save("x/y", failing(len(LONG)), "video/mp4")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_s3_keeps_the_content_type_and_equal_parts(s3: S3) -> None:
    name = s3.bucket()
    await Bucket(s3_settings(s3, name)).save("x", pieces(*cut(LONG, 777_777)), "video/mp4")
    heads = [s3.client.head_object(Bucket=name, Key="some/prefix/sluice/test/x", PartNumber=part) for part in (1, 2, 3)]
    assert [head["ContentLength"] for head in heads] == [PART, PART, len(LONG) - 2 * PART]  # R2 refuses unequal ones
    assert s3.client.head_object(Bucket=name, Key="some/prefix/sluice/test/x")["ContentType"] == "video/mp4"


async def test_s3_serves_what_may_run_scripts_as_an_attachment(s3: S3) -> None:
    """Also by a public URL, which no other header can reach."""
    bucket = Bucket(s3_settings(s3, name := s3.bucket()))
    for kind, disposition in (("image/svg+xml", "attachment"), ("image/png", None)):
        await bucket.save("drawn", pieces(b"<svg/>"), kind)
        await bucket.close()
        (key,) = (item["Key"] for item in s3.client.list_objects_v2(Bucket=name)["Contents"])
        head = s3.client.head_object(Bucket=name, Key=key)
        assert (head["ContentType"], head.get("ContentDisposition")) == (kind, disposition)


async def test_a_token_in_the_environment_is_not_mixed_with_other_keys(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = s3_settings(s3, s3.bucket())
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-lambda")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    await Bucket(settings).save("x", pieces(b"abc"), "text/plain")
    assert await Bucket(settings).size("x") == 3


@pytest.mark.parametrize("verb", ["save", "read", "size", "delete", "pages", "folders"])
async def test_errors_of_the_storage_are_one_error_and_show_no_secret(verb: str, s3: S3) -> None:
    bucket = Bucket(s3_settings(s3, "no-such-bucket-anywhere"))
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "save": lambda: bucket.save("secret-key", pieces(b"x"), "text/plain"),
        "read": lambda: content(bucket, "secret-key"),
        "size": lambda: bucket.size("secret-key/../x"),
        "delete": lambda: bucket.delete(["secret-key/../x"]),
        "pages": lambda: everything(bucket),
        "folders": lambda: bucket.folders("secret-key/../x"),
    }
    with pytest.raises(StorageError) as caught:
        await calls[verb]()
    assert "secret" not in str(caught.value) and "http" not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


async def test_without_storage_nothing_is_saved() -> None:
    with pytest.raises(StorageError):
        await Bucket(settings_for(None)).save("x", pieces(b"x"), "text/plain")
