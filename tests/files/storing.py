"""Jobs whose files are stored: their runs end, their documents and files are read."""

import json
from typing import Any

from local.simulator.media import video
from shared.jobqueue.record import JobRecord
from shared.providers.base import Prediction
from tests.world import World

FILM = video("a paper boat")
HOURS = 3600


async def ended(world: World, output: Any, **changes: Any) -> str:
    """A completed job with this output; none of its files has been copied yet."""
    job_id = await world.enqueue(start=True, **changes)
    await world.runtime.queue.record(job_id, 1, f"p_{job_id}")
    await world.runtime.reconciler.apply(job_id, 1, "replicate", Prediction(f"p_{job_id}", "completed", output))
    return job_id


async def document(world: World, job_id: str) -> dict[str, Any]:
    world.runtime.statuses.forget(job_id)
    view = await world.runtime.statuses.view("app", job_id)
    shown: dict[str, Any] = json.loads(view.value.body)
    return shown


async def job_of(world: World, job_id: str) -> JobRecord:
    return await world.runtime.records.read(job_id)


async def kept(world: World, job_id: str, number: int = 0) -> bytes:
    """The stored content of this file of the job."""
    key = (await job_of(world, job_id)).files[number]["key"]
    return b"".join([piece async for piece in world.runtime.bucket.read(key)])


async def all_keys(world: World) -> list[str]:
    return [key async for page in world.runtime.bucket.pages("") for key in page]
