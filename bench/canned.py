"""A store with canned replies: Upstash's REST API over HTTP/1.1 keep-alive, in its own process.

The functions are measured against it, so it must cost the same for every case. It parses no JSON: a piece of text in
the request selects the reply.
"""

import asyncio
import json
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.environment import ROOT

STOP_DEADLINE = 10.0  # s
Answers = list[tuple[bytes, bytes]]


def encoded(reply: Any) -> Any:
    """Returns the reply as Upstash sends it under ``Upstash-Encoding: base64``: every text encoded, except OK."""
    if isinstance(reply, list):
        return [encoded(part) for part in reply]
    if isinstance(reply, str) and reply != "OK":
        return b64encode(reply.encode()).decode()
    return reply


def http_answer(document: dict[str, Any], status: str = "200 OK") -> bytes:
    """Returns a whole HTTP answer with the headers that Upstash's clients read."""
    body = json.dumps(document, separators=(",", ":")).encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Upstash-Sync-Token: MTp3ZWU0MmhqOnN5bmMtdG9rZW4=\r\n\r\n"
    )
    return head.encode() + body


UNKNOWN = http_answer({"error": "ERR no reply is canned for this"}, "400 Bad Request")


class CannedStore:
    """Answers each request with the first reply whose mark is in the request's body."""

    def __init__(self, replies: Mapping[str, Any]) -> None:
        self._answers: Answers = [
            (mark.encode(), http_answer({"result": encoded(reply)})) for mark, reply in replies.items()
        ]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection until the client closes it."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_content_length(head))
                writer.write(self._answer(body))
                await writer.drain()
        # Cancelled while a client is still connected, for which asyncio would print a traceback.
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()

    def _answer(self, body: bytes) -> bytes:
        return next((answer for mark, answer in self._answers if mark in body), UNKNOWN)


def _content_length(head: bytes) -> int:
    return int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])


async def _run(certificate: str | None) -> None:
    """Serves the replies in the first line of standard input, until the parent closes it."""
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    store = CannedStore(json.loads(sys.stdin.buffer.readline()))
    # By host and port, not by a socket: asyncio turns Nagle's algorithm off only if the listener names IPPROTO_TCP.
    # Otherwise each call would wait 40 ms for a delayed ACK.
    server = await asyncio.start_server(store.serve, "127.0.0.1", 0, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    server.close()


@contextmanager
def canned_store(replies: Mapping[str, Any], certificate: Path | None = None) -> Iterator[str]:
    """Yields the URL of a store in another process, which answers a request with the reply whose key it contains.

    With a certificate and its key in one PEM file, the store is behind TLS.
    """
    command = [sys.executable, "-m", "bench.canned", *([str(certificate)] if certificate else [])]
    child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None and child.stdout is not None
    try:
        child.stdin.write(json.dumps(dict(replies)).encode() + b"\n")
        child.stdin.flush()
        yield f"http{'s' if certificate else ''}://127.0.0.1:{int(child.stdout.readline())}"
    finally:
        child.stdin.close()
        child.stdout.close()
        try:
            child.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1] if len(sys.argv) > 1 else None))
