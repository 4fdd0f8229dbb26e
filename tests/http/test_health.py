"""Health: what keeps jobs from their providers, at a bounded price, and without a name of anybody's."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.errors import StoreRefused
from shared.providers.base import Throttled, Unknown
from tests.http.calls import BODY
from tests.queue.providers import open_circuit, run
from tests.world import AUTH, PROCESSOR, World, http_client, make_world

PERIOD = 60  # s between two ticks


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client() as made:
        yield made


async def health(world: World) -> dict[str, object]:
    """What a process answers that remembers nothing."""
    world.runtime.cache.forget_all(":health")
    document: dict[str, object] = dict(await world.runtime.health.view())
    return document


async def test_all_is_well_while_jobs_run_and_wait_for_their_turn(world: World, client: httpx.AsyncClient) -> None:
    for user in range(7):
        await client.post("/api/submit", json={**BODY, "user_id": f"user{user}"}, headers=AUTH)
    body = (await client.get("/api/health")).json()
    assert (body["status"], body["degraded_by"], body["oldest_startable_age_seconds"]) == ("ok", [], None)
    assert (body["paused_providers"], body["open_circuits"], body["unknown_submissions"]) == ([], 0, 0)


async def test_a_job_that_could_start_and_does_not_is_reported_with_its_age(world: World) -> None:
    await world.enqueue("ada")
    world.manual.advance(3 * PERIOD)
    body = await health(world)
    assert (body["status"], body["oldest_startable_age_seconds"]) == ("ok", 3 * PERIOD)
    await world.enqueue("bob", priority=5)  # goes first, and is younger
    world.manual.advance(PERIOD)
    assert (await health(world))["status"] == "ok"
    world.manual.advance(3 * PERIOD)
    assert (await health(world))["degraded_by"] == ["jobs_not_started"]
    await run(world)
    assert (await health(world))["oldest_startable_age_seconds"] is None


async def test_a_job_that_starts_within_the_next_second_is_no_trouble(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.enqueue("ada")
    world.manual.advance(10 * PERIOD)

    async def meanwhile(seconds: float) -> None:
        world.manual.advance(seconds)
        await run(world)
        await world.enqueue("bob")

    monkeypatch.setattr(world.manual, "sleep", meanwhile)
    assert (await health(world))["status"] == "ok"


@pytest.mark.parametrize("gate", ["=s", "=q0", "=p0"])
async def test_a_job_that_the_operator_holds_back_could_not_start(world: World, gate: str) -> None:
    await world.enqueue("ada")
    await world.runtime.controls.set_gates({gate: 0})
    world.manual.advance(10 * PERIOD)
    assert (await health(world))["oldest_startable_age_seconds"] is None


async def test_a_job_behind_a_full_system_could_not_start(any_store: RunningServer | None, clock: ManualClock) -> None:
    async with make_world(any_store, clock, max_concurrent_tasks=1) as world:
        await world.enqueue("ada", start=True)
        await world.enqueue("bob")
        world.manual.advance(PERIOD)
        assert (await health(world))["oldest_startable_age_seconds"] is None


async def test_a_job_could_start_from_when_the_bucket_has_a_token(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, provider_rates="replicate:1") as world:
        await world.enqueue("ada", start=True)
        await world.enqueue("bob")
        world.manual.advance(59)
        assert (await health(world))["oldest_startable_age_seconds"] is None
        world.manual.advance(21)
        assert (await health(world))["oldest_startable_age_seconds"] == 20


async def test_a_retry_could_start_from_when_it_is_due(world: World) -> None:
    job = await world.enqueue("ada", start=True)
    await world.runtime.queue.snooze(job, 1, delay=100, code="x")
    world.manual.advance(99)
    assert (await health(world))["oldest_startable_age_seconds"] is None
    world.manual.advance(31)
    assert (await health(world))["oldest_startable_age_seconds"] == 30


async def test_a_paused_provider_is_named_until_it_takes_a_job(world: World) -> None:
    world.provider.outcomes = [Throttled("billing", 60)]
    await world.enqueue("ada")
    await run(world)
    body = await health(world)
    assert (body["status"], body["paused_providers"], body["degraded_by"]) == (
        "degraded", ["replicate"], ["provider_paused"],
    )  # fmt: skip
    world.manual.advance(90)
    assert (await health(world))["paused_providers"] == ["replicate"]
    await run(world)
    assert (await health(world))["status"] == "ok"


async def test_a_pause_that_ended_long_ago_is_none(world: World) -> None:
    world.provider.outcomes = [Throttled("billing", 60)]
    job = await world.enqueue("ada")
    await run(world)
    await world.runtime.queue.cancel(job, "app")
    world.manual.advance(60 + 75 + 3 * PERIOD)
    assert (await health(world))["status"] == "ok"


async def test_open_circuits_are_counted_and_their_jobs_could_not_start(world: World) -> None:
    await open_circuit(world)
    await world.enqueue("ada")
    world.manual.advance(5)
    body = await health(world)
    assert (body["open_circuits"], body["oldest_startable_age_seconds"]) == (1, None)
    assert body["degraded_by"] == ["circuit_open"]


@pytest.mark.parametrize(("slots", "unknown", "is_beyond"), [(5, 1, True), (8, 1, False), (8, 2, True)])
async def test_submissions_of_unknown_outcome_may_hold_a_part_of_the_slots(
    any_store: RunningServer | None, clock: ManualClock, slots: int, unknown: int, is_beyond: bool
) -> None:
    async with make_world(any_store, clock, max_concurrent_tasks=slots) as world:
        world.provider.outcomes = [Unknown("timeout")] * unknown
        for number in range(unknown):
            await world.enqueue(f"user{number}")
        await run(world)
        body = await health(world)
    assert (body["unknown_submissions"], body["degraded_by"]) == (unknown, ["submissions_unknown"] * is_beyond)


async def test_two_questions_within_five_seconds_cost_one_call_of_the_store(valkey_world: World) -> None:
    server = valkey_world.server
    assert server is not None
    await valkey_world.enqueue("ada")
    valkey_world.runtime.cache.forget_all("")
    async with http_client() as client:
        server.reset_bill()
        bodies = [(await client.get("/api/health")).json() for _ in range(2)]
        assert server.bill().calls == 1
    assert bodies[0] == bodies[1]


async def test_a_long_queue_costs_as_many_commands_as_a_short_one(valkey: RunningServer, clock: ManualClock) -> None:
    costs = []
    for jobs in (200, 1000):
        async with make_world(valkey, clock, max_queue_size=5000) as world:
            for number in range(jobs):
                await world.enqueue(f"user{number}", queue=("video", "storyboard")[number % 2])
            valkey.reset_bill()
            await health(world)
            costs.append(valkey.bill().billed)
    assert costs[0] == costs[1] <= 10


async def test_no_answer_names_a_job_a_user_or_a_model(world: World, client: httpx.AsyncClient) -> None:
    await open_circuit(world)
    job = await world.enqueue("somebody", model="acme/secret")
    world.manual.advance(10 * PERIOD)
    text = json.dumps((await client.get("/api/health")).json())
    assert not [name for name in (job, "somebody", "acme", "unlucky") if name in text]


async def test_a_late_tick_is_told_apart_from_what_it_leaves_undone(world: World, client: httpx.AsyncClient) -> None:
    await client.post("/api/process-queue", headers=PROCESSOR)
    world.manual.advance(3 * PERIOD + 1)
    body = (await client.get("/api/health")).json()
    assert (body["degraded_by"], body["tick_is_late"]) == (["tick_is_late"], True)


async def test_a_store_that_refuses_scripts_is_reported(valkey_world: World) -> None:
    server = valkey_world.server
    assert server is not None
    server.inject("capacity", times=-1)
    body = await health(valkey_world)
    assert (body["status"], body["degraded_by"]) == ("degraded", ["store_refuses"])
    server.clear_faults()
    assert (await health(valkey_world))["degraded_by"] == []


async def test_a_refused_write_is_reported_for_a_minute_or_until_the_next_one_is_taken(valkey_world: World) -> None:
    server = valkey_world.server
    assert server is not None
    reported = []
    for _ in range(2):
        server.inject("capacity")
        with pytest.raises(StoreRefused):
            await valkey_world.enqueue("ada")
        reported.append((await health(valkey_world))["degraded_by"])
        valkey_world.manual.advance(59)
        reported.append((await health(valkey_world))["degraded_by"])
        valkey_world.manual.advance(2)
        reported.append((await health(valkey_world))["degraded_by"])
    assert reported == 2 * [["store_refuses"], ["store_refuses"], []]
    server.inject("capacity")
    with pytest.raises(StoreRefused):
        await valkey_world.enqueue("ada")
    await valkey_world.enqueue("ada")
    assert (await health(valkey_world))["degraded_by"] == []
