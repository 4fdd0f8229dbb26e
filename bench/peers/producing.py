"""The end of a peer's client that the bench holds; it runs in the peer's own environment and imports nothing of ours.

One line is one order: ``put 200`` enqueues so many jobs, ``poll 200`` asks once for the status of each of the oldest
jobs not yet asked for. Each order is answered by ``= `` and the last status.
"""

import asyncio
import os
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

URL = os.environ.get("PEERS_URL", "")


def announce() -> None:
    """Tells the bench that a job has run, past Redis."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"ended", ("127.0.0.1", int(os.environ["PEERS_PORT"])))


async def serve(put: Callable[[], Awaitable[Any]], poll: Callable[[Any], Awaitable[Any]]) -> None:
    """Carries out orders from standard input until it ends with the bench."""
    waiting: deque[Any] = deque()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        word, count = line.split()
        said: Any = ""
        for _ in range(int(count)):
            if word == "put":
                waiting.append(await put())
            else:
                said = await poll(waiting.popleft())
        print(f"= {said}", flush=True)


def serve_blocking(put: Callable[[], Any], poll: Callable[[Any], Any]) -> None:
    """The same for a library that knows no event loop."""

    async def put_now() -> Any:
        return put()

    async def poll_now(job: Any) -> Any:
        return poll(job)

    asyncio.run(serve(put_now, poll_now))
