"""A refused job is at fault by itself as soon as the provider accepts another one; until then the account may be."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.jobs.explanation import explain
from shared.providers.base import Throttled
from tests.queue.providers import FORBIDDEN, PAUSE, ChoosyProvider, finish_all, gates, run, started, state, ticks
from tests.world import World, make_world

MAX_CREATES = 5  # of a job that alone is refused


@pytest.fixture
async def world(any_store: RunningServer | None, clock: ManualClock, choosy: ChoosyProvider) -> AsyncIterator[World]:
    async with make_world(any_store, clock, {"replicate": choosy}, max_user_tasks=200) as made:
        yield made


async def test_others_start_at_the_first_probe_and_the_refused_job_ends_as_a_dead_letter(
    world: World, choosy: ChoosyProvider
) -> None:
    """One submit of a model that the account may not run held up all others for 23 hours, with 162 creates."""
    refused = await world.enqueue("ada", model=FORBIDDEN, priority=5)
    await run(world)
    others = [await world.enqueue(f"user{n}") for n in range(4)]
    await run(world)
    assert [await state(world, job) for job in others] == ["queued"] * 4
    world.manual.advance(1.25 * PAUSE + 1)
    await run(world)
    assert [await state(world, job) for job in others] == ["running"] * 4
    await finish_all(world)
    for minute in range(20):
        await world.enqueue(f"late{minute}")
        await ticks(world, 1)
    record = await world.runtime.records.read(refused)
    assert (record.status, record.error_code, record.is_error_retryable) == ("failed", "provider_refused", False)
    assert record.attempts == 0 and choosy.sent(FORBIDDEN) == MAX_CREATES
    assert (await world.runtime.records.stats()).counters["snoozed"] == MAX_CREATES
    assert "5 times (status 403)" in record.error_detail
    assert refused in await world.raw("ZRANGE", world.runtime.queue.keys.dead, "0", "-1")


@pytest.mark.parametrize(
    ("code", "status", "ends_with"),
    [
        ("provider_auth", 401, ("provider_refused", False)),
        ("billing", 402, ("billing", True)),
        ("rate_limited", 429, None),
    ],
)
async def test_what_ends_a_job_that_alone_is_refused(
    world: World, choosy: ChoosyProvider, code: Any, status: int, ends_with: tuple[str, bool] | None
) -> None:
    """Too many submissions are never a job's own fault: such a job goes on waiting, longer each time."""
    choosy.refuses = {FORBIDDEN: Throttled(code, PAUSE, status)}
    refused = await world.enqueue("ada", model=FORBIDDEN)
    for minute in range(40):
        await world.enqueue(f"user{minute}")
        await ticks(world, 1)
    record = await world.runtime.records.read(refused)
    if ends_with:
        assert (record.error_code, record.is_error_retryable) == ends_with
    assert record.is_waiting == (ends_with is None) and choosy.sent(FORBIDDEN) <= 6
    assert choosy.sent("acme/video") >= 38


async def test_a_wrong_token_pauses_all_and_ends_no_job_before_its_time(world: World, choosy: ChoosyProvider) -> None:
    choosy.refuses |= {"acme/video": Throttled("provider_auth", PAUSE, 401)}
    jobs = [await world.enqueue(f"user{n}", model=model) for n, model in enumerate([FORBIDDEN, *["acme/video"] * 5])]
    await ticks(world, 6 * 60)
    assert {await state(world, job) for job in jobs} <= {"delayed", "queued"}
    assert len(choosy.created) <= 6 * 60, "one probe a pause"
    choosy.refuses = {}
    await ticks(world, 3)
    assert {await state(world, job) for job in jobs[1:]} <= {"running", "done"}


async def test_a_job_alone_at_its_provider_is_tried_once_a_pause_and_ends_when_its_time_is_over(
    any_store: RunningServer | None, clock: ManualClock, choosy: ChoosyProvider
) -> None:
    """Then no other job disproves that the account is at fault, and no other job waits for it."""
    async with make_world(any_store, clock, {"replicate": choosy}, queue_ttl=3600.0) as world:
        job = await world.enqueue("ada", model=FORBIDDEN)
        await ticks(world, 62)
        record = await world.runtime.records.read(job)
        assert (record.error_code, choosy.sent(FORBIDDEN) <= 61) == ("expired", True)
        assert "provider_auth" in record.error_detail


async def test_many_forbidden_jobs_of_one_user_do_not_probe_one_after_the_other(
    world: World, choosy: ChoosyProvider
) -> None:
    for _ in range(100):
        await world.enqueue("ada", model=FORBIDDEN, priority=5)
    await run(world)
    sent = choosy.sent(FORBIDDEN)
    assert sent == world.runtime.settings.max_concurrent_tasks
    innocent = await world.enqueue("bob")
    world.manual.advance(1.25 * PAUSE + 1)
    (probe,) = (await world.runtime.queue.claim(10)).started
    assert probe.id == innocent


async def test_an_innocent_job_far_behind_refused_ones_is_found(
    any_store: RunningServer | None, clock: ManualClock, choosy: ChoosyProvider
) -> None:
    """A claim looks at 50 ready jobs of a lane for a probe, and at 50 others each time."""
    changes: dict[str, Any] = {"max_user_tasks": 400, "max_concurrent_tasks": 1}
    async with make_world(any_store, clock, {"replicate": choosy}, **changes) as world:
        for _ in range(320):
            await world.enqueue("ada", model=FORBIDDEN, priority=5)
        innocent, probes = await world.enqueue("bob", model="acme/still"), 0
        while await state(world, innocent) == "queued" and probes < 20:
            await run(world)
            world.manual.advance(1.25 * PAUSE + 1)
            probes += 1
        assert 1 < probes <= 12


async def test_a_probe_is_of_another_model_and_another_user_if_there_is_one(world: World) -> None:
    refused = await world.enqueue("ada", model=FORBIDDEN)
    await run(world)
    alike = [await world.enqueue("ada", model=FORBIDDEN), await world.enqueue("bob", model=FORBIDDEN)]
    same_user, innocent = await world.enqueue("ada"), await world.enqueue("bob")
    world.manual.advance(1.25 * PAUSE + 1)
    queue, order = world.runtime.queue, []
    for _ in range(5):
        (probe,) = (await queue.claim(10)).started
        assert probe.probe == "~p0"
        order.append(probe.id)
        # Its request is unreadable, so another one has to be the probe.
        await queue.fail(probe.id, probe.attempt, "", code="unreadable", detail="", retryable=False)
    assert order == [innocent, same_user, alike[1], alike[0], refused]


async def test_too_many_submissions_pause_the_provider_each_time(world: World, choosy: ChoosyProvider) -> None:
    choosy.refuses = {FORBIDDEN: Throttled("rate_limited", 30, 429)}
    await world.enqueue("ada", model=FORBIDDEN)
    await run(world)
    await world.enqueue("bob")
    await ticks(world, 1)
    await world.enqueue("ada", model=FORBIDDEN, priority=5)
    await run(world)
    assert (await gates(world))["~p0"] > world.manual.true_now + 29_000


async def test_a_refusal_that_comes_after_a_rescue_changes_nothing(world: World) -> None:
    queue, s = world.runtime.queue, world.runtime.settings
    job = await world.enqueue(start=True)
    world.manual.advance(s.lease + s.cancel_after + s.adoption_margin + 1)
    await queue.rescue(job, 1)
    late = await queue.snooze(job, 1, delay=5, code="provider_auth", status=403, pause=True)
    assert late.word == "already" and "~p0" not in await gates(world)


async def test_a_job_that_was_accepted_starts_with_a_clean_record(world: World, choosy: ChoosyProvider) -> None:
    job = await world.enqueue("ada", model=FORBIDDEN)
    await run(world)
    assert (await world.runtime.records.read(job)).refusals == 1
    choosy.refuses = {}
    await ticks(world, 2)
    assert (await world.runtime.records.read(job)).refusals == 0


@pytest.mark.parametrize("end", ["completed", "canceled", "failed", "failed for good", "adopted"])
async def test_a_probe_whose_answer_is_lost_ends_the_pause_by_the_news_of_its_prediction(
    world: World, end: str
) -> None:
    """The provider stayed paused until the probe's lease was over, 122 s, though it had taken the submission."""
    queue = world.runtime.queue
    probe = await a_probe(world)
    match end:
        case "adopted":
            assert (await queue.adopt(probe, 1, {"p1": "marked"})).word == "adopted"
        case "failed" | "failed for good":
            is_retryable = end == "failed"
            await queue.fail(probe, 1, "p1", code="timeout", detail="", retryable=is_retryable)
        case _:
            await queue.finish(probe, 1, "p1", end, {})
    assert "~p0" not in await gates(world)
    assert len(await started(world)) == 1


@pytest.mark.parametrize("end", ["rescued", "tripped", "put back", "rejected", "canceled while it was put back"])
async def test_a_probe_without_a_result_lets_another_job_be_the_probe_at_once(world: World, end: str) -> None:
    queue, s = world.runtime.queue, world.runtime.settings
    probe = await a_probe(world)
    match end:
        case "rescued":
            world.manual.advance(s.lease + s.cancel_after + s.adoption_margin + 1)
            assert (await queue.rescue(probe, 1)).word == "requeued"
        case "tripped":
            await queue.trip(probe, 1)
        case "put back":
            await queue.snooze(probe, 1, delay=0, code="lease_too_short")
        case "rejected":
            await queue.fail(probe, 1, "", code="invalid_input", detail="", retryable=False)
        case _:
            await queue.cancel(probe, "app")
            await queue.snooze(probe, 1, delay=0, code="provider_down")
    (other,) = (await queue.claim(10)).started
    assert other.probe == "~p0" and (await gates(world))["~p0"] > world.manual.true_now


async def test_a_late_success_of_an_earlier_attempt_leaves_the_probe_of_the_current_one(world: World) -> None:
    """A second probe was sent while the answer of the first one was to come."""
    probe = await a_probe_of_a_completed_job(world)
    await world.enqueue("eve")
    assert await started(world) == []
    await world.runtime.queue.record(probe, 2, "p2", probe="~p0")
    assert len(await started(world)) == 2


@pytest.mark.parametrize("answer", ["refused", "put back", "put back by another", "tripped", "rejected"])
async def test_a_probe_of_a_job_that_is_over_lets_another_one_probe_when_it_fails(world: World, answer: str) -> None:
    """The provider stayed shut until the probe's lease was over, since the answer came for a job that had ended."""
    queue = world.runtime.queue
    probe = await a_probe_of_a_completed_job(world)
    await world.enqueue("eve")
    for _ in range(2):  # a repeat too
        word = "stale"
        match answer:
            case "refused":
                answered = await queue.snooze(probe, 2, delay=60, code="provider_auth", status=403, pause=True)
                word = answered.word
            case "put back" | "put back by another":
                token = "" if answer == "put back" else "another"
                word = (await queue.snooze(probe, 2, delay=30, code="provider_down", token=token)).word
            case "tripped":
                await queue.trip(probe, 2, look_in=15)
            case _:
                word = (await queue.fail(probe, 2, "", code="invalid_input", detail="", retryable=False)).word
        assert word == "stale"
    is_free = answer != "put back by another"
    assert (len(await started(world)) == 1) == is_free


@pytest.mark.parametrize("end", ["completed", "failed"])
async def test_a_probe_of_a_job_that_is_over_ends_the_pause_by_the_news_of_its_prediction(
    world: World, end: str
) -> None:
    queue = world.runtime.queue
    probe = await a_probe_of_a_completed_job(world)
    if end == "completed":
        assert (await queue.finish(probe, 2, "p2", "completed", {"output": "2"})).word == "stale"
    else:
        await queue.fail(probe, 2, "p2", code="timeout", detail="", retryable=True)
    assert "~p0" not in await gates(world)


async def test_an_operator_sees_why_a_provider_is_paused_and_lifts_it(world: World, choosy: ChoosyProvider) -> None:
    job = await world.enqueue("ada", model=FORBIDDEN)
    await run(world)
    (pause,) = (await world.runtime.records.stats()).pauses
    now = world.manual.true_now
    assert (pause.provider, pause.code, pause.status) == ("replicate", "provider_auth", 403)
    assert (pause.since, pause.at, pause.refusals, pause.models) == (now, now, 1, (FORBIDDEN,))
    assert "refused once" in (await explained(world, job))
    standing = await world.runtime.controls.set_gates({"~p0": None})
    assert "~p0" not in standing.standing and not standing.pauses
    assert not await world.raw("EXISTS", world.runtime.queue.keys.refusals(0))


async def test_what_is_known_of_a_providers_refusals_is_forgotten_after_an_hour(world: World) -> None:
    await world.enqueue("ada", model=FORBIDDEN)
    await run(world)
    assert 0 < await world.raw("TTL", world.runtime.queue.keys.refusals(0)) <= 3600
    kept = str(await world.raw("HGETALL", world.runtime.queue.keys.refusals(0)))
    assert FORBIDDEN in kept and "ada" not in kept


async def a_probe(world: World) -> str:
    """A job that is the probe of a paused provider; another one waits."""
    refused = await world.enqueue("ada", model=FORBIDDEN)
    await run(world)
    job = await world.enqueue("bob")
    world.manual.advance(1.25 * PAUSE + 1)
    (probe,) = (await world.runtime.queue.claim(1)).started
    assert (probe.id, probe.probe) == (job, "~p0") and await state(world, refused) == "queued"
    return job


async def a_probe_of_a_completed_job(world: World) -> str:
    """The job whose second attempt is the probe of a paused provider, while its first one has completed it."""
    queue = world.runtime.queue
    probe = await world.enqueue("bob", start=True)
    await queue.record(probe, 1, "p1")
    await queue.fail(probe, 1, "p1", code="timeout", detail="", retryable=True)
    await world.enqueue("ada", model=FORBIDDEN)
    await run(world)
    world.manual.advance(1.25 * PAUSE + 3600)
    (row,) = (await queue.claim(10)).started
    assert (row.id, row.attempt, row.probe) == (probe, 2, "~p0")
    assert (await queue.finish(probe, 1, "p1", "completed", {"output": "1"})).word == "finished"
    return probe


async def explained(world: World, job: str) -> str:
    record, outlook = await world.runtime.records.explain(job)
    reason = explain(record, outlook, world.runtime.settings, world.manual.now())["waiting_reason"]
    assert reason is not None
    return reason
