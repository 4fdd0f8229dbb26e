"""A TCP port in front of the server's unix socket that counts round trips.

A round trip begins with bytes that a client sends after it has received some. A pipeline is one, however many commands
it holds.
"""

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

BLOCK = 1 << 16
START_DEADLINE = 10.0  # s


class Relay:
    """Listens on ``port`` of the loopback until the block ends; ``trips`` counts the round trips so far."""

    port: int

    def __init__(self, socket_path: str) -> None:
        self._path = socket_path
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._open: set[asyncio.Task[None]] = set()
        self.trips = 0

    def __enter__(self) -> Self:
        self._thread.start()
        start = asyncio.start_server(self._connect, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result(START_DEADLINE)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(START_DEADLINE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        to_engine: asyncio.StreamWriter | None = None
        try:
            from_engine, to_engine = await asyncio.open_unix_connection(self._path)
            connection = _Connection(self)
            requests = asyncio.create_task(_pass(reader, to_engine, connection.sent))
            replies = asyncio.create_task(_pass(from_engine, writer, connection.received))
            self._open |= {requests, replies}
            await asyncio.wait([requests, replies], return_when=asyncio.FIRST_COMPLETED)
            requests.cancel()
            replies.cancel()
            self._open -= {requests, replies}
        except (OSError, asyncio.CancelledError):  # asyncio would print a traceback for a cancelled handler
            pass
        finally:
            for end in filter(None, (writer, to_engine)):
                end.close()
            self._open.discard(task)


class _Connection:
    """Counts a round trip for its relay when the direction changes."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._is_waiting = False

    def sent(self) -> None:
        if not self._is_waiting:
            self._relay.trips += 1
        self._is_waiting = True

    def received(self) -> None:
        self._is_waiting = False


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter, note: Callable[[], None]) -> None:
    try:
        while block := await source.read(BLOCK):
            note()
            sink.write(block)
            await sink.drain()
    except (OSError, asyncio.CancelledError):
        pass
