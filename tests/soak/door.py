"""A proxy in front of a server: passes connections on to any live instance, with latency."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

HOST = "127.0.0.1"
CHUNK = 65_536
SAME_MESSAGE = 0.01  # s; a chunk that follows so soon belongs to the same message


class Door:
    """Listens on its own port and passes each connection on to one of the ports that ``behind`` returns.

    It skips a port that refuses connections, as a platform's load balancer does. What was sent to an instance that
    then dies is lost. Each message takes a random time between the two numbers of ``latency`` (s), in each direction.
    """

    def __init__(self, behind: Callable[[], Sequence[int]], latency: tuple[float, float] = (0.0, 0.0)) -> None:
        self.url = ""
        self._behind = behind
        self._latency = latency
        # Not seeded, since the order of connections is random anyway.
        self._random = random.Random()
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Starts to listen, and sets ``url``."""
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        self.url = f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Cuts all open connections."""
        if self._server is not None:
            self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            found = await self._connect()
            if found is not None:
                inner_reader, inner_writer = found
                try:
                    await self._both_ways(reader, writer, inner_reader, inner_writer)
                finally:
                    inner_writer.close()
        finally:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        ports = list(self._behind())
        self._random.shuffle(ports)
        for port in ports:
            with suppress(OSError):
                return await asyncio.open_connection(HOST, port)
        return None

    async def _both_ways(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        inner_reader: asyncio.StreamReader,
        inner_writer: asyncio.StreamWriter,
    ) -> None:
        """Returns when either side has closed and all earlier data has been passed on."""
        ways = (
            asyncio.create_task(self._one_way(reader, inner_writer)),
            asyncio.create_task(self._one_way(inner_reader, writer)),
        )
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _one_way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0.0
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                if self._latency[1] and time.monotonic() - passed > SAME_MESSAGE:
                    await asyncio.sleep(self._random.uniform(*self._latency))
                writer.write(chunk)
                await writer.drain()
                passed = time.monotonic()
