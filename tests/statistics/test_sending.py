"""What a process counts itself arrives once, seldom, and at a bounded price."""

import asyncio
from contextlib import suppress
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from local.rest_server.running import RunningServer
from shared import runtime
from shared.access.caller import Role
from shared.budget import Budget
from shared.clock import ManualClock
from shared.errors import StoreUncertain
from shared.jobqueue import FollowUp, Tried
from shared.providers.base import Rejected, Throttled, Unknown
from shared.statistics.sending import AFTER, URGENT_AFTER
from shared.statistics.statistics import Statistics
from shared.sums import Amounts, histogram
from shared.tally import MAX_MINUTES, Tally
from tests.world import AUTH, OPERATOR, World, http_client, make_world

BODY = {"model": "acme/video", "input": {"prompt": "a lighthouse"}, "user_id": "ada"}


@pytest.fixture
async def world(any_store: RunningServer | None, clock: ManualClock) -> Any:
    async with make_world(any_store, clock, statistics=True, max_user_tasks=2, queue_max_retries=0) as made:
        yield made


async def of_processes(world: World) -> Amounts:
    """What has arrived; a read by an operator would first send what its own process has."""
    another = Statistics(world.runtime.folding, None, world.runtime.store, world.runtime.settings, world.clock)
    return (await another.totals()).sums.of.get("", {})


async def submit(client: httpx.AsyncClient, **changes: Any) -> int:
    return (await client.post("/api/submit", json=BODY | changes)).status_code


async def test_refusals_count_by_their_reason_a_minute_later(world: World) -> None:
    async with http_client(**AUTH) as client:
        assert [await submit(client) for _ in range(4)] == [202, 202, 429, 429]
        assert await submit(client, model="") == 422
        assert await of_processes(world) == {}
        world.manual.advance(URGENT_AFTER / 1000)
        assert await submit(client) == 429  # counts after what this call has sent
        amounts = await of_processes(world)
    assert {name: number for name, number in amounts.items() if name.startswith("refused")} == {
        "refused.user_limit_reached": 2,
        "refused.invalid_request": 1,
    }


async def test_calls_of_providers_and_looks_into_the_cache_count_a_quarter_of_an_hour_later(world: World) -> None:
    world.provider.outcomes += [Rejected("invalid_input", "no"), Unknown("lost")]
    async with http_client(**AUTH) as client:
        for user in ("ada", "bob", "eve"):
            assert await submit(client, user_id=user) in (202, 422)
        assert (await client.get("/api/health")).status_code == 200
        assert (await client.get("/api/health")).status_code == 200
        world.manual.advance(AFTER / 1000 - 1)
        await client.get("/api/operate/limits", headers=OPERATOR)
        assert await of_processes(world) == {}
        world.manual.advance(1)
        await client.get("/api/operate/limits", headers=OPERATOR)
        amounts = await of_processes(world)
    assert amounts["calls.replicate.create.accepted"] == 1
    assert amounts["calls.replicate.create.rejected"] == 1
    assert amounts["calls.replicate.create.unknown"] == 1
    assert (amounts["cache.loads"], amounts["cache.hits"]) == (1, 1)


async def test_what_is_sent_twice_counts_once(world: World) -> None:
    sending = world.runtime.sending
    assert sending is not None
    sending.tally.count("refused.queue_full", 3)
    execute, sent = world.runtime.store.execute, 0

    async def losing(*command: str) -> Any:
        nonlocal sent
        answer = await execute(*command)
        if command[0] == "XADD":
            sent += 1
            if sent == 1:
                raise StoreUncertain
        return answer

    world.runtime.store.execute = losing  # type: ignore[method-assign]
    await sending.send()
    sending.tally.count("refused.queue_full", 4)
    await sending.send()
    assert sent == 3
    assert await of_processes(world) == {"refused.queue_full": 7}


async def test_two_sends_at_once_lose_nothing_when_the_last_one_fails(world: World) -> None:
    sending = world.runtime.sending
    assert sending is not None
    execute, sent = world.runtime.store.execute, 0

    async def slow(*command: str) -> Any:
        nonlocal sent
        if command[0] != "XADD":
            return await execute(*command)
        sent += 1
        number = sent
        if number == 1:  # more is counted while the first one is under way
            sending.tally.count("refused.queue_full", 4)
        for _ in range(5 * number):  # the others have their turns
            await asyncio.sleep(0)
        if number == 3:
            raise StoreUncertain
        return await execute(*command)

    world.runtime.store.execute = slow  # type: ignore[method-assign]
    sending.tally.count("refused.queue_full", 3)
    await asyncio.gather(sending.send(), sending.send())
    world.runtime.store.execute = execute  # type: ignore[method-assign]
    await sending.send()
    assert await of_processes(world) == {"refused.queue_full": 7}


async def test_a_late_confirmation_clears_nothing_that_was_taken_since(clock: ManualClock) -> None:
    tally = Tally(clock)
    tally.count("refused.queue_full")
    first = tally.take()
    assert first is not None
    tally.confirm(first)
    tally.count("refused.queue_full")
    second = tally.take()
    tally.confirm(first)
    assert tally.take() is second


async def test_a_process_that_sends_nothing_for_long_keeps_a_bounded_number_of_minutes(clock: ManualClock) -> None:
    tally = Tally(clock)
    for _ in range(3 * MAX_MINUTES):
        tally.count("refused.queue_full")
        clock.advance(60)
    sent = tally.take()
    assert sent is not None and len(sent.parts) == MAX_MINUTES
    assert sum(part.sums.of[""]["refused.queue_full"] for part in sent.parts) == 3 * MAX_MINUTES
    assert tally.take() is sent
    tally.confirm(sent)
    assert tally.take() is None


async def test_a_time_of_a_process_has_its_series(world: World) -> None:
    sending = world.runtime.sending
    assert sending is not None
    sending.tally.time("store", 2500, series="video|replicate|acme/video")
    await sending.send()
    sums = (await world.runtime.statistics.totals()).sums.of
    assert histogram(sums["video|replicate|acme/video"], "store").total_ms == 2500


async def test_a_flood_of_refusals_costs_one_command_a_minute(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock, statistics=True) as world, http_client(**AUTH) as client:
        await client.get("/api/operate/limits", headers=OPERATOR)
        valkey.reset_bill()
        for _ in range(120):
            assert await submit(client, model="") == 422
            world.manual.advance(1)
        assert valkey.bill().billed <= 2


async def test_a_throttled_call_counts_as_such(world: World) -> None:
    world.provider.outcomes += [Throttled("rate_limited", 10.0, 429)]
    async with http_client(**AUTH) as client:
        assert await submit(client) == 202
    assert world.runtime.sending is not None
    await world.runtime.sending.send()
    assert (await of_processes(world))["calls.replicate.create.throttled"] == 1


async def test_a_flood_without_credentials_costs_no_command(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock, statistics=True) as world, http_client() as client:
        await client.get("/api/operate/limits", headers=OPERATOR)
        sending = world.runtime.sending
        assert sending is not None
        for _ in range(20):
            assert await submit(client) == 401
            world.manual.advance(URGENT_AFTER / 1000)
        assert sending.tally.since and not sending.tally.urgent_since
        assert await of_processes(world) == {}


async def test_nothing_is_sent_after_the_store_has_failed_or_without_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending, sent = world.runtime.sending, 0
    assert sending is not None

    async def noted() -> None:
        nonlocal sent
        sent += 1

    monkeypatch.setattr(sending, "send", noted)
    sending.tally.count("refused.queue_full", is_urgent=True)
    world.manual.advance(URGENT_AFTER / 1000)
    calls: list[tuple[Exception | None, float]] = [(StoreUncertain(), 50), (None, 1), (None, 50)]
    for error, seconds in calls:
        call = runtime.call(Request({"type": "http", "headers": [], "path": "/"}), Role.ANYONE)
        with suppress(StoreUncertain):
            async with call:
                call.budget = Budget(seconds)
                if error is not None:
                    raise error
    assert sent == 1


async def test_what_is_told_late_or_again_counts_as_long_as_its_owner_has_waited(world: World) -> None:
    sending, count = world.runtime.sending, world.runtime.deliveries._count
    assert sending is not None
    now = world.clock.now()
    f = {"queue": "video", "provider": "replicate", "model": "acme/video"}
    f |= {"started_at": str(now - 50_000), "ended_at": str(now - 1000)}
    done = Tried("delivered", 0, "{}")
    count(done, FollowUp("tell", "job_1", "processing"), f)
    count(done, FollowUp("tell", "job_1", "completed"), f)
    count(done, FollowUp("tell", "job_1", "completed", is_asked_for=True), f)
    await sending.send()
    sums = (await world.runtime.statistics.totals()).sums.of
    told = histogram(sums["video|replicate|acme/video"], "tell")
    assert (told.count, told.total_ms) == (2, 51_000)
    assert sums[""]["deliveries.delivered"] == 3
