"""A copy of a provider's file is complete, or absent with an error code."""

import asyncio
import gzip
import hashlib
import random
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.simulator.media import video
from shared.egress import Guard, guarded_client
from shared.storage import spool as spooling
from shared.storage.bucket import Bucket
from shared.storage.copying import Copied, copy_file
from shared.storage.source import BLOCK, CopyFailed, Unpacked
from shared.storage.spool import Spool
from tests.buckets import S3, content, everything, file_settings, memory_settings, s3_settings
from tests.sources import Answer, chunked, ok, serving, status

LONG = b"\x00\x00" + random.Random(1).randbytes(11 * 1024 * 1024)
MAX_ITEMS = 64 * 1024 * 1024


@pytest.fixture(scope="module")
def film() -> bytes:
    return video("a copied film")


@pytest.fixture(params=["file", "memory", pytest.param("s3", marks=pytest.mark.exhaustive)])
def any_bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Bucket:
    if request.param == "file":
        return Bucket(file_settings(tmp_path))
    if request.param == "memory":
        return Bucket(memory_settings())
    server = request.getfixturevalue("s3")
    return Bucket(s3_settings(server, server.bucket()))


@pytest.fixture
def bucket() -> Bucket:
    return Bucket(memory_settings())


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as built:
        yield built


def key_for(extension: str) -> str:
    return f"results/0.{extension}"


async def copied(client: Any, url: str, bucket: Bucket, **changes: Any) -> Copied:
    values: dict[str, Any] = {"max_bytes": MAX_ITEMS, "spool": None, "timeout": 30.0}
    return await copy_file(client, url, bucket, key_for, **(values | changes))


async def failure(client: Any, answer: Answer, bucket: Bucket, **changes: Any) -> tuple[str, bool]:
    """The error's code, and whether it is retryable; asserts that bucket and spool are empty."""
    async with serving(x=answer) as served:
        with pytest.raises(CopyFailed) as caught:
            await copied(client, f"{served.url}/x?token=secret", bucket, **changes)
    assert await everything(bucket) == []
    assert "secret" not in str(caught.value)
    return caught.value.code, caught.value.retryable


async def test_a_film_is_kept_byte_by_byte(film: bytes, client: httpx.AsyncClient, any_bucket: Bucket) -> None:
    async with serving(film=ok(film)) as served:
        kept = await copied(client, f"{served.url}/film", any_bucket)
    digest = hashlib.sha256(film).hexdigest()
    assert kept == Copied("results/0.mp4", len(film), digest, "video/mp4")
    assert await content(any_bucket, kept.key) == film


@pytest.mark.parametrize("answer", [ok(LONG), chunked(LONG[:1], LONG[1:7], LONG[7:])], ids=["length", "chunked"])
async def test_a_long_file_is_kept_in_pieces_of_any_size(
    answer: Answer, client: httpx.AsyncClient, any_bucket: Bucket, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    async with serving(long=answer) as served:
        kept = await copied(client, f"{served.url}/long", any_bucket, spool=spool)
    assert kept == Copied("results/0.bin", len(LONG), hashlib.sha256(LONG).hexdigest(), "application/octet-stream")
    assert await content(any_bucket, kept.key) == LONG == spool.read_bytes()


async def test_the_file_is_asked_for_as_it_is(film: bytes, client: httpx.AsyncClient, bucket: Bucket) -> None:
    async with serving(film=ok(film)) as served:
        await copied(client, f"{served.url}/film", bucket)
    assert len(served.asked) == 1 and "accept-encoding: identity\r\n" in served.asked[0].lower()


@pytest.mark.parametrize(
    ("answer", "code", "retryable"),
    [
        (status(404), "source_gone", True),
        (status(410), "source_gone", False),
        (status(403), "source_gone", True),
        (status(401), "source_unavailable", False),
        (status(429), "source_unavailable", True),
        (status(500), "source_unavailable", True),
        (status(503), "source_unavailable", True),
        (status(206), "source_unavailable", True),
        (status(302, Location="/elsewhere"), "redirected", False),
        (status(302, Location="http://["), "redirected", False),
        (status(308), "redirected", False),
        (ok(b""), "empty", True),
        (chunked(), "empty", True),
        (ok(LONG, length=len(LONG) + 1), "source_unavailable", True),
        (ok(b"abc", length=5), "source_unavailable", True),
        (chunked(LONG, is_ended=False), "source_unavailable", True),
        (Answer([b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\nabc"]), "source_unavailable", True),
        (Answer([b"not HTTP at all\r\n\r\n"]), "source_unavailable", True),
        (Answer([]), "source_unavailable", True),
        (ok(b"abc", Content_Encoding="br"), "source_unavailable", False),
        (ok(b"abc", Content_Encoding="gzip"), "source_unavailable", True),
        (ok(gzip.compress(LONG)[:-3], Content_Encoding="gzip"), "source_unavailable", True),
    ],
    ids=lambda value: None if isinstance(value, Answer) else str(value),
)
async def test_an_incomplete_file_is_not_kept(
    answer: Answer, code: str, retryable: bool, client: httpx.AsyncClient, any_bucket: Bucket, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    assert await failure(client, answer, any_bucket, spool=spool) == (code, retryable)
    assert not spool.exists()


async def test_an_unreadable_location_is_no_crash(bucket: Bucket) -> None:
    """httpx fails on it outside its own exceptions, so the guarded client removes the header."""
    async with guarded_client(Guard(allow_loopback=True), httpx.Timeout(10)) as client:
        assert await failure(client, status(302, Location="http://[::1"), bucket) == ("redirected", False)


async def test_an_announced_length_beyond_the_most_is_not_even_read(client: httpx.AsyncClient, bucket: Bucket) -> None:
    answer = Answer([b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"], hangs=True)
    assert await failure(client, answer, bucket, max_bytes=100) == ("too_large", False)
    vast = Answer([b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % (b"9" * 19)], hangs=True)
    assert await failure(client, vast, bucket, max_bytes=100) == ("too_large", False)


async def test_a_file_that_grows_beyond_the_most_is_given_up(client: httpx.AsyncClient, any_bucket: Bucket) -> None:
    answer = chunked(LONG, is_ended=False)
    answer.hangs = True
    assert await failure(client, answer, any_bucket, max_bytes=len(LONG) // 2) == ("too_large", False)


async def test_a_file_of_just_the_most_is_kept(client: httpx.AsyncClient, bucket: Bucket) -> None:
    async with serving(long=ok(LONG)) as served:
        assert (await copied(client, f"{served.url}/long", bucket, max_bytes=len(LONG))).size == len(LONG)


@pytest.mark.parametrize(
    "packed", [gzip.compress(LONG), gzip.compress(LONG[:5_000_000]) + gzip.compress(LONG[5_000_000:])],
    ids=["one member", "two members"],
)  # fmt: skip
async def test_a_packed_file_is_kept_unpacked(packed: bytes, client: httpx.AsyncClient, bucket: Bucket) -> None:
    async with serving(long=ok(packed, Content_Encoding="gzip")) as served:
        kept = await copied(client, f"{served.url}/long", bucket)
    assert (kept.size, kept.sha256) == (len(LONG), hashlib.sha256(LONG).hexdigest())


async def test_a_small_answer_that_unpacks_to_a_large_file_is_given_up(
    client: httpx.AsyncClient, bucket: Bucket
) -> None:
    bomb = gzip.compress(bytes(300 * 1024 * 1024), 9)
    assert await failure(client, ok(bomb, Content_Encoding="gzip"), bucket) == ("too_large", False)


def test_unpacking_gives_no_more_than_a_block_at_once() -> None:
    packed = zlib.compress(bytes(5 * BLOCK + 7), wbits=31)
    unpacked = Unpacked(is_packed=True)
    sizes = [len(piece) for at in range(0, len(packed), 100) for piece in unpacked.of(packed[at : at + 100])]
    assert max(sizes) <= BLOCK and sum(sizes) == 5 * BLOCK + 7 and unpacked.is_whole


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nabc"], ids=["head", "body"])
async def test_a_server_that_falls_silent_is_waited_for_until_the_deadline(
    sent: bytes, client: httpx.AsyncClient, any_bucket: Bucket
) -> None:
    answer = Answer([sent], hangs=True)
    assert await failure(client, answer, any_bucket, timeout=0.2) == ("source_unavailable", True)


async def test_a_server_that_is_slower_than_the_client_allows_is_unavailable(bucket: Bucket) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=0.1) as client:
        assert await failure(client, Answer([b""], hangs=True), bucket) == ("source_unavailable", True)


async def test_a_closed_port_is_unavailable(client: httpx.AsyncClient, bucket: Bucket) -> None:
    for url in ("http://127.0.0.1:1/x", "http://[", "ftp://files.acme.net/x", "x", "http://\udc80"):
        with pytest.raises(CopyFailed) as caught:
            await copied(client, url, bucket)
        assert (caught.value.code, caught.value.retryable) == ("source_unavailable", True)


async def test_a_refused_address_and_an_unknown_name_have_their_own_codes(bucket: Bucket) -> None:
    async def resolver(host: str, port: int) -> list[str]:
        if host.startswith("gone"):
            raise OSError
        return ["10.0.0.1"]

    async with guarded_client(Guard(resolver=resolver), httpx.Timeout(10)) as client:
        for host, code, retryable in (("inside", "address_refused", False), ("gone", "unresolved", True)):
            with pytest.raises(CopyFailed) as caught:
                await copied(client, f"https://{host}.acme.net/x", bucket)
            assert (caught.value.code, caught.value.retryable) == (code, retryable)


async def test_an_unreachable_storage_has_its_own_code(film: bytes, client: httpx.AsyncClient, s3: S3) -> None:
    async with serving(film=ok(film)) as served:
        with pytest.raises(CopyFailed) as caught:
            await copied(client, f"{served.url}/film", Bucket(s3_settings(s3, "no-such-bucket-anywhere")))
    assert (caught.value.code, caught.value.retryable) == ("storage_unavailable", True)


async def test_a_storage_that_falls_silent_has_its_own_code(client: httpx.AsyncClient) -> None:
    class Silent(Bucket):
        async def save(self, key: str, chunks: AsyncIterator[bytes], content_type: str) -> None:
            await anext(chunks)
            await asyncio.Event().wait()

    async with serving(long=ok(LONG)) as served:
        with pytest.raises(CopyFailed) as caught:
            await copied(client, f"{served.url}/long", Silent(memory_settings()), timeout=0.3)
    assert (caught.value.code, caught.value.retryable) == ("storage_unavailable", True)


async def test_a_cancelled_copy_leaves_nothing(client: httpx.AsyncClient, s3: S3, tmp_path: Path) -> None:
    name, spool = s3.bucket(), tmp_path / "spool"
    bucket = Bucket(s3_settings(s3, name))
    answer = ok(LONG, length=len(LONG) + 1)
    answer.hangs = True
    async with serving(long=answer) as served:
        copying = asyncio.create_task(copied(client, f"{served.url}/long", bucket, spool=spool))
        while not s3.dangling(name):
            await asyncio.to_thread(s3.dangling, name)
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
    assert (await everything(bucket), s3.dangling(name), spool.exists()) == ([], [], False)


async def test_a_spool_beyond_its_most_is_dropped_and_the_file_kept(
    client: httpx.AsyncClient, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "MAX_SPOOLED", 3 * 1024 * 1024)
    spool = tmp_path / "spool"
    async with serving(long=ok(LONG)) as served:
        kept = await copied(client, f"{served.url}/long", bucket, spool=spool)
    assert (kept.size, spool.exists()) == (len(LONG), False)


async def test_a_disk_that_takes_no_spool_is_no_obstacle(
    film: bytes, client: httpx.AsyncClient, bucket: Bucket, tmp_path: Path
) -> None:
    async with serving(film=ok(film)) as served:
        kept = await copied(client, f"{served.url}/film", bucket, spool=tmp_path / "none" / "spool")
    assert kept.size == len(film)


async def test_a_spool_is_there_only_once_it_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    spool = Spool(path)
    await spool.write(b"abc")
    await spool.close()
    await spool.write(b"def")
    assert not path.exists() and not await spool.finish()
    spool = Spool(path)
    await spool.write(b"abc")
    assert await spool.finish()
    await spool.close()
    assert path.read_bytes() == b"abc"
