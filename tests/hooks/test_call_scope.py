"""A call does what its scripts said must follow: a tick or a webhook all of it, a submit or a poll for its own job."""

import json
import secrets
from collections.abc import AsyncIterator

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.providers.base import Prediction
from tests.receiver import Receiver, receiver
from tests.world import PROCESSOR, World, http_client, make_world

HOUR = 3600.0


@pytest.fixture
async def source() -> AsyncIterator[Receiver]:
    """Where the provider keeps its files."""
    async with receiver() as made:
        made.answers = lambda _: (200, {"Content-Type": "text/plain"}, b"a lighthouse")
        yield made


@pytest.fixture
async def owner() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        yield made


async def lost(world: World, source: Receiver, owner: Receiver) -> str:
    """A job whose provider has ended it, and whose webhook never came; its next check is due."""
    job_id = await world.enqueue(start=True, hook_url=owner.url(), hook_events=["job.completed"])
    await world.runtime.queue.record(job_id, 1, "p1")
    world.provider.states["p1"] = Prediction("p1", "completed", output=[source.url("/film.mp4")])
    world.manual.advance(world.runtime.settings.first_check_after + 1)
    return job_id


async def file_of(world: World, job_id: str) -> str:
    """The state of the job's only file."""
    (file,) = json.loads((await world.runtime.records.read(job_id)).fields["files"])
    return str(file["state"])


@pytest.mark.parametrize("tick_period", [60.0, HOUR], ids=["every minute", "hourly"])
async def test_a_tick_that_ends_a_run_stores_its_file_and_notifies_its_owner(
    any_store: RunningServer | None, source: Receiver, owner: Receiver, tick_period: float
) -> None:
    location = f"memory://{secrets.token_hex(8)}"
    changes = {"storage_url": location, "allow_loopback": True, "hook_timeout": 1.0, "tick_period": tick_period}
    async with make_world(any_store, ManualClock(), **changes) as world, http_client() as client:
        job_id = await lost(world, source, owner)
        answer = await client.post("/api/process-queue", headers=PROCESSOR)
        assert answer.status_code == 200 and answer.json()["looked_at"] == 1
        assert await file_of(world, job_id) == "stored"
        (event,) = [json.loads(received.body) for received in owner.received]
        assert event["type"] == "job.completed" and event["data"]["files"][0]["state"] == "stored"
