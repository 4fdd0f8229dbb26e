"""A server between the store's client and the store, which breaks one exchange at the level of bytes.

                request                          answer
client  ──────────────────────▶  cutter  ──────────────────────▶  store
  unsent         reset at its first bytes
  half_sent      reset in its middle
  proxy_302/502  a proxy answers, and the store gets nothing
  noscript       the store has forgotten its scripts
                                 unanswered      applied, and the connection is reset
                                 cut_in_head     the same in the middle of the head
                                 cut_in_body     the same in the middle of the body
                                 proxy_lost      applied, and a proxy answers 502
                                 slow            applied, and the answer comes too late
  idle           kept connections are reset before the request is sent
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

END = b"\r\n\r\n"
IN_ITS_MIDDLE = 100  # bytes; each request is longer, since its head alone is
PASSED = ("idle", "noscript")  # what breaks is broken before the request comes
HTML = b"<html><body>a proxy</body></html>"
MOVED = b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.test/\r\nContent-Length: 0\r\n\r\n"
BAD_GATEWAY = (
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(HTML)
) + HTML  # fmt: skip


@dataclass
class Cut:
    """An order: how the next exchanges break whose request ends with these bytes, and how many are to."""

    kind: str
    ending: bytes
    left: int = 1
    struck: int = 0

    def reads(self) -> int | None:
        """Returns how many bytes of the next request come before it breaks; None if the whole does. Counts it."""
        if not self.left or self.kind not in ("unsent", "half_sent"):
            return None
        self.left -= 1
        self.struck += 1
        return 1 if self.kind == "unsent" else IN_ITS_MIDDLE

    def strikes(self, request: bytes) -> bool:
        """Whether it breaks this exchange; counts it."""
        if self.kind in PASSED or not self.left or not request.endswith(self.ending):
            return False
        if self.kind == "noscript_lost" and b'["EVALSHA"' in request:
            return False  # of the script that the store has forgotten, sent whole, the answer is lost
        self.left -= 1
        self.struck += 1
        return True


class Cutter:
    """Listens at ``url`` and passes each request on to the store, unless an order breaks it."""

    def __init__(self, store: str) -> None:
        self.url = ""
        self.requests = 0
        self._store = urlsplit(store)
        self._order: Cut | None = None
        self._applied = asyncio.Lock()  # a repeat comes after the request that it repeats
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Starts to listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Ends all connections."""
        if self._server is not None:
            self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def order(self, cut: Cut | None) -> None:
        """Puts an order in force, in place of the one before; None ends it."""
        self._order = cut
        if cut is not None and cut.kind == "idle":
            cut.struck += 1
            for writer in self._open:
                reset(writer)
            while self._open:
                await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        upstream = await asyncio.open_connection(self._store.hostname, self._store.port)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._exchange(reader, writer, *upstream):
                    pass
        finally:
            self._open.discard(writer)
            self._tasks.discard(task)
            upstream[1].transport.abort()
            writer.close()

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        store_reader: asyncio.StreamReader,
        store_writer: asyncio.StreamWriter,
    ) -> bool:
        """Passes one request and its answer on; returns whether the connection goes on."""

        async def apply() -> bytes:
            async with self._applied:
                store_writer.write(request)
                return await message_of(store_reader)

        first = await reader.readexactly(1)
        self.requests += 1
        if self._order is not None and (count := self._order.reads()):
            await reader.readexactly(count - 1)
            reset(writer)
            return False
        request = first + await message_of(reader)
        if self._order is None or not self._order.strikes(request):
            writer.write(await apply())
            return True
        return await self._broken(self._order.kind, apply, reader, writer)

    async def _broken(
        self,
        kind: str,
        apply: Callable[[], Awaitable[bytes]],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        match kind:
            case "proxy_302":
                writer.write(MOVED)
            case "proxy_502":
                writer.write(BAD_GATEWAY)
            case "proxy_lost":
                await apply()
                writer.write(BAD_GATEWAY)
            case "unanswered" | "noscript_lost":
                await apply()
                reset(writer)
                return False
            case "cut_in_head" | "cut_in_body":
                answer = await apply()
                head = answer.index(END) + len(END)
                writer.write(answer[: head // 2 if kind == "cut_in_head" else (head + len(answer)) // 2])
                await writer.drain()
                return False
            case "slow":
                await apply()
                await reader.read()  # until the client has gone
                return False
        return True


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection as a server does that has forgotten it."""
    if (opened := writer.get_extra_info("socket")) is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def message_of(reader: asyncio.StreamReader) -> bytes:
    """Returns the next request or answer, with its body."""
    head = await reader.readuntil(END)
    lines = head.lower().split(b"\r\n")
    length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
    return head + await reader.readexactly(length)
