"""Servers that answer the store's HTTP client in every way, and a client of them."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, cast

from shared.store.connection import Answer
from shared.store.wire import Wire

Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter
OK = b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\nUpstash-Sync-Token: t1\r\n\r\n{"result":1}'


class Server:
    """Answers the n-th request of all connections with the n-th of ``answers``, and the last of these ever after."""

    def __init__(self, *answers: bytes, closes: bool = False) -> None:
        self._answers = list(answers)
        self._closes = closes
        self.connections = 0
        self.requests: list[bytes] = []

    async def serve(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        while (request := await request_of(reader)) is not None:
            self.requests.append(request)
            writer.write(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])
            if self._closes:
                break


async def request_of(reader: Reader) -> bytes | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return head + await reader.readexactly(length)


@asynccontextmanager
async def client_of(
    serve: Callable[[Reader, Writer], Awaitable[None]],
    tls: ssl.SSLContext | None = None,
    trust: ssl.SSLContext | None = None,
) -> AsyncIterator[Wire]:
    tasks: list[asyncio.Task[None]] = []

    async def noted(reader: Reader, writer: Writer) -> None:
        tasks.append(cast("asyncio.Task[None]", asyncio.current_task()))
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(noted, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    client = Wire(f"{scheme}://localhost:{server.sockets[0].getsockname()[1]}", trust, 1.0)
    yield client
    await client.aclose()
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)


async def post(client: Wire, command: Any = ("PING",)) -> Answer:
    return await client.post("http://127.0.0.1/", headers={"Authorization": "Bearer t"}, json=list(command))
