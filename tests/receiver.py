"""An owner's endpoint on this machine: takes deliveries, verifies them with an independent library, answers as set."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks.webhooks import Webhook

Answer = tuple[int, dict[str, str], bytes]
OK: Answer = (204, {}, b"")


@dataclass(frozen=True)
class Received:
    """One request as it was received."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """The event, if this secret signed it."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """Keeps all requests; ``answers`` decides by the path, and may hang or raise."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    answers: Callable[[Received], Answer | None] = lambda _: OK  # None: never answers
    open_now: set[asyncio.StreamWriter] = field(default_factory=set)

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def on(self, path: str) -> list[Received]:
        return [request for request in self.received if request.path == path]

    def hang_up(self) -> None:
        """Closes all connections; a request without an answer gets none from then on."""
        self.answers = lambda _: (503, {}, b"")
        for writer in list(self.open_now):
            writer.close()


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that listens until the block ends."""
    made = Receiver()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.open_now.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            request = Received(first.split(" ")[1], headers, body)
            made.received.append(request)
            answer = made.answers(request)
            if answer is None:
                await reader.read()  # until the caller gives up
                return
            status, extra, content = answer
            more = "".join(f"{name}: {value}\r\n" for name, value in extra.items())
            writer.write(f"HTTP/1.1 {status} X\r\n{more}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            made.open_now.discard(writer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=500)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for writer in list(made.open_now):
            writer.close()
        await server.wait_closed()
