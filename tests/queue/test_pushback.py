"""Providers push back: a pause for all jobs, then a probe; a bucket below their rate; a circuit for each model."""

from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock
from shared.providers.base import Prediction, Rejected, Throttled
from shared.providers.failures import KNOWN_CLASSES, error_class
from tests.queue.providers import gates, run, started, state
from tests.world import ObedientProvider, World, make_world


@pytest.mark.parametrize("code", ["rate_limited", "billing", "provider_auth"])
async def test_one_refusal_pauses_the_provider_for_all_users(world: World, code: Any) -> None:
    world.provider.outcomes = [Throttled(code, 30)]
    refused = await world.enqueue("ada")
    await run(world)
    others = [await world.enqueue(f"user{n}") for n in range(3)]
    await run(world)
    assert len(world.provider.created) == 1
    assert await state(world, refused) == "delayed"
    assert (await world.runtime.records.read(refused)).attempts == 0
    world.manual.advance(40)
    await run(world)
    assert {job.job_id for job in world.provider.created} == {refused, *others}


@pytest.mark.parametrize(("code", "lasts"), [("billing", 12), ("provider_auth", 12), ("rate_limited", 60)])
async def test_the_scale_of_the_margins_shortens_only_a_pause_that_the_provider_did_not_ask_for(
    any_store: RunningServer | None, clock: ManualClock, code: Any, lasts: int
) -> None:
    async with make_world(any_store, clock, timing_scale=0.2) as world:
        world.provider.outcomes = [Throttled(code, 60, 403)]
        await world.enqueue("ada")
        await run(world)
        pause = (await gates(world))["~p0"] - clock.now()
    assert lasts * 1000 <= pause <= 1.25 * lasts * 1000


async def test_after_a_pause_one_job_is_the_probe(world: World) -> None:
    world.provider.outcomes = [Throttled("rate_limited", 30), Throttled("rate_limited", 30)]
    await world.enqueue("first")
    await run(world)
    for n in range(3):
        await world.enqueue(f"user{n}")
    world.manual.advance(40)
    await run(world)
    assert len(world.provider.created) == 2, "the probe was refused, and no other job was sent"
    world.manual.advance(40)
    await run(world)
    assert len(world.provider.created) == 2 + 4 and "~p0" not in await gates(world)


async def test_while_the_probe_runs_no_job_follows_and_a_probe_that_died_is_replaced(world: World) -> None:
    world.provider.outcomes = [Throttled("rate_limited", 30)]
    jobs = [await world.enqueue("first")]
    await run(world)
    jobs += [await world.enqueue(f"user{n}") for n in range(2)]
    world.manual.advance(40)
    assert await started(world) == jobs[1:2]
    assert await started(world) == []
    world.manual.advance(world.runtime.settings.lease + 1)
    assert await started(world) == jobs[2:3]
    assert await started(world) == []


async def test_an_accepted_probe_ends_the_pause(world: World) -> None:
    world.provider.outcomes = [Throttled("rate_limited", 30)]
    await world.enqueue("first")
    await run(world)
    for n in range(2):
        await world.enqueue(f"user{n}")
    world.manual.advance(40)
    (probe,) = (await world.runtime.queue.claim(10)).started
    assert probe.probe == "~p0"
    await world.runtime.queue.record(probe.id, probe.attempt, "p1", probe=probe.probe)
    assert "~p0" not in await gates(world)
    assert len(await started(world)) == 2


async def test_a_paused_provider_does_not_hold_up_the_other(two: World) -> None:
    two.provider.outcomes = [Throttled("rate_limited", 60)]
    slow = [await two.enqueue("first")]
    await run(two)
    slow += [await two.enqueue(f"user{n}") for n in range(5)]
    other = await two.enqueue("ada", provider="wavespeed")
    assert await started(two) == [other]
    assert {await state(two, job) for job in slow[1:]} == {"queued"}


async def test_a_submit_waits_while_its_provider_is_paused(world: World) -> None:
    world.provider.outcomes = [Throttled("rate_limited", 60)]
    await world.enqueue("ada")
    await run(world)
    admitted = await world.admit("late", "bob", start=True)
    assert admitted.word == "queued"


async def test_an_unreachable_provider_puts_off_the_job_and_pauses_no_other(world: World) -> None:
    world.provider.outcomes = [Throttled("provider_down", 30)]
    job = await world.enqueue("ada")
    await run(world)
    assert await state(world, job) == "delayed" and "~p0" not in await gates(world)


async def test_the_bucket_keeps_creates_below_the_configured_rate(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    changes: dict[str, Any] = {"provider_rates": "replicate:6", "max_concurrent_tasks": 50, "max_user_tasks": 50}
    async with make_world(any_store, clock, **changes) as world:
        for _ in range(20):
            await world.enqueue("ada")
        taken = []
        for second in range(61):
            taken += [second] * len(await started(world))
            world.manual.advance(1)
    assert taken == [0, 10, 20, 30, 40, 50, 60]


async def test_a_burst_passes_and_then_the_rate_holds(any_store: RunningServer | None, clock: ManualClock) -> None:
    changes: dict[str, Any] = {"provider_rates": "replicate:60", "max_concurrent_tasks": 50, "max_user_tasks": 50}
    async with make_world(any_store, clock, **changes) as world:
        for _ in range(30):
            await world.enqueue("ada")
        assert len(await started(world, 20)) == 6
        world.manual.advance(2)
        assert len(await started(world, 20)) == 2
        assert (await world.admit("late", "bob", start=True)).word == "queued"


async def test_jobs_started_at_submit_are_counted_by_the_bucket(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, provider_rates="replicate:6", max_concurrent_tasks=9) as world:
        words = [(await world.admit(f"job_{n}", f"user{n}", start=True)).word for n in range(3)]
    assert words == ["started", "queued", "queued"]


def test_every_error_code_has_a_class_that_is_documented() -> None:
    codes = ("output_too_large", "result_expired", "provider_lost", "submission_unknown", "unreadable", "new_code")
    assert {error_class(code) for code in (*codes, *KNOWN_CLASSES)} == set(KNOWN_CLASSES)


@pytest.mark.parametrize("outcome", [Rejected("invalid_input", "bad"), Throttled("provider_down", 5)])
async def test_an_inconclusive_probe_hands_on_to_the_next_job(world: World, outcome: Any) -> None:
    world.provider.outcomes = [Throttled("rate_limited", 30), outcome]
    await world.enqueue("first")
    await run(world)
    later = [await world.enqueue(f"user{n}") for n in range(2)]
    world.manual.advance(40)
    await run(world)
    world.manual.advance(8)
    await run(world)
    states = [await state(world, job) for job in later]
    assert states in (["done", "running"], ["running", "running"]) and "~p0" not in await gates(world)


async def test_a_probe_whose_webhook_overtakes_its_record_ends_the_pause(world: World) -> None:
    world.provider.outcomes = [Throttled("rate_limited", 30)]
    await world.enqueue("first")
    await run(world)
    world.manual.advance(40)
    (probe,) = (await world.runtime.queue.claim(5)).started
    await world.runtime.queue.finish(probe.id, probe.attempt, "p1", "completed", {"output": "1"})
    assert (await world.runtime.queue.record(probe.id, probe.attempt, "p1", probe=probe.probe)).word == "already"
    assert "~p0" not in await gates(world)


async def test_jobs_of_a_provider_that_was_taken_away_still_end(two: World) -> None:
    job = await two.enqueue("ada", provider="wavespeed")
    await run(two)
    provider, changed = two.runtime.providers["wavespeed"], two.another_process(providers="replicate")
    assert isinstance(provider, ObedientProvider) and changed.settings.provider_names == ("replicate",)
    provider.states["p1"] = Prediction("p1", "completed", output="x")
    two.manual.advance(60)
    await changed.dispatcher.run(Budget(60))
    assert (await two.runtime.records.read(job)).status == "completed"


async def test_a_shorter_pause_does_not_end_a_longer_one(world: World) -> None:
    queue = world.runtime.queue
    first, second = [await world.enqueue(user, start=True) for user in ("ada", "bob")]
    await queue.snooze(first, 1, delay=60, code="billing", pause=True)
    await queue.snooze(second, 1, delay=1, code="rate_limited", pause=True)
    assert (await gates(world))["~p0"] == world.manual.true_now + 60_000
    world.manual.advance(61)
    (probe,) = (await queue.claim(5)).started
    await queue.snooze(probe.id, probe.attempt, delay=5, code="rate_limited", pause=True)
    assert (await gates(world))["~p0"] == world.manual.true_now + 5_000
