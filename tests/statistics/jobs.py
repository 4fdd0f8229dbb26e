"""Jobs that run to their end."""

from typing import Any

from tests.world import World


async def run_job(
    world: World, *, waits: float = 3, runs: float = 20, outcome: str = "completed", **changes: Any
) -> str:
    """A job that waits and runs for so many s."""
    job_id = await world.enqueue(**changes)
    world.manual.advance(waits)
    (started,) = (await world.runtime.queue.claim(1)).started
    await world.runtime.queue.record(job_id, started.attempt, f"p-{job_id}")
    world.manual.advance(runs)
    if outcome == "failed":
        await world.runtime.queue.fail(
            job_id, started.attempt, f"p-{job_id}", code="invalid_input", detail="no", retryable=False
        )
    else:
        await world.runtime.queue.finish(job_id, started.attempt, f"p-{job_id}", outcome, {})
    return job_id
