"""The ids of a claim, and a job that runs."""

from shared.jobqueue import Claim
from tests.world import World


def ids(claim: Claim) -> list[str]:
    return [job.id for job in claim.started]


async def run_one(world: World, **changes: str) -> str:
    """A job that is running as prediction p1."""
    job_id = await world.enqueue(start=True, **changes)
    assert (await world.runtime.queue.record(job_id, 1, "p1")).word == "recorded"
    return job_id
