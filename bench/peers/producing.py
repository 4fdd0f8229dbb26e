"""Carries out the bench's orders in a peer's client, with the peer's environment and no import of Sluice's modules.

One line is one order. ``put 200`` enqueues 200 jobs; ``poll 200`` polls each of the 200 oldest unpolled jobs once. The
answer to an order is ``= `` and the last status.
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
    """Reports to the bench, without Redis, that a job has run."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"ended", ("127.0.0.1", int(os.environ["PEERS_PORT"])))


async def serve(put: Callable[[], Awaitable[Any]], poll: Callable[[Any], Awaitable[Any]]) -> None:
    """Carries out orders from standard input until the bench closes it."""
    waiting: deque[Any] = deque()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        word, count = line.split()
        status: Any = ""
        for _ in range(int(count)):
            if word == "put":
                waiting.append(await put())
            else:
                status = await poll(waiting.popleft())
        print(f"= {status}", flush=True)


def serve_blocking(put: Callable[[], Any], poll: Callable[[Any], Any]) -> None:
    """Does the same for a library without an event loop."""

    async def put_now() -> Any:
        return put()

    async def poll_now(job: Any) -> Any:
        return poll(job)

    asyncio.run(serve(put_now, poll_now))
