"""Uploads, and the deployment's own file route: links, ranges, content types."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.rest_server.running import RunningServer
from shared.clock import ManualClock, iso
from shared.storage import layout
from shared.storage.bucket import Bucket, StorageError
from tests.buckets import KEYS, content, everything, pieces
from tests.http.calls import problem
from tests.world import AUTH, World, http_client, make_world

FILM = bytes(range(256)) * 12_000
KEY = "results/2027-01-15/" + "0" * 32 + "/job_1/0.mp4"
WANTED: dict[str, Any] = {"user_id": "ada", "content_type": "image/png", "size": 5}


@pytest.fixture(params=["file", pytest.param("memory", marks=pytest.mark.exhaustive)])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """The store does not matter here: memory's."""
    url = (tmp_path / "kept files").as_uri() if request.param == "file" else f"memory://{uuid4().hex}"
    async with make_world(None, ManualClock(), storage_url=url, upload_max_bytes=1000) as made:
        yield made


@pytest.fixture
async def anonymous(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client() as made:
        yield made


async def kept(world: World, key: str = KEY, data: bytes = FILM, **changes: Any) -> str:
    """The URL of a stored file."""
    await world.runtime.bucket.save(key, pieces(data), "video/mp4")
    return world.runtime.bucket.url(key, world.clock.now(), **changes)


async def test_a_file_is_served_whole_to_any_bearer_of_its_link(world: World, anonymous: httpx.AsyncClient) -> None:
    url = await kept(world)
    assert url.startswith("/api/files/results/")
    answer = await anonymous.get(url)
    assert answer.status_code == 200 and answer.content == FILM
    assert answer.headers["content-type"] == "video/mp4" and answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["accept-ranges"] == "bytes" and "content-disposition" not in answer.headers
    assert answer.headers["cache-control"].startswith("private, max-age=")
    head = await anonymous.head(url)
    assert head.status_code == 200 and head.content == b""
    assert {**head.headers} == {**answer.headers} and int(head.headers["content-length"]) == len(FILM)
    known = await anonymous.get(url, headers={"If-None-Match": answer.headers["etag"]})
    assert known.status_code == 304 and known.content == b""


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, len(FILM)),
        ("bytes=0-" + "9" * 23, 0, len(FILM)),
        ("bytes=100-199", 100, 200),
        ("bytes=2999999-", 2_999_999, len(FILM)),
        ("bytes=-10", len(FILM) - 10, len(FILM)),
        ("bytes=-99999999", 0, len(FILM)),
        ("Bytes=5-99999999", 5, len(FILM)),
    ],
)
async def test_a_browser_gets_the_range_it_asks_for(
    world: World, anonymous: httpx.AsyncClient, asked: str, start: int, end: int
) -> None:
    url = await kept(world)
    answer = await anonymous.get(url, headers={"Range": asked})
    assert answer.status_code == 206 and answer.content == FILM[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(FILM)}"
    assert int(answer.headers["content-length"]) == end - start
    etag = answer.headers["etag"]
    assert (await anonymous.get(url, headers={"Range": asked, "If-Range": etag})).status_code == 206
    assert (await anonymous.get(url, headers={"Range": asked, "If-Range": '"other"'})).status_code == 200
    assert (await anonymous.head(url, headers={"Range": asked})).status_code == 206


@pytest.mark.parametrize("asked", ["bytes=3072000-", "bytes=99999999-99999999", "bytes=-0"])
async def test_a_range_behind_the_end_is_416(world: World, anonymous: httpx.AsyncClient, asked: str) -> None:
    answer = await anonymous.get(await kept(world), headers={"Range": asked})
    assert problem(answer, 416, "range_not_satisfiable")["field"] == "Range"
    assert answer.headers["content-range"] == f"bytes */{len(FILM)}"


@pytest.mark.parametrize(
    "asked",
    ["", "bytes=", "bytes=-", "bytes=5-1", "bytes=0-1,3-4", "lines=0-1", "bytes=a-b", "bytes=" + "9" * 400 + "-"],
)
async def test_anything_but_a_single_range_gets_the_whole_file(
    world: World, anonymous: httpx.AsyncClient, asked: str
) -> None:
    answer = await anonymous.get(await kept(world), headers={"Range": asked})
    assert answer.status_code == 200 and len(answer.content) == len(FILM)


async def test_an_empty_file_is_served(world: World, anonymous: httpx.AsyncClient) -> None:
    url = await kept(world, data=b"")
    answer = await anonymous.get(url)
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")
    problem(await anonymous.get(url, headers={"Range": "bytes=0-"}), 416, "range_not_satisfiable")


async def test_a_signed_name_is_what_the_browser_saves_it_under(world: World, anonymous: httpx.AsyncClient) -> None:
    url = await kept(world, filename='a "film" é\r\nX: y.mp4')
    answer = await anonymous.get(url)
    assert answer.status_code == 200 and "x" not in answer.headers
    assert answer.headers["content-disposition"].startswith('attachment; filename="a _film_ ')
    problem(await anonymous.get(url.partition("&filename")[0]), 403, "link_refused")
    problem(await anonymous.get((await kept(world)) + "&filename=x"), 403, "link_refused")


@pytest.mark.parametrize("extension", ["html", "svg", "xml", "js", "xhtml", "mp4/x", "", "png", "txt", "json"])
async def test_nothing_is_served_as_active_content(world: World, anonymous: httpx.AsyncClient, extension: str) -> None:
    answer = await anonymous.get(await kept(world, f"{KEY}.{extension}", b"<script>"))
    assert answer.status_code == 200 and answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"].split("; ")
    kind = answer.headers["content-type"]
    if extension == "svg":  # usable in <img>, and a browser that opens it saves it instead
        assert (kind, answer.headers["content-disposition"]) == ("image/svg+xml", "attachment")
    else:
        assert not any(word in kind for word in ("html", "svg", "script", "xml")), kind


async def test_a_link_is_for_one_file_one_method_and_its_time(world: World, anonymous: httpx.AsyncClient) -> None:
    url = await kept(world)
    await kept(world, KEY.replace("/0.", "/1."))
    signature = dict(parse_qsl(urlsplit(url).query))["signature"]
    for bad in (
        url.replace("/0.mp4", "/1.mp4"), url.replace("/job_1/", "/job_1//"), url.replace("expires=1", "expires=2"),
        url.replace(signature, "0" * 32), url.replace("&signature", "&x"), url.partition("?")[0], "/api/files/",
        "/api/files/..%2F..%2Fetc%2Fpasswd", "/api/files/%ff%00?expires=1&signature=%ff", f"{url}&signature=0",
    ):  # fmt: skip
        problem(await anonymous.get(bad), 403, "link_refused")
        assert (await anonymous.head(bad)).status_code == 403
    answer = await anonymous.put(url, content=b"12345", headers={"Content-Type": "image/png"})
    problem(answer, 403, "link_refused")
    world.manual.advance(3 * 3600)
    problem(await anonymous.get(url), 403, "link_refused")


async def test_a_file_that_is_gone_is_404(world: World, anonymous: httpx.AsyncClient) -> None:
    url = await kept(world)
    await world.runtime.bucket.delete([KEY])
    problem(await anonymous.get(url), 404, "no_such_file")


@pytest.mark.parametrize("verb", ["size", "read"])
async def test_a_storage_that_fails_is_503(
    world: World, anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    url = await kept(world)

    async def fails(*_: object) -> None:
        raise StorageError("size")

    async def breaks(*_: object) -> AsyncIterator[bytes]:
        raise StorageError("read")
        yield b""

    monkeypatch.setattr(Bucket, verb, fails if verb == "size" else breaks)
    problem(await anonymous.get(url), 503, "storage_unavailable")


@pytest.mark.parametrize("url", ["s3://files", None])
async def test_with_a_bucket_or_without_storage_there_is_no_such_route(url: str | None) -> None:
    async with make_world(None, ManualClock(), storage_url=url, **KEYS), http_client() as client:
        problem(await client.get(f"/api/files/{KEY}"), 404, "not_found")
        problem(await client.put(f"/api/files/{KEY}", content=b"x"), 404, "not_found")


async def test_a_picture_is_uploaded_and_read(world: World, client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/uploads", json=WANTED)
    assert answer.status_code == 201 and answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["method"] == "PUT" and body["headers"] == {"Content-Type": "image/png", "Content-Length": "5"}
    assert body["expires_at"] == iso(world.clock.now() + 3_600_000)
    assert layout.user_folder("app", "ada") in body["url"]
    problem(await client.get(body["url"]), 404, "no_such_file")
    put = await client.put(body["upload_url"], content=b"12345", headers={"Content-Type": "image/png"})
    assert put.status_code == 200
    got = await client.get(body["url"])
    assert (got.content, got.headers["content-type"]) == (b"12345", "image/png") and "etag" not in got.headers
    again = await client.put(body["upload_url"], content=b"54321", headers={"Content-Type": "image/png"})
    assert again.status_code == 200 and (await client.get(body["url"])).content == b"54321"


async def test_an_upload_is_what_was_signed_or_it_is_not_kept(world: World, anonymous: httpx.AsyncClient) -> None:
    key = layout.upload_key(world.clock.now(), "app", "ada", "png")
    url, _ = world.runtime.bucket.upload_url(key, world.clock.now(), "image/png", 5)
    png = {"Content-Type": "image/png"}

    async def sent(*parts: bytes, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await anonymous.put(url, content=pieces(*parts), headers={**png, **named})

    assert problem(await sent(b"12345"), 411, "invalid_request")["field"] == "Content-Length"
    problem(await sent(b"12345", Content_Length="six"), 400, "invalid_request")
    problem(await sent(b"12345", Content_Length="9" * 5000), 413, "invalid_request")
    problem(await sent(b"12345", Content_Length="1001"), 413, "invalid_request")
    problem(await sent(b"1234", Content_Length="4"), 403, "link_refused")
    problem(await sent(b"12345", Content_Length="5", Content_Type="image/gif"), 403, "link_refused")
    problem(await sent(b"12345", Content_Length="5", Content_Type="image/svg+xml"), 415, "invalid_request")
    problem(await sent(b"12345", Content_Length="5", Content_Type=""), 415, "invalid_request")
    problem(await sent(b"123", b"456", b"7" * 100_000, Content_Length="5"), 413, "invalid_request")
    problem(await sent(b"123", Content_Length="5"), 400, "invalid_request")
    assert await everything(world.runtime.bucket) == []
    assert (await sent(b"123", b"45", Content_Length="5")).status_code == 200
    assert await content(world.runtime.bucket, key) == b"12345"
    world.manual.advance(3601)
    problem(await sent(b"12345", Content_Length="5"), 403, "link_refused")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"content_type": "image/svg+xml"}, "content_type"),
        ({"content_type": "text/html"}, "content_type"),
        ({"size": 0}, "size"),
        ({"size": -1}, "size"),
        ({"size": 1001}, "size"),
        ({"size": 10**400}, "size"),
        ({"size": "5"}, "size"),
        ({"size": True}, "size"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "a\nb"}, "user_id"),
        ({"filename": "x"}, "filename"),
    ],
)
async def test_an_upload_of_another_kind_is_refused(
    world: World, client: httpx.AsyncClient, change: dict[str, Any], field: str
) -> None:
    answer = await client.post("/api/uploads", json=WANTED | change)
    assert problem(answer, 422, "invalid_request")["field"] == field


async def test_without_storage_nothing_can_be_uploaded(valkey: RunningServer) -> None:
    async with make_world(valkey, ManualClock()), http_client(**AUTH) as client:
        problem(await client.post("/api/uploads", json=WANTED), 409, "no_storage")
        problem(await client.post("/api/uploads", json=WANTED, headers={"Authorization": "x"}), 401, "unauthenticated")


async def test_with_a_bucket_an_upload_goes_past_the_functions() -> None:
    async with make_world(None, ManualClock(), storage_url="s3://files", **KEYS), http_client(**AUTH) as client:
        body = (await client.post("/api/uploads", json=WANTED)).json()
    assert body["upload_url"].startswith("https://files.s3.") and "content-length" in body["upload_url"]
    assert body["url"].startswith("https://files.s3.") and "X-Amz-Signature" in body["url"]


TEXTS = st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace"))
NAMES = st.sampled_from(["expires", "signature", "filename", "x"])
FIELDS = st.sampled_from([b"Range", b"If-Range", b"If-None-Match", b"Content-Type", b"Content-Length"])
VALUES = st.binary(max_size=20).map(lambda value: bytes(byte for byte in value if byte > 31 and byte != 127))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(key=TEXTS, query=st.dictionaries(NAMES, TEXTS), headers=st.dictionaries(FIELDS, VALUES), body=VALUES)
async def test_no_request_makes_the_route_fail(
    world: World, key: bytes, query: dict[str, bytes], headers: dict[bytes, bytes], body: bytes
) -> None:
    url = f"/api/files/{quote(key, safe='')}?{urlencode(query)}"
    async with http_client() as client:
        for method in ("GET", "PUT"):
            content_ = body if method == "PUT" else None
            answer = await client.request(method, url, headers=list(headers.items()), content=content_)
            assert 400 <= answer.status_code < 500


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(asked=st.text(alphabet="bytes=-,0123456789 ", max_size=30), headers=st.dictionaries(FIELDS, VALUES))
async def test_no_range_makes_a_good_link_fail(world: World, asked: str, headers: dict[bytes, bytes]) -> None:
    url = await kept(world, data=b"0123456789")
    async with http_client() as client:
        answer = await client.get(url, headers=list((headers | {b"Range": asked.encode()}).items()))
    assert answer.status_code in (200, 206, 304, 416)
