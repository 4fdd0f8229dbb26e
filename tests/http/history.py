"""Jobs in the history, and a walk through all pages of a list."""

import json
from typing import Any

import httpx

from shared.jobqueue.constants import BAND, HISTORY
from tests.world import World


async def listed(client: httpx.AsyncClient, path: str = "/api/jobs", **query: Any) -> list[str]:
    """The ids on all pages, to the last one."""
    found: list[str] = []
    for _ in range(200):
        answer = await client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        found += [job["id"] for job in answer.json()["jobs"]]
        query["cursor"] = answer.json()["next_cursor"]
        if query["cursor"] is None:
            return found
    raise AssertionError("the pages come to no end")


async def end(world: World, job_id: str, outcome: str = "completed", output: Any = None) -> None:
    """Ends a job that is at the provider; a failure leaves no dead letter."""
    queue = world.runtime.queue
    prediction = (await world.runtime.records.read(job_id)).prediction or f"p-{job_id}"
    life = await world.incarnation_of(job_id)
    if outcome == "failed":
        await queue.fail(job_id, 1, prediction, code="invalid_input", detail="no", retryable=False, incarnation=life)
    else:
        await queue.finish(job_id, 1, prediction, outcome, {"output": json.dumps(output)}, incarnation=life)


async def fill(world: World, *ids: str, user: str = "ada", owner: str = "app", gap: float = 0.0) -> None:
    """Writes jobs to the history only, with one hash each."""
    keys = world.runtime.history.keys
    fields = {"owner": owner, "user": user, "queue": "video", "provider": "replicate", "model": "acme/video",
              "priority": "3", "state": "done", "outcome": "completed"}  # fmt: skip
    for job_id in ids:
        now = world.clock.now()
        flat = [part for pair in {**fields, "created_at": str(now), "ended_at": str(now)}.items() for part in pair]
        await world.raw("HSET", keys.job(job_id), *flat)
        await world.raw("ZADD", keys.index, str(HISTORY * BAND + now), f"@{owner}:{user}|{job_id}")
        if gap:
            world.manual.advance(gap)
