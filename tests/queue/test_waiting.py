"""Waiting and running times: each queue's own limits, expiry, and learned durations."""

from dataclasses import dataclass

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.providers.base import Found, Prediction, Throttled, Unknown, Wanted
from tests.queue.providers import run, state
from tests.world import ObedientProvider, World, make_world, shown


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
    assert await state(two, job) == "delayed"
    two.manual.advance(settings.queue_retry_delay / 1000 * 1.5)
    await run(two)
    assert (await two.runtime.records.read(job)).attempts == 2


@dataclass
class Raising(ObedientProvider):
    """Its list has what its reader does not expect."""

    async def find(self, wanted: Wanted, timeout: float) -> Found:
        raise RuntimeError(await super().find(wanted, timeout))


async def test_a_search_that_raises_proves_nothing_and_its_slot_is_free_in_the_end(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    raising = Raising(outcomes=[Unknown("status 503")])
    async with make_world(any_store, clock, {"replicate": raising}) as world:
        s, job_id = world.runtime.settings, await world.enqueue()
        await run(world)
        for _ in range(5):
            world.manual.advance(60)
            await world.runtime.tick.run()
        assert len(raising.looked_for) == 5 and await state(world, job_id) == "submitting"
        world.manual.advance(s.lease + s.cancel_after + s.adoption_margin)
        await world.runtime.tick.run()
        stats = await world.runtime.records.stats()
        assert (stats.unknown, stats.counters["rescued"]) == (0, 1)


async def test_a_success_teaches_how_long_the_model_takes(world: World) -> None:
    for n in range(10):
        job = await world.enqueue(f"user{n}", start=True)
        await world.runtime.queue.record(job, 1, f"p{n}")
        world.manual.advance(10 + n)
        await world.runtime.queue.finish(job, 1, f"p{n}", "completed", {"output": "1"})
    job = await world.enqueue("ada")
    _, place = await world.runtime.records.explain(job)
    assert 10_000 <= place.p50 <= 19_000 and place.p50 <= place.p90 <= 19_000


def far_from(world: World) -> int:
    """The end of a provider's own pause that outlasts a test. An operator's would stop the time of what waits."""
    return world.clock.now() + 10_000_000_000


async def test_a_tick_ends_many_that_have_waited_too_long(any_store: RunningServer | None, clock: ManualClock) -> None:
    async with make_world(any_store, clock, max_user_tasks=1000) as world:
        await world.runtime.controls.set_gates({"~p0": far_from(world)})
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
        await world.runtime.tick.run()  # its expiry entry is due while it runs
        await world.runtime.queue.fail(job, 1, "p1", code="timeout", detail="", retryable=True)
        await world.runtime.controls.set_gates({"~p0": far_from(world)})
        world.manual.advance(590)
        await world.runtime.tick.run()
        assert await state(world, job) != "done"
        world.manual.advance(20)
        await world.runtime.tick.run()
        assert (await world.runtime.records.read(job)).error_code == "expired"
