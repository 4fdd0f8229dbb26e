"""A door in front of a server: connections pass through to whichever instance lives, and may take their time."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

HOST = "127.0.0.1"
CHUNK = 65_536
SAME_MESSAGE = 0.01  # s; what follows on a chunk so soon belongs to it


class Door:
    """Listens on a port of its own and passes each connection on to one of the ports that ``behind`` names.

    A port where nobody listens is passed over, as a platform's load balancer does; what was sent to an instance that
    then dies is lost. Each message takes between ``latency``'s two numbers of seconds, in each direction.
    """

    def __init__(self, behind: Callable[[], Sequence[int]], latency: tuple[float, float] = (0.0, 0.0)) -> None:
        self.url = ""
        self._behind = behind
        self._latency = latency
        # Not from the seed: the order of connections is not either.
        self._random = random.Random()
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Starts to listen; ``url`` says where."""
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        self.url = f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Cuts what still passes."""
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
        """Returns when either side has closed, after what came before has been passed on."""
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
