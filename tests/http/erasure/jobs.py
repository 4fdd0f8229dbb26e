"""Jobs with files: runs that end, stored files, documents."""

from typing import Any

import httpx

from local.simulator.media import video
from shared.providers.base import Prediction
from tests.buckets import everything
from tests.world import World

DAY = 86_400
FILM = video("a paper boat")


async def ended(world: World, output: Any, user: str = "ada", **changes: Any) -> str:
    """A completed job with this output; none of its files has been copied yet."""
    job_id = await world.enqueue(user, start=True, **changes)
    await world.runtime.queue.record(job_id, 1, f"p_{job_id}")
    await world.runtime.reconciler.apply(job_id, 1, "replicate", Prediction(f"p_{job_id}", "completed", output))
    return job_id


async def stored(world: World, output: Any, user: str = "ada", **changes: Any) -> str:
    job_id = await ended(world, output, user, **changes)
    await world.follow_up()
    return job_id


async def document(world: World, client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    world.runtime.statuses.forget(job_id)
    answer = await client.get(f"/api/status/{job_id}")
    assert answer.status_code == 200
    shown: dict[str, Any] = answer.json()
    return shown


async def kept(world: World) -> list[str]:
    return await everything(world.runtime.bucket)


async def erase(client: httpx.AsyncClient, user: str = "ada", cancel: str = "", **options: Any) -> dict[str, Any]:
    """The report of one call."""
    query = {"user_id": user} | ({"cancel": cancel} if cancel else {})
    answer = await client.delete("/api/users", params=query, **options)
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store", answer.text
    report: dict[str, Any] = answer.json()
    return report


def counts(report: Any) -> tuple[int, int, int]:
    """Jobs and files that were erased, and jobs that live."""
    return report["jobs"], report["files"], report["live"]
