"""Bodies that are slow, endless or not wanted: they hold no memory and no connection, on any route."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from shared.clock import SystemClock
from shared.errors import InvalidRequest
from shared.operations import OPERATIONS
from shared.providers.replicate_api import Replicate
from shared.requests.bodies import DRAIN_TIMEOUT, BoundedBodies
from shared.signing.webhooks import sign
from tests.http.calls import BODY, webhook_url
from tests.http.serving import Wire, connected, head, served
from tests.world import AUTH, OPERATOR, PROCESSOR, World, http_client, make_world, settings_for

SECRET = "whsec_" + "QUJD" * 8
CHUNK = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
VALUES = {
    "job_id": "job_1", "batch_id": "bat_1", "provider": "replicate", "user_id:path": "ada", "key:path": "x",
    "key_id": "0" * 12, "silence_id": "0" * 16,
}  # fmt: skip
WITH_BODIES = [operation for operation in OPERATIONS if operation.method not in ("GET", "HEAD")]


def path_of(template: str) -> str:
    return re.sub(r"{([^}]+)}", lambda found: VALUES[found[1]], template)


def authorization(path: str) -> str:
    """What lets a call of this path read its body, where a token does."""
    roles = {"/api/operate": OPERATOR, "/api/process-queue": PROCESSOR}
    return next(
        (role["Authorization"] for start, role in roles.items() if path.startswith(start)), AUTH["Authorization"]
    )


async def test_an_endless_body_is_closed_on_every_route(valkey_world: World) -> None:
    from functions.index import app

    assert len(WITH_BODIES) > 15
    async with served(app) as port:
        for operation in WITH_BODIES:
            path = path_of(operation.path)
            fields = {"Authorization": authorization(path), "Content_Type": "application/json"}
            async with connected(port) as wire, asyncio.timeout(DRAIN_TIMEOUT + 10):
                await wire.send(head(operation.method, path, Transfer_Encoding="chunked", **fields))
                endless = asyncio.create_task(wire.send_for_ever(CHUNK))
                assert await wire.status() >= 200, path
                await wire.ended()
                await endless


async def slow(wire: Wire, *parts: bytes) -> int:
    await wire.send(*parts)
    status = await wire.status()
    await wire.ended()  # without an end of the connection, the test's own deadline ends it
    return status


async def test_a_body_that_does_not_come_is_408_and_its_connection_is_closed(valkey_world: World) -> None:
    from functions.index import app

    fields = {"Authorization": AUTH["Authorization"], "Content_Type": "application/json"}
    async with served(BoundedBodies(app, 0.2)) as port, asyncio.timeout(10):
        async with connected(port) as wire:
            assert await slow(wire, head("POST", "/api/submit", Content_Length="50", **fields), b'{"model":') == 408
        async with connected(port) as wire:
            # A byte now and then is no better: the limit is for the whole body.
            drip = head("POST", "/api/batches", Transfer_Encoding="chunked", **fields)
            await wire.send(drip)
            dripping = asyncio.create_task(wire.send_for_ever(b"1\r\n{\r\n", pause=0.05))
            assert await wire.status() == 408
            await wire.ended()
            await dripping


async def send_parts(wire: Wire, number: int) -> None:
    with suppress(ConnectionError):
        for _ in range(number):
            await wire.send(b"x" * 20_000)
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("method", "path", "declared", "status"),
    [
        ("PUT", "/api/files/uploads/x", 400_000, 200),
        ("POST", "/api/files/uploads/x", 400_000, 408),
        ("PUT", "/api/jobs/job_1", 400_000, 408),
        ("PUT", "/api/files/uploads/x", 10**12, 408),  # more than may be uploaded gives no more time
    ],
)
async def test_only_an_upload_has_time_by_its_declared_length(
    method: str, path: str, declared: int, status: int
) -> None:
    """The parts come at twice the least rate, and take ten times as long as another body may."""

    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await Request(scope, receive).body()
        except InvalidRequest as late:
            await Response(status_code=late.http_status)(scope, receive, send)
        else:
            await Response(status_code=200 if len(body) == declared else 500)(scope, receive, send)

    max_upload = 1000 if declared > 400_000 else 400_000
    async with served(BoundedBodies(reads, 0.2, max_upload)) as port, connected(port) as wire, asyncio.timeout(30):
        await wire.send(head(method, path, Content_Length=str(declared)))
        sending = asyncio.create_task(send_parts(wire, 20))
        assert await wire.status() == status
        await sending


async def test_a_small_body_that_is_not_read_keeps_its_connection(valkey_world: World) -> None:
    from functions.index import app

    async with served(app) as port, connected(port) as wire, asyncio.timeout(10):
        for _ in range(2):
            await wire.send(head("POST", "/api/submit", Content_Length="2"), b"{}")
            answer = b""
            while not answer.endswith(b"}"):
                answer += await wire.read_some()
            assert answer.startswith(b"HTTP/1.1 401 ") and b"connection: close" not in answer


async def test_a_stream_that_has_begun_does_not_end_for_a_body_that_does_not_come() -> None:
    async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.sleep(0.3)
            yield b"last"

        await StreamingResponse(pieces())(scope, receive, send)

    async with served(BoundedBodies(streaming, 0.1)) as port, connected(port) as wire, asyncio.timeout(20):
        await wire.send(head("GET", "/", Content_Length="5"))
        answer = await wire.ended()
    assert answer.startswith(b"HTTP/1.1 200 ") and b"last" in answer and b"connection: close" in answer


class CountedBody:
    """A body that counts how much of it was taken."""

    def __init__(self, parts: list[bytes]) -> None:
        self.parts = parts
        self.taken = 0

    async def __aiter__(self):  # type: ignore[no-untyped-def]
        for part in self.parts:
            self.taken += len(part)
            yield part


async def posted_to_webhook(world: World, query: str, headers: dict[str, str], body: CountedBody) -> httpx.Response:
    async with http_client() as client:
        return await client.post(query, content=body, headers=headers)


def signed(world: World, body: bytes, **changes: str) -> dict[str, str]:
    stamp = world.clock.now() // 1000
    made = {"webhook-id": "m", "webhook-timestamp": str(stamp), "webhook-signature": sign(SECRET, "m", stamp, body)}
    return made | {name.replace("_", "-"): value for name, value in changes.items()}


async def test_a_webhook_is_read_only_with_a_nonce_and_headers_that_may_be_right() -> None:
    changes = {"replicate_webhook_secret": SECRET}
    replicate = Replicate(settings_for(None, **changes))
    async with make_world(None, SystemClock(), {"replicate": replicate}, **changes) as world:
        await world.enqueue(start=True, job_id="job_1")
        right = await webhook_url(world, "job_1")
        old = str(world.clock.now() // 1000 - 301)
        refused = [
            (right.replace("nonce=", "nonce=0"), signed(world, b"")),
            (right, {}),
            (right, signed(world, b"", webhook_signature="v2,QUJD")),
            (right, signed(world, b"", webhook_timestamp=old)),
            (right.replace("webhook/replicate", "webhook/nobody"), signed(world, b"")),
        ]
        for url, headers in refused:
            body = CountedBody([b"x" * 1_000_000] * 10)
            assert (await posted_to_webhook(world, url, headers, body)).status_code == 401
            assert body.taken <= 1_000_000  # what the transport of tests reads ahead, or the drain drops
        body = CountedBody([b'{"id": "p1", ', b'"status": "processing"}'])
        whole = b"".join(body.parts)
        assert (await posted_to_webhook(world, right, signed(world, whole), body)).json() == {"result": "running"}


async def test_a_body_that_announces_too_much_is_refused_unread(valkey_world: World) -> None:
    async with http_client(**AUTH) as client:
        body = CountedBody([b"x"] * 100)
        headers = {"content-type": "application/json", "content-length": "65537"}
        answer = await client.post("/api/submit", content=body, headers=headers)
        assert answer.status_code == 413
        assert (await client.post("/api/submit", json=BODY)).status_code == 202


async def test_pages_and_statuses_are_kept_by_their_bytes(valkey_world: World) -> None:
    batch = {"user_id": "ada", "model": "acme/video", "jobs": [{"input": {}}, {"input": {}}]}
    async with http_client(**AUTH) as client:
        batch_id = (await client.post("/api/batches", json=batch)).json()["id"]
        job_id = (await client.post("/api/submit", json=BODY | {"user_id": "eve"})).json()["id"]
        pages = [f"/api/batches/{batch_id}?count={count}" for count in range(3)]
        answers = [await client.get(path) for path in (*pages, f"/api/status/{job_id}")]
        assert valkey_world.runtime.cache.held_bytes == sum(len(answer.content) for answer in answers)
