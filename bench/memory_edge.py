"""The cases of bench.memory at the HTTP edge: bodies that get stuck, and pages of a batch."""

import asyncio
import json
import os
from contextlib import AsyncExitStack

from fastapi import FastAPI

from shared.clock import ManualClock
from tests.http.serving import Wire, connected, head, served
from tests.world import API_KEY, AUTH, World, http_client, make_world

CONNECTIONS = 40
JOBS, PAGE = 200, 50
OUTPUT = json.dumps("x" * 59_000)  # a page of 50 has just below the 3 MB that a page may have
PAGE_BYTES = PAGE * len(OUTPUT)
BLOCK = b"x" * 65_536


async def stuck_bodies(_: str, size: int) -> None:
    """40 webhooks of strangers, which send their bodies up to the last byte and then stop."""
    _configure()
    each = size // CONNECTIONS + 1
    async with make_world(None, ManualClock()), served(_application()) as port, AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(connected(port)) for _ in range(CONNECTIONS)]
        for wire in wires:
            await wire.send(head("POST", "/api/webhook/replicate?job=a&attempt=1", Content_Length=str(each + 1)))
        await asyncio.gather(*(_send(wire, each) for wire in wires))
        assert {await _status(wire) for wire in wires} <= {0, 401}


async def _send(wire: Wire, size: int) -> None:
    try:
        for _ in range(size // len(BLOCK)):
            await wire.send(BLOCK)
    except ConnectionError:
        return  # the server has refused it


async def _status(wire: Wire) -> int:
    """The status of the answer; 0 if the connection was closed before it was read."""
    try:
        return await wire.status()
    except ConnectionError:
        return 0


class Pages:
    """Reads pages of one batch. The batch is there before the baseline is read, since the store is in this process."""

    def __init__(self) -> None:
        self._open = AsyncExitStack()
        self._batch = ""

    async def read(self, _: str, size: int) -> None:
        """Reads so many bytes, each page for the first time."""
        _configure()
        if not self._batch:
            world = await self._open.enter_async_context(
                make_world(None, ManualClock(), max_user_waiting=JOBS, status_cache_ttl=30.0)
            )
            self._batch = await _batch(world)
        async with served(_application()) as port:
            for first in range(max(1, size // PAGE_BYTES)):
                async with connected(port) as wire:
                    path = f"/api/batches/{self._batch}?first={first}&count={PAGE}"
                    await wire.send(head("GET", path, Authorization=AUTH["Authorization"], Connection="close"))
                    assert len(await wire.ended()) > PAGE_BYTES


def _configure() -> None:
    """Sets what the application reads when it is imported."""
    keys = f"app:{API_KEY}"
    os.environ.update({"SLUICE_ENV": "test", "USE_REDIS_FOR_TASKS": "false", "LOG_LEVEL": "ERROR", "API_KEYS": keys})


def _application() -> FastAPI:
    from functions.index import app

    return app


async def _batch(world: World) -> str:
    """A batch whose jobs have completed, each with the same output."""
    batch = {"user_id": "ada", "model": "acme/video", "jobs": [{"input": {}} for _ in range(JOBS)]}
    async with http_client(**AUTH) as client:
        answer = await client.post("/api/batches", json=batch)
        assert answer.status_code == 202, answer.text
    batch_id = str(answer.json()["id"])
    keys = world.runtime.queue.keys
    for number in range(JOBS):
        fields = ("state", "done", "outcome", "completed", "output", OUTPUT)
        await world.raw("HSET", keys.job(f"{batch_id}_{number}"), *fields)
        await world.raw("HSET", keys.batch(batch_id), f"s{number}", "completed")
    return batch_id
