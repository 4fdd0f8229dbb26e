"""A deployment with every kind of job in it, and what the tests' own judge says of its store."""

from dataclasses import dataclass
from typing import Any

import httpx

from shared.clock import ManualClock
from shared.jobqueue.keys import Keys
from tests.faults.engines import _sort_in
from tests.hooks.outbox import URL
from tests.invariants import Limits, Outside, State, at_rest
from tests.world import AUTH, World, http_client

BATCH = {"user_id": "eve", "model": "acme/still", "jobs": [{"input": {"n": n}} for n in range(4)]}


@dataclass
class Ward:
    """The ids of jobs in each state, of a batch, and of a delivery lane with a pending event."""

    running: str
    submitting: str
    delayed: str
    backlog: str
    ended: str
    batch: str
    lane: str


async def admit(world: World) -> Ward:
    """Submits jobs, and moves one into each state."""
    queue = world.runtime.queue
    running = await world.enqueue("ada", start=True)
    await queue.record(running, 1, "p-running")
    submitting = await world.enqueue("ada", start=True)
    backlog = await world.enqueue("ada")
    ended = await world.enqueue("bob", start=True, hook_url=URL)
    await queue.record(ended, 1, "p-ended")
    await queue.finish(ended, 1, "p-ended", "completed", {"output": '"done"'})
    world.follow_ups()
    delayed = await world.enqueue("bob", start=True)
    await queue.fail(delayed, 1, "", code="provider_down", detail="", retryable=True)
    async with http_client(**AUTH) as application:
        answer = await application.post("/api/batches", json=BATCH)
    assert answer.status_code == 202, answer.text
    world.follow_ups()
    lane = await world.raw("HGET", queue.keys.job(ended), "hook_lane")
    return Ward(running, submitting, delayed, backlog, ended, answer.json()["id"], lane)


async def snapshot(world: World) -> State:
    """All that the store has of this deployment."""
    keys, state = Keys(world.runtime.settings.prefix), State()
    for key in await world.raw("KEYS", f"{keys.root}*"):
        kind = await world.raw("TYPE", key)
        held: Any
        if kind == "string":
            held = await world.raw("GET", key)
        else:
            read = ("HGETALL",) if kind == "hash" else ("ZRANGE", "0", "-1", "WITHSCORES")
            flat = await world.raw(read[0], key, *read[1:])
            # The client of the REST API makes a dict of a hash and pairs of a sorted set, memory mode neither.
            is_flat = isinstance(flat, list) and not isinstance(flat[0], tuple)
            held = dict(zip(flat[::2], flat[1::2], strict=True)) if is_flat else dict(flat)
            held = {name: float(score) for name, score in held.items()} if kind == "zset" else held
        _sort_in(state, keys, key, held, await world.raw("TTL", key) >= 0)
    return state


async def contradictions(world: World) -> list[str]:
    """What the invariants say of the store as it is now."""
    assert isinstance(world.clock, ManualClock)
    state, limits = await snapshot(world), Limits.of(world.runtime.settings)
    for batch, fields in state.batches.items():
        for number in range(int(fields["expected"])):
            # A batch counts a job as failed that is gone. The invariants know no job that goes before its batch.
            if fields.get(f"i{number}", f"{batch}_{number}") not in state.jobs:
                assert fields.pop(f"s{number}", None) == "failed"
    return at_rest(state, world.clock.now(), limits, Outside())


async def look(operator: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    answer = await operator.get("/api/operate/doctor", params={"only": "queue"} | query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def fix(operator: httpx.AsyncClient, **order: Any) -> dict[str, Any]:
    answer = await operator.post("/api/operate/doctor", json={"fix": True, "only": "queue"} | order)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def found_in(report: dict[str, Any]) -> set[tuple[str, str]]:
    """The codes of a report's findings, each with its subject."""
    return {(found["code"], found["subject"]) for check in report["checks"] for found in check["findings"]}
