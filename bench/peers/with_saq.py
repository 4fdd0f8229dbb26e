"""saq: worker settings, and a client."""

import asyncio
from typing import Any

from saq import Queue

from bench.peers.producing import URL, announce, serve


async def job(context: Any) -> None:
    """The job."""
    announce()


queue: Any = Queue.from_url(URL)
settings = {"queue": queue, "functions": [job]}


async def main() -> None:
    """Runs the client."""
    await queue.connect()

    async def put() -> Any:
        return (await queue.enqueue("job")).key

    async def poll(key: Any) -> Any:
        return (await queue.job(key)).status.value

    await serve(put, poll)


if __name__ == "__main__":
    asyncio.run(main())
