"""taskiq: a broker of the kind that PEERS_BROKER names, with a result backend, and a client."""

import asyncio
import os
from typing import Any

import taskiq_redis

from bench.peers.producing import URL, announce, serve

kind: Any = getattr(taskiq_redis, os.environ.get("PEERS_BROKER", "ListQueueBroker"))
broker: Any = kind(URL).with_result_backend(taskiq_redis.RedisAsyncResultBackend(URL))


async def run() -> None:
    """The job."""
    announce()


job: Any = broker.task(task_name="job")(run)


async def main() -> None:
    """Runs the client."""
    await broker.startup()

    async def put() -> Any:
        return await job.kiq()

    async def poll(queued: Any) -> Any:
        return await queued.is_ready()

    await serve(put, poll)


if __name__ == "__main__":
    asyncio.run(main())
