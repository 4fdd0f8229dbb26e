"""The application behind a real server, and connections that send what no HTTP client would."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

HOST = "127.0.0.1"


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[int]:
    """Serves the application in this loop, so with the test's runtime; yields the port."""
    listener = socket.create_server((HOST, 0))
    # The keep-alive is longer than a test: only the application may close a connection.
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, timeout_keep_alive=60)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        server.force_exit = True
        await serving
        listener.close()


class Wire:
    """One connection, written and read as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self._writer.write(part)
        await self._writer.drain()

    async def send_for_ever(self, part: bytes, pause: float = 0.0) -> None:
        """Returns once the server no longer takes the parts."""
        try:
            while True:
                await self.send(part)
                await asyncio.sleep(pause)
        except ConnectionError:
            return

    async def status(self) -> int:
        """The status of the next answer."""
        return int((await self._reader.readline()).split(b" ")[1])

    async def read_some(self) -> bytes:
        """The next bytes of an answer."""
        return await self._reader.read(4096)

    async def ended(self) -> bytes:
        """What comes until the server closes the connection."""
        try:
            return await self._reader.read()
        except ConnectionError:
            return b""


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Wire]:
    """A connection to a server of this machine; whatever is open at the end of the block is cut."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


def head(method: str, path: str, **headers: str) -> bytes:
    """The first bytes of a request; underscores in the headers' names are hyphens."""
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    return f"{method} {path} HTTP/1.1\r\nHost: sluice.test\r\n{''.join(lines)}\r\n".encode()
