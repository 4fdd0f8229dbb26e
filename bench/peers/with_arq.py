"""arq: worker settings, and a client."""

import asyncio
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings
from arq.jobs import Job

from bench.peers.producing import URL, announce, serve

SETTINGS = RedisSettings.from_dsn(URL)


async def job(context: Any) -> None:
    """The job."""
    announce()


class WorkerSettings:
    """The worker of ``arq``."""

    functions = [job]
    redis_settings = SETTINGS


async def main() -> None:
    """Runs the client."""
    pool = await create_pool(SETTINGS)

    async def put() -> Any:
        return (await pool.enqueue_job("job")).job_id

    async def poll(job_id: Any) -> Any:
        return (await Job(job_id, pool).status()).value

    await serve(put, poll)


if __name__ == "__main__":
    asyncio.run(main())
