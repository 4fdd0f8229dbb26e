"""Which connections the calls of a provider use, counted at a server."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import SecretStr

from shared.config.settings import Settings
from shared.egress import Guard, guarded_client
from shared.providers.base import Accepted, Prediction, ProviderUnavailable, SubmissionOutcome, Throttled
from shared.providers.calls import Answer, Calls
from shared.store.client import http_client
from shared.tls import tls_context

ANSWER = json.dumps({"id": "p1", "status": "starting"}).encode()


@dataclass
class KeepingServer:
    """Answers every request with a prediction and keeps the connection; ``paths`` has one list for each connection."""

    url: str = ""
    paths: list[list[str]] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen: list[str] = []
        self.paths.append(seen)
        self.writers.append(writer)
        while head := await self._head(reader):
            lines = head.decode().split("\r\n")
            seen.append(lines[0].split()[1])
            length = next((int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length")), 0)
            await reader.readexactly(length)
            writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER))
            await writer.drain()

    @staticmethod
    async def _head(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""


@asynccontextmanager
async def keeping_server() -> AsyncIterator[tuple[KeepingServer, Calls]]:
    served = KeepingServer()
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    served.url = f"http://{host}:{port}"
    calls = Calls("replicate", served.url, SecretStr("r8_token"), 5.0)
    try:
        yield served, calls
    finally:
        await calls.close()
        server.close()
        for writer in served.writers:
            writer.close()
        await server.wait_closed()


def accepted(answer: Answer) -> SubmissionOutcome:
    return Accepted(Prediction(str(answer.document["id"]), "running"))


async def test_a_create_has_a_connection_of_its_own_and_other_calls_share_one() -> None:
    async with keeping_server() as (served, calls):
        await calls.ask("GET", "a", 5)
        for _ in range(2):
            assert await calls.create("create", {}, 5, accepted) == Accepted(Prediction("p1", "running"))
        await calls.ask("GET", "b", 5)
    assert served.paths == [["/a", "/b"], ["/create"], ["/create"]]


async def test_a_server_that_drops_idle_connections_makes_no_create_unknown() -> None:
    async with keeping_server() as (served, calls):
        for _ in range(3):
            assert await calls.create("create", {}, 5, accepted) == Accepted(Prediction("p1", "running"))
            for writer in served.writers:
                writer.close()


async def test_all_clients_share_one_reading_of_the_certificates_and_only_when_they_are_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tls_context.cache_clear()
    reads: list[object] = []
    read = ssl.create_default_context

    def counted(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        reads.append(args)
        return read(*args, **kwargs)

    monkeypatch.setattr(ssl, "create_default_context", counted)
    async with keeping_server() as (served, calls):
        assert not {"_client", "_creator"} & calls.__dict__.keys() and not reads
        await calls.create("create", {}, 5, accepted)
        assert "_client" not in calls.__dict__
        await calls.ask("GET", "a", 5)
        async with guarded_client(Guard(allow_loopback=True), 5) as client:
            await client.get(f"{served.url}/hook")
        for kind in ("streams", "httpx"):
            store = Settings(upstash_redis_rest_url="https://store.example", store_client=kind)
            await http_client(store).aclose()
    assert len(reads) == 1


async def test_more_creates_than_there_are_connections_are_all_sent_once() -> None:
    async with keeping_server() as (served, calls):
        made = await asyncio.gather(*(calls.create("create", {}, 20, accepted) for _ in range(150)))
    assert made == [Accepted(Prediction("p1", "running"))] * 150
    assert served.paths == [["/create"]] * 150


async def test_a_call_that_gets_no_turn_was_surely_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.providers.calls.MAX_UNDER_WAY", 0)
    async with keeping_server() as (served, calls):
        assert await calls.create("create", {}, 0.1, accepted) == Throttled("provider_down", 2.0)
        with pytest.raises(ProviderUnavailable, match="too many"):
            await calls.ask("GET", "a", 0.1)
        calls._timeout = 0.1
        with pytest.raises(ProviderUnavailable, match="too many"):
            await calls.read("list", lambda _: None)
    assert served.paths == []
