"""Properties that hold from the outbox's verbs to the wire, however the code between them changes."""

import json
import time
from collections.abc import AsyncIterator

import pytest

from shared.clock import ManualClock
from tests.hooks.outbox import TWO_SECRETS, due_at, ended, field, lane_of
from tests.receiver import Receiver
from tests.world import World, make_world

# On the wire


@pytest.fixture
async def wired() -> AsyncIterator[World]:
    """Memory mode with the real clock, which other libraries' verifiers read."""
    clock, hooks = ManualClock(time.time_ns() // 1_000_000), {"app": {"secrets": TWO_SECRETS}}
    async with make_world(None, clock, allow_loopback=True, hooks=hooks, api_keys="app:k") as made:
        yield made


async def drain(world: World) -> None:
    await world.follow_up()


async def test_both_secrets_sign_what_is_sent(wired: World, endpoint: Receiver) -> None:
    job = await ended(wired, hook_url=endpoint.url())
    await drain(wired)
    for secret in TWO_SECRETS:
        assert endpoint.received[0].verified(secret)["data"]["id"] == job


async def test_ten_tries_and_the_waits_between_them_are_the_ladder(wired: World, endpoint: Receiver) -> None:
    endpoint.answers = lambda _: (404, {}, b"")
    job = await ended(wired, hook_url=endpoint.url())
    (row,) = wired.follow_ups()
    lane, waits = await lane_of(wired, job), []
    while await field(wired, job, "s:completed") == "pending":
        await wired.runtime.deliveries.deliver(row)
        due = await wired.raw("ZSCORE", wired.runtime.queue.keys.lane_rows(lane), f"completed|{job}")
        waits.append((int(due) - wired.clock.now()) / 1000 if due else 0.0)
    assert len(waits) == len(endpoint.received) == 10 and waits.pop() == 0
    for wait, step in zip(waits, [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400], strict=True):
        assert step <= wait <= step * 1.1


async def test_a_redirect_is_no_success_and_is_not_followed(wired: World, endpoint: Receiver) -> None:
    endpoint.answers = lambda _: (302, {"Location": endpoint.url("/other")}, b"")
    job = await ended(wired, hook_url=endpoint.url())
    await drain(wired)
    assert [request.path for request in endpoint.received] == ["/hook"]
    assert await field(wired, job, "s:completed") == "pending"


async def test_a_host_that_asks_for_an_hour_gets_it(wired: World, endpoint: Receiver) -> None:
    endpoint.answers = lambda _: (429, {"Retry-After": "3600"}, b"")
    job = await ended(wired, hook_url=endpoint.url())
    began = wired.clock.now()
    await drain(wired)
    lane = await lane_of(wired, job)
    assert await due_at(wired, lane) == began + 3_600_000
    row = await wired.raw("ZSCORE", wired.runtime.queue.keys.lane_rows(lane), f"completed|{job}")
    assert int(row) == began + 3_600_000


async def test_an_address_is_checked_when_it_is_called_and_not_only_at_submit(
    clock: ManualClock, endpoint: Receiver
) -> None:
    """Between the two, the name may be pointed at an internal address."""
    async with make_world(None, clock) as world:
        job = await ended(world, hook_url=endpoint.url())
        await drain(world)
        assert endpoint.received == []
        assert json.loads(await field(world, job, "l:completed"))["error"] == "address_refused"


async def test_a_late_caller_leaves_its_follow_ups_to_others(wired: World, endpoint: Receiver) -> None:
    await ended(wired, hook_url=endpoint.url())
    wired.manual.advance(29)
    await drain(wired)
    assert endpoint.received == []
    wired.manual.advance(2)
    assert await wired.work_off() == 1
    assert len(endpoint.received) == 1
