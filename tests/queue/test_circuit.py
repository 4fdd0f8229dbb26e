"""Failures in a row open the circuit of a model, and a probe closes it."""

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.providers.base import Unknown
from tests.queue.providers import fail, gates, open_circuit, run, started
from tests.world import World, make_world


async def test_failures_in_a_row_open_the_models_circuit_and_other_models_go_on(world: World) -> None:
    await open_circuit(world)
    blocked, other = await world.enqueue("ada"), await world.enqueue("bob", model="acme/still")
    claim = await world.runtime.queue.claim(10)
    assert [job.id for job in claim.started] == [other] and claim.parked == 1
    record = await world.runtime.records.read(blocked)
    assert (record.state, record.attempts, record.snooze_code) == ("delayed", 0, "circuit_open")


@pytest.mark.parametrize("code", ["invalid_input", "content_policy"])
async def test_a_users_own_faults_open_no_circuit(world: World, code: str) -> None:
    await open_circuit(world, code)
    assert not [name for name in await gates(world) if name.startswith("~o")]


async def test_a_success_in_between_starts_the_count_anew(world: World) -> None:
    for n in range(2 * world.runtime.settings.circuit_failures - 2):
        job = await world.enqueue(f"user{n}")
        (claimed,) = (await world.runtime.queue.claim(1)).started
        await world.runtime.queue.record(job, claimed.attempt, f"f{job}")
        if n == world.runtime.settings.circuit_failures - 2:
            await world.runtime.queue.finish(job, claimed.attempt, f"f{job}", "completed", {"output": "1"})
        else:
            await fail(world, job)
    assert not [name for name in await gates(world) if name.startswith("~o")]


async def test_after_its_pause_one_job_probes_the_model_and_success_closes_the_circuit(world: World) -> None:
    await open_circuit(world)
    first, second = await world.enqueue("ada"), await world.enqueue("bob")
    await started(world)
    world.manual.advance(world.runtime.settings.circuit_pause + 1)
    (probe,) = (await world.runtime.queue.claim(10)).started
    assert probe.id in (first, second)
    await world.runtime.queue.record(probe.id, probe.attempt, "p1")
    await world.runtime.queue.finish(probe.id, probe.attempt, "p1", "completed", {"output": "1"})
    world.manual.advance(world.runtime.settings.check_interval + 1)
    assert len(await started(world)) == 1
    assert not [name for name in await gates(world) if name.startswith("~o")]


async def test_a_failed_probe_opens_the_circuit_for_twice_as_long(world: World) -> None:
    await open_circuit(world)
    await world.enqueue("ada")
    await started(world)
    world.manual.advance(world.runtime.settings.circuit_pause + 1)
    (probe,) = (await world.runtime.queue.claim(10)).started
    await world.runtime.queue.record(probe.id, probe.attempt, "p1")
    await fail(world, probe.id)
    until = (await gates(world))["~o0:acme/video"]
    assert until - world.manual.true_now == 2 * world.runtime.settings.circuit_pause * 1000


async def test_submissions_without_an_answer_open_the_circuit_too(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, circuit_failures=2) as world:
        world.provider.outcomes = [Unknown("status 500")] * 2
        for n in range(2):
            await world.enqueue(f"user{n}")
        await run(world)
        await world.enqueue("late")
        await run(world)
        assert len(world.provider.created) == 2


async def test_a_circuit_never_opens_when_it_is_switched_off(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, circuit_failures=0) as world:
        for n in range(9):
            job = await world.enqueue(f"user{n}")
            await started(world)
            await world.runtime.queue.record(job, 1, f"f{job}")
            await fail(world, job)
        assert not [name for name in await gates(world) if name.startswith("~o")]


async def test_a_lost_submission_that_is_found_to_have_failed_counts_once(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, circuit_failures=2) as world:
        job = await world.enqueue("ada", start=True)
        await world.runtime.queue.trip(job, 1)
        await world.runtime.queue.fail(job, 1, "p1", code="timeout", detail="", retryable=True)
        assert not [name for name in await gates(world) if name.startswith("~o")]
