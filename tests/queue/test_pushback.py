"""Providers that push back: a pause for all, a probe after it, a bucket below their rate, a circuit around a model."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock
from shared.providers.base import Prediction, Rejected, Throttled, Unknown
from shared.providers.failures import KNOWN_CLASSES, error_class
from tests.world import ObedientProvider, World, make_world, shown


async def state(world: World, job: str) -> str:
    return (await world.runtime.records.read(job)).state


async def run(world: World) -> None:
    await world.runtime.dispatcher.run(Budget(60))


async def started(world: World, want: int = 10) -> list[str]:
    return [job.id for job in (await world.runtime.queue.claim(want)).started]


async def gates(world: World) -> dict[str, int]:
    return (await world.runtime.records.stats()).gates


@pytest.fixture
async def two(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    """A deployment with both providers."""
    brings = {"wavespeed": ObedientProvider("wavespeed")}
    async with make_world(any_store, clock, brings, providers="replicate,wavespeed", max_user_tasks=10) as made:
        yield made


@pytest.mark.parametrize("code", ["rate_limited", "billing", "provider_auth"])
async def test_one_refusal_pauses_the_provider_for_everybody(world: World, code: Any) -> None:
    world.provider.outcomes = [Throttled(code, 30)]
    refused = await world.enqueue("ada")
    await run(world)
    others = [await world.enqueue(f"user{n}") for n in range(3)]
    await run(world)
    assert len(world.provider.created) == 1
    assert await state(world, refused) == "queued"
    assert (await world.runtime.records.read(refused)).attempts == 0
    world.manual.advance(40)
    await run(world)
    assert {job.job_id for job in world.provider.created} == {refused, *others}


async def test_after_a_pause_one_job_is_the_probe(world: World) -> None:
    world.provider.outcomes = [Throttled("rate_limited", 30), Throttled("rate_limited", 30)]
    await world.enqueue("first")
    await run(world)
    for n in range(3):
        await world.enqueue(f"user{n}")
    world.manual.advance(40)
    await run(world)
    assert len(world.provider.created) == 2, "the probe was refused, and nobody else was sent"
    world.manual.advance(40)
    await run(world)
    assert len(world.provider.created) == 2 + 4 and "~p0" not in await gates(world)


async def test_while_the_probe_is_out_nobody_follows_and_a_probe_that_died_is_replaced(world: World) -> None:
    world.provider.outcomes = [Throttled("rate_limited", 30)]
    jobs = [await world.enqueue("first")]
    await run(world)
    jobs += [await world.enqueue(f"user{n}") for n in range(2)]
    world.manual.advance(40)
    assert await started(world) == jobs[:1]
    assert await started(world) == []
    world.manual.advance(world.runtime.settings.lease + 1)
    assert await started(world) == jobs[1:2]
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
    assert {await state(two, job) for job in slow} == {"queued"}


async def test_a_submit_waits_while_its_provider_is_paused(world: World) -> None:
    world.provider.outcomes = [Throttled("rate_limited", 60)]
    await world.enqueue("ada")
    await run(world)
    admitted = await world.admit("late", "bob", start=True)
    assert admitted.word == "queued"


async def test_an_unreachable_provider_puts_off_the_job_and_pauses_nobody(world: World) -> None:
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


async def fail(world: World, job: str, code: str = "provider_down") -> None:
    record = await world.runtime.records.read(job)
    await world.runtime.queue.fail(job, record.attempt, record.prediction, code=code, detail="", retryable=False)


async def open_circuit(world: World, code: str = "provider_down") -> None:
    """As many failures of acme/video in a row as open its circuit."""
    for n in range(world.runtime.settings.circuit_failures):
        job = await world.enqueue(f"unlucky{n}")
        (claimed,) = (await world.runtime.queue.claim(1)).started
        await world.runtime.queue.record(job, claimed.attempt, f"f{job}")
        await fail(world, job, code)


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


async def test_a_job_that_waits_too_long_has_failed_as_expired(world: World) -> None:
    world.provider.outcomes = [Throttled("billing", 3600)]
    job = await world.enqueue("ada")
    await run(world)
    world.provider.outcomes = []
    world.manual.advance(world.runtime.settings.queue_ttl + 1)
    await world.runtime.tick.run()
    document = shown(await world.runtime.records.read(job))
    assert document["status"] == "failed" and not world.provider.created[1:]
    assert document["error"] and document["error"]["class"] == "expired" and "billing" in document["error"]["detail"]


async def test_each_queue_has_its_own_terms(any_store: RunningServer | None, clock: ManualClock) -> None:
    options = {"storyboard": {"concurrency": 1, "retries": 0, "ttl": 60, "deadline": 300}}
    async with make_world(any_store, clock, queue_options=options) as world:
        jobs = [await world.enqueue(f"user{n}", queue="storyboard") for n in range(2)]
        (claimed,) = (await world.runtime.queue.claim(10)).started
        assert claimed.deadline == 300
        await world.runtime.queue.record(claimed.id, 1, "p1")
        ended = await world.runtime.queue.fail(claimed.id, 1, "p1", code="timeout", detail="", retryable=True)
        assert ended.word == "finished", "no retries"
        video = await world.enqueue("ada")
        world.manual.advance(61)
        await world.runtime.tick.run()
        assert (await world.runtime.records.read(jobs[1])).error_code == "expired"
        assert await state(world, video) == "running"
        assert world.provider.created[-1].cancel_after == int(world.runtime.settings.cancel_after)


async def test_a_run_that_its_provider_does_not_end_in_time_is_given_up(two: World) -> None:
    provider = two.runtime.providers["wavespeed"]
    assert isinstance(provider, ObedientProvider)
    job = await two.enqueue("ada", provider="wavespeed")
    await run(two)
    two.manual.advance(two.runtime.settings.cancel_after + two.runtime.settings.adoption_margin + 1)
    await run(two)
    document = shown(await two.runtime.records.read(job))
    assert document["status"] == "failed" and document["error"] and document["error"]["class"] == "expired"
    assert provider.canceled


async def test_a_provider_that_ends_no_runs_is_waited_for_longer_before_a_resubmission(two: World) -> None:
    provider = two.runtime.providers["wavespeed"]
    assert isinstance(provider, ObedientProvider)
    provider.outcomes = [Unknown("timeout")]
    job = await two.enqueue("ada", provider="wavespeed")
    await run(two)
    settings = two.runtime.settings
    two.manual.advance(settings.lease + settings.cancel_after + settings.adoption_margin + 60)
    await run(two)
    assert await state(two, job) == "submitting"
    two.manual.advance(3600)
    await run(two)
    assert (await two.runtime.records.read(job)).attempts == 2


async def test_a_success_teaches_how_long_the_model_takes(world: World) -> None:
    for n in range(10):
        job = await world.enqueue(f"user{n}", start=True)
        await world.runtime.queue.record(job, 1, f"p{n}")
        world.manual.advance(10 + n)
        await world.runtime.queue.finish(job, 1, f"p{n}", "completed", {"output": "1"})
    job = await world.enqueue("ada")
    _, place = await world.runtime.records.explain(job)
    assert 10_000 <= place.p50 <= 19_000 and place.p50 <= place.p90 <= 19_000


def test_every_error_code_has_a_class_that_is_documented() -> None:
    codes = ("output_too_large", "result_expired", "provider_lost", "submission_unknown", "unreadable", "new_code")
    assert {error_class(code) for code in (*codes, *KNOWN_CLASSES)} == set(KNOWN_CLASSES)


@pytest.mark.parametrize("outcome", [Rejected("invalid_input", "bad"), Throttled("provider_down", 5)])
async def test_a_probe_that_tells_nothing_hands_on_to_the_next_job(world: World, outcome: Any) -> None:
    world.provider.outcomes = [Throttled("rate_limited", 30), outcome]
    await world.enqueue("first")
    await run(world)
    later = [await world.enqueue(f"user{n}") for n in range(2)]
    world.manual.advance(40)
    await run(world)
    world.manual.advance(1)
    await run(world)
    assert {await state(world, job) for job in later} == {"running"} and "~p0" not in await gates(world)


async def test_a_probe_whose_webhook_overtakes_its_record_ends_the_pause(world: World) -> None:
    world.provider.outcomes = [Throttled("rate_limited", 30)]
    await world.enqueue("first")
    await run(world)
    world.manual.advance(40)
    (probe,) = (await world.runtime.queue.claim(5)).started
    await world.runtime.queue.finish(probe.id, probe.attempt, "p1", "completed", {"output": "1"})
    assert await world.runtime.queue.record(probe.id, probe.attempt, "p1", probe=probe.probe) == "already"
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


async def test_a_tick_ends_many_that_have_waited_too_long(any_store: RunningServer | None, clock: ManualClock) -> None:
    async with make_world(any_store, clock, max_user_tasks=1000) as world:
        await world.runtime.controls.set_gates({"=q0": 0})
        for _ in range(180):
            await world.enqueue("ada")
        world.manual.advance(world.runtime.settings.queue_ttl + 1)
        for _ in range(2):
            await world.runtime.tick.run()
        assert await world.indexed() == 0


async def test_time_at_the_provider_is_no_waiting_and_a_retry_expires_too(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, queue_ttl=600.0, queue_retry_delay=1000) as world:
        job = await world.enqueue("ada", start=True)
        await world.runtime.queue.record(job, 1, "p1")
        world.provider.states["p1"] = Prediction("p1", "running")
        world.manual.advance(700)
        await world.runtime.tick.run()  # its alarm goes off while it runs
        await world.runtime.queue.fail(job, 1, "p1", code="timeout", detail="", retryable=True)
        await world.runtime.controls.set_gates({"=q0": 0})
        world.manual.advance(590)
        await world.runtime.tick.run()
        assert await state(world, job) != "done"
        world.manual.advance(20)
        await world.runtime.tick.run()
        assert (await world.runtime.records.read(job)).error_code == "expired"


async def test_a_lost_submission_that_is_found_to_have_failed_counts_once(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, circuit_failures=2) as world:
        job = await world.enqueue("ada", start=True)
        await world.runtime.queue.trip(job, 1)
        await world.runtime.queue.fail(job, 1, "p1", code="timeout", detail="", retryable=True)
        assert not [name for name in await gates(world) if name.startswith("~o")]


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
