"""A source of long files and a bucket that takes them, over HTTP/1.1 in its own process.

It implements the part of S3 that an upload in parts needs. It counts the bytes and discards them: moto would keep them
in memory, and be slower than the copy under measurement.
"""

import asyncio
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from bench.environment import ROOT

STOP_DEADLINE = 10.0  # s
BLOCK = bytes(1024 * 1024)
MAX_LINE = 4 * 1024 * 1024
HEAD = re.compile(rb"(?P<verb>[A-Z]+) (?P<path>[^ ?]*)(?:\?(?P<query>[^ ]*))? ")
BEGUN = b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
ENDED = b"<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>"


class Files:
    """``GET /<bytes>`` returns a file of that length. HEAD returns the length of another path once its PUT is complete.

    ``pause`` is how long each PUT takes, in s, as in a bucket that is far away.
    """

    def __init__(self, pause: float = 0.0) -> None:
        self._pause = pause
        self._coming: Counter[bytes] = Counter()
        self._kept: Counter[bytes] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection until the client closes it."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await self._answer(head, reader, writer)
                await writer.drain()
        # Cancelled while a client is still connected, for which asyncio would print a traceback.
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = HEAD.match(head)
        assert request is not None
        verb, path, query = request["verb"], request["path"], request["query"] or b""
        length = await _discard(head, reader)
        if verb == b"GET":
            await _send(int(path[1:]), writer)
        elif verb == b"HEAD":
            writer.write(_head(self._kept[path]))
        elif verb == b"PUT":
            await asyncio.sleep(self._pause)
            (self._coming if query else self._kept)[path] += length
            writer.write(_head(0))
        else:
            is_end = b"uploadId=" in query
            if is_end:
                self._kept[path] = self._coming.pop(path)
            body = ENDED if is_end else BEGUN
            writer.write(_head(len(body)) + body)


def _head(length: int) -> bytes:
    marks = 'ETag: "1"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT'
    return f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{marks}\r\n\r\n".encode()


async def _send(length: int, writer: asyncio.StreamWriter) -> None:
    writer.write(_head(length))
    while length:
        block = BLOCK[:length]
        writer.write(block)
        await writer.drain()
        length -= len(block)


async def _discard(head: bytes, reader: asyncio.StreamReader) -> int:
    declared = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
    length = left = int(declared or 0)
    while left:
        block = await reader.read(min(left, len(BLOCK)))
        if not block:
            raise ConnectionResetError
        left -= len(block)
    return length


async def _run() -> None:
    """Serves until the parent closes standard input."""
    server = await asyncio.start_server(Files(float(sys.argv[1])).serve, "127.0.0.1", 0, limit=MAX_LINE)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    server.close()


@contextmanager
def files_server(pause: float = 0.0) -> Iterator[str]:
    """Yields the URL of such a server in another process."""
    child = subprocess.Popen(
        [sys.executable, "-m", "bench.files", str(pause)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None and child.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(child.stdout.readline())}"
    finally:
        child.stdin.close()
        child.stdout.close()
        try:
            child.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


if __name__ == "__main__":
    asyncio.run(_run())
