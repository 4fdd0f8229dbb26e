"""The steps of tests about deliveries: a job runs and ends, its events are sent, their log is read."""

from typing import Any

from shared.jobqueue.outbox import event_records
from tests.world import World


async def running(world: World, url: str, **changes: Any) -> str:
    job_id = await world.enqueue(start=True, hook_url=url, **changes)
    await world.runtime.queue.record(job_id, 1, f"p_{job_id}")
    return job_id


async def completed(world: World, url: str, **changes: Any) -> str:
    """A job that has completed and has a hook."""
    job_id = await running(world, url, **changes)
    await world.runtime.queue.finish(job_id, 1, f"p_{job_id}", "completed", {"output": '"done"'})
    return job_id


async def drain(world: World) -> None:
    await world.follow_up()


async def run(world: World) -> int:
    return await world.work_off()


async def left(world: World) -> int:
    """How much the outbox holds: jobs and lanes."""
    return int(await world.raw("ZCARD", world.runtime.queue.keys.outbox))


async def delivery_of(world: World, job_id: str, event: str = "completed") -> Any:
    """The delivery record of one event."""
    fields = await world.runtime.outbox.read(job_id, (event,), ())
    (record,) = event_records(fields, (event,))
    return record
