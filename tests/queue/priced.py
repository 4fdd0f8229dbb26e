"""A deployment with prices and budgets, and what its accounts say."""

from typing import Any

from shared.budget import Budget
from shared.jobqueue.periods import month_of
from shared.jobs.batches import BatchRequest
from tests.world import World

CENT = 10_000  # micro-dollars
PRICES = {
    "default": {"run": 0.10},
    "acme/video": {"run": 0.05, "per": {"predict_time": 0.01}, "at_most": 0.30},
    "acme/lucky": {"run": 0.20, "failed_is_free": True},
}
BUDGETS = {"user": {"day": 1.0, "month": 5.0}, "all": {"day": 2.0, "month": 10.0}}
CHANGES: dict[str, Any] = {"prices": PRICES, "budgets": BUDGETS, "max_user_tasks": 100}


async def spent_by(world: World, user: str = "ada") -> list[int]:
    """Cents of a user's day and month, and of the day and month of all."""
    of_all, of_user = await world.runtime.spending.read("app", user)
    assert of_user is not None
    return [amount // CENT for amount in (of_user.day, of_user.month, of_all.day, of_all.month)]


async def reservations(world: World) -> list[str]:
    """The jobs that have one."""
    fields = await world.raw("HKEYS", world.runtime.queue.keys.spending(month_of(world.clock.now())))
    return sorted(name[1:] for name in fields if name[0] == "=")


async def cost_of(world: World, job_id: str) -> int | None:
    """Cents that a job has cost."""
    charged = (await world.runtime.records.read(job_id)).charged
    return None if charged is None else charged // CENT


async def submit_batch(world: World, count: int, key: str | None = None) -> str:
    """A batch of ada's that waits; its id."""
    jobs = [{"input": {"prompt": f"a lighthouse {n}"}} for n in range(count)]
    request = BatchRequest.model_validate({"user_id": "ada", "model": "acme/video", "jobs": jobs})
    return (await world.runtime.batches.create("app", request, key, Budget(0)))["id"]
