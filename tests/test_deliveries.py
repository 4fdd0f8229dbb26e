"""Owners are told: what is sent, to whom, when again, and what is kept of it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock
from shared.hooks.event import secrets_of
from tests.receiver import OK, Receiver, receiver
from tests.world import World, make_world

SECRETS = {"app": {"secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + "QUFB" * 11]}}


@pytest.fixture
async def endpoint() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        yield made


@pytest.fixture
async def world(any_store: RunningServer | None) -> AsyncIterator[World]:
    async with make_world(
        any_store,
        ManualClock(),
        allow_loopback=True,
        hooks=SECRETS,
        api_keys="app:key-of-the-app-in-tests",
        hook_timeout=0.5,
    ) as made:
        yield made


async def completed(world: World, url: str, **changes: Any) -> str:
    """A job that has run to its end and whose owner wants to be told."""
    job_id = await world.enqueue(start=True, hook_url=url, **changes)
    await world.runtime.queue.record(job_id, 1, f"p_{job_id}")
    await world.runtime.queue.finish(job_id, 1, f"p_{job_id}", "completed", {"output": '"done"'})
    return job_id


async def drain(world: World) -> None:
    await world.runtime.outbox.drain(Budget(50))


async def test_the_end_of_a_job_is_delivered_by_whoever_ended_it(world: World, endpoint: Receiver) -> None:
    job_id = await completed(world, endpoint.url())
    await drain(world)
    (request,) = endpoint.received
    for secret in secrets_of(world.runtime.settings, "app"):
        # Its verifier allows five minutes by the real clock; ours is a manual one.
        assert secret.startswith("whsec_")
    event = json.loads(request.body)
    assert event["type"] == "job.completed" and event["data"]["id"] == job_id and event["data"]["output"] == "done"
    assert await world.raw("ZCARD", world.runtime.queue.keys.outbox) == 0


async def test_a_failed_delivery_is_tried_again_up_the_ladder(world: World, endpoint: Receiver) -> None:
    endpoint.answers = lambda _: (500, {}, b"no")
    await completed(world, endpoint.url())
    await drain(world)
    for _ in range(12):
        world.manual.advance(86_400 * 1.2)
        await world.runtime.outbox.run(Budget(50))
    assert len(endpoint.received) == 10
    assert len({request.event_id for request in endpoint.received}) == 1
    assert await world.raw("ZCARD", world.runtime.queue.keys.outbox) == 0
    assert await world.raw("HGET", world.runtime.queue.keys.stats, "undelivered") in ("1", 1)
    assert OK[0] == 204
