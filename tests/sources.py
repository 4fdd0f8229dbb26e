"""A server of files that answers with raw bytes, right or wrong."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Answer:
    """The bytes sent, piece by piece. With ``hangs`` the connection then stays open, otherwise it closes."""

    pieces: Sequence[bytes]
    hangs: bool = False


def ok(body: bytes, *, length: int | None = None, **headers: str) -> Answer:
    """A file; ``length`` is the announced length, if it should be wrong."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    announced = len(body) if length is None else length
    return Answer([f"HTTP/1.1 200 OK\r\nContent-Length: {announced}\r\n{more}\r\n".encode(), body])


def chunked(*pieces: bytes, is_ended: bool = True, head: str = "") -> Answer:
    """A file without a Content-Length."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + (b"0\r\n\r\n" if is_ended else b"")
    return Answer([f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{head}\r\n".encode(), body])


def status(code: int, **headers: str) -> Answer:
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return Answer([f"HTTP/1.1 {code} Status\r\nContent-Length: 4\r\n{more}\r\nbody".encode()])


@dataclass
class Served:
    """A running server: the answers by path, and the heads of the requests that came."""

    url: str
    answers: Mapping[str, Answer]
    asked: list[str] = field(default_factory=list)


@asynccontextmanager
async def serving(**answers: Answer) -> AsyncIterator[Served]:
    """Serves each answer at the path of its name."""
    served = Served("", answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            served.asked.append(head)
            answer = answers[head.split(" ")[1].partition("?")[0].strip("/")]
            for piece in answer.pieces:
                writer.write(piece)
                await writer.drain()
            if answer.hangs:
                await reader.read()  # until the client has given up
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        server.close()
