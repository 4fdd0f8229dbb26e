"""Jobs with a hook, and what the outbox holds of them."""

from typing import Any

from shared.jobqueue import FollowUp, Lane, Tried
from shared.jobqueue.constants import BAND
from shared.jobqueue.history import MAX_MOMENT, PageStart
from tests.world import World

URL = "https://example.com/hook"
LATEST = PageStart(MAX_MOMENT, "")  # where a list of all that was given up begins
ALL = ["job.processing", "job.completed", "job.failed", "job.canceled"]
LEASE = 120.0  # s; of what is claimed
TWO_SECRETS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + "QUFB" * 11)
WELL, LATER = Tried("delivered", 0, '{"at":1}'), Tried("retry", 1, '{"at":2}')


async def ended(world: World, user: str = "ada", *, files: str = "", **changes: Any) -> str:
    """A job that has run to its end."""
    job = await world.enqueue(user, start=True, **({"hook_url": URL} | changes))
    await world.runtime.queue.record(job, 1, f"p-{job}")
    fields = {"output": '"done"'} | ({"files": files} if files else {})
    assert (await world.runtime.queue.finish(job, 1, f"p-{job}", "completed", fields)).word == "finished"
    return job


async def lane_of(world: World, job: str) -> str:
    return str(await world.raw("HGET", world.runtime.queue.keys.job(job), "hook_lane"))


async def field(world: World, job: str, name: str) -> Any:
    return await world.raw("HGET", world.runtime.queue.keys.job(job), name)


async def claimed(world: World, rows: int = 20) -> list[Lane]:
    return (await world.runtime.outbox.claim(9, 9, rows))[1]


async def due_at(world: World, name: str) -> int | None:
    """When a tick looks at a job's files or at a lane, in ms; None if it never does."""
    score = await world.raw("ZSCORE", world.runtime.queue.keys.outbox, name)
    return None if score is None else int(float(score)) % BAND


async def note(world: World, job: str, tried: Tried, tries: int = 0, *, event: str = "completed", **row: Any) -> bool:
    lane, tag = await field(world, job, "hook_lane"), await field(world, job, "hook_tag")
    return await world.runtime.outbox.note(FollowUp("tell", job, event, **row), lane, tag, tries, tried)
