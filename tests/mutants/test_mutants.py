"""Tests that close gaps of the contract's tests, found by deliberate bugs: see tests/mutants."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.clock import ManualClock
from tests.faults.breakages import BREAKAGES
from tests.mutants.__main__ import MUTANTS
from tests.mutants.edit import anchors
from tests.mutants.mutant import Mutant
from tests.project import ROOT
from tests.world import World, make_world


@pytest.fixture
async def world(clock: ManualClock) -> AsyncIterator[World]:
    """On memory mode alone: the scripts are the same on every store."""
    async with make_world(None, clock) as made:
        yield made


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_can_still_be_made(mutant: Mutant) -> None:
    for edit in mutant.edits:
        assert edit.applied_to((ROOT / edit.file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_every_breakage_can_still_be_made(breakage: str) -> None:
    edit, *_ = BREAKAGES[breakage]
    assert edit.applied_to((ROOT / edit.file).read_text(encoding="utf-8"))


def test_every_anchor_is_named_once_in_its_file_and_used_by_a_bug() -> None:
    placed = Counter(
        (str(path.relative_to(ROOT)), name)
        for folder in ("functions", "shared")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".lua")
        for name, _ in anchors(path.read_text(encoding="utf-8"))
    )
    edits = [edit for mutant in MUTANTS for edit in mutant.edits] + [edit for edit, *_ in BREAKAGES.values()]
    used = {(edit.file, edit.anchor) for edit in edits}
    assert used == set(placed)
    assert set(placed.values()) == {1}


@pytest.mark.parametrize("verb", ["fail", "snooze", "rescue", "record", "finish"])
async def test_a_write_of_an_attempt_before_the_last_is_stale(world: World, verb: str) -> None:
    queue, settings = world.runtime.queue, world.runtime.settings
    job = await world.enqueue()
    for attempt in (1, 2):
        await queue.claim(1)
        await queue.snooze(job, attempt, delay=0, code="x")
    await queue.claim(1)
    world.manual.advance(settings.lease + settings.cancel_after + settings.adoption_margin)
    before = await world.raw("HGETALL", queue.keys.job(job))
    match verb:
        case "fail":
            assert (await queue.fail(job, 1, "", code="x", detail="", retryable=False)).word == "stale"
        case "snooze":
            assert (await queue.snooze(job, 1, delay=0, code="x")).word == "stale"
        case "rescue":
            assert (await queue.rescue(job, 1)).word == "stale"
        case "record":
            assert (await queue.record(job, 1, "p1")).word == "stale"
        case "finish":
            assert (await queue.finish(job, 1, "p1", "canceled", {})).word == "stale"
    assert await world.raw("HGETALL", queue.keys.job(job)) == before


async def test_an_end_of_another_prediction_of_the_attempt_is_stale(world: World) -> None:
    queue = world.runtime.queue
    job = await world.enqueue(start=True)
    await queue.record(job, 1, "p1")
    assert (await queue.fail(job, 1, "p9", code="x", detail="", retryable=False)).word == "stale"
    for outcome in ("completed", "canceled"):
        assert (await queue.finish(job, 1, "p9", outcome, {})).word == "stale"
    assert (await world.runtime.records.read(job)).state == "running"


async def test_a_prediction_of_an_earlier_attempt_is_not_adopted(world: World) -> None:
    queue = world.runtime.queue
    job = await world.enqueue(start=True)
    await queue.record(job, 1, "p1")
    await queue.fail(job, 1, "p1", code="unknown", detail="", retryable=True)
    world.manual.advance(100)
    await queue.claim(1)
    adopted = await queue.adopt(job, 2, {"p1": "alike"})
    assert (adopted.word, adopted.prediction) == ("none", "")
    adopted = await queue.adopt(job, 2, {"p1": "alike", "p2": "alike"})
    assert (adopted.word, adopted.prediction) == ("adopted", "p2")


async def test_a_repeated_finish_still_names_the_prediction_to_cancel(world: World) -> None:
    queue = world.runtime.queue
    job = await world.enqueue(start=True)
    await queue.record(job, 1, "p1")
    await queue.fail(job, 1, "p1", code="timeout", detail="", retryable=True)
    world.manual.advance(100)
    await queue.claim(1)
    await queue.record(job, 2, "p2")
    for word in ("finished", "already"):
        ended = await queue.finish(job, 1, "p1", "completed", {})
        assert (ended.word, ended.outcome, ended.other) == (word, "completed", "p2")


@pytest.mark.parametrize("verb", ["claim", "enqueue"])
async def test_no_call_looks_at_a_submission_before_its_lease_is_over(world: World, verb: str) -> None:
    queue = world.runtime.queue
    job = await world.enqueue(start=verb == "enqueue")
    if verb == "claim":
        await queue.claim(1)
    world.manual.advance(world.runtime.settings.lease - 1)
    assert (await queue.claim(5)).overdue == ()
    world.manual.advance(2)
    assert [overdue.id for overdue in (await queue.claim(5)).overdue] == [job]


async def test_a_claim_keeps_the_limit_of_a_queue_that_others_leave_room_for(world: World) -> None:
    for number in range(5):
        await world.enqueue(f"user{number}", queue="storyboard")
    assert len((await world.runtime.queue.claim(5)).started) == 3
    assert (await world.runtime.queue.claim(5)).started == ()


async def test_a_frozen_callers_claim_is_put_back_and_not_submitted(world: World) -> None:
    job = await world.enqueue()
    claim = await world.runtime.queue.claim(1)
    world.manual.advance(world.runtime.settings.lease - world.runtime.settings.provider_timeout)
    assert await world.runtime.dispatcher.start(claim.started[0])
    assert world.provider.created == []
    assert (await world.runtime.records.read(job)).state == "delayed"


async def test_a_prediction_that_came_too_late_is_cancelled(world: World) -> None:
    queue = world.runtime.queue
    job = await world.enqueue()
    claim = await queue.claim(1)
    await queue.finish(job, 1, "named by its webhook", "completed", {})
    await world.runtime.dispatcher.start(claim.started[0])
    assert world.provider.canceled == ["p1"]
    assert (await world.runtime.records.read(job)).prediction == "named by its webhook"


async def test_a_repeated_trip_counts_once(world: World) -> None:
    queue = world.runtime.queue
    job = await world.enqueue(start=True)
    looks = []
    for _ in range(2):
        await queue.trip(job, 1, look_in=30)
        looks.append(await world.raw("ZSCORE", queue.keys.index, job))
        world.manual.advance(10)
    assert looks[0] == looks[1]
    share = await world.raw("HGET", queue.keys.job(job), "share")
    assert await world.raw("HGET", queue.keys.runs(0, "acme/video"), f"pair:{share}") == "0|1|0|0"


async def test_what_is_at_the_provider_does_not_expire(world: World) -> None:
    queue = world.runtime.queue
    job = await world.enqueue(start=True)
    await queue.record(job, 1, "p1")
    world.manual.advance(world.runtime.settings.queue_ttl + 1)
    assert (await queue.expire(job)).word == "stale"
    assert (await world.runtime.records.read(job)).state == "running"


async def test_what_may_still_wait_does_not_expire(world: World) -> None:
    job = await world.enqueue()
    world.manual.advance(world.runtime.settings.queue_ttl - 1)
    assert (await world.runtime.queue.expire(job)).word == "stale"
    assert (await world.runtime.records.read(job)).state == "queued"


async def test_a_job_without_its_alarm_is_not_started_after_it_has_expired(world: World) -> None:
    queue = world.runtime.queue
    job = await world.enqueue()
    await world.raw("ZREM", queue.keys.index, f"!{job}")
    world.manual.advance(world.runtime.settings.queue_ttl + 1)
    claim = await queue.claim(1)
    assert (claim.started, claim.expired) == ((), (job,))


async def test_a_claim_keeps_the_systems_limit_where_the_provider_allows_more(clock: ManualClock) -> None:
    changes: dict[str, Any] = {"max_concurrent_tasks": 3, "queue_concurrency": 9, "provider_concurrency": "replicate:9"}
    async with make_world(None, clock, **changes) as world:
        for number in range(5):
            await world.enqueue(f"user{number}")
        assert len((await world.runtime.queue.claim(2)).started) == 2
        assert len((await world.runtime.queue.claim(5)).started) == 1


async def test_a_raised_job_starts_before_the_others(world: World) -> None:
    _, raised = await world.enqueue("ada"), await world.enqueue("bob")
    assert await world.runtime.controls.reprioritize(raised, "app", 5)
    assert [job.id for job in (await world.runtime.queue.claim(1)).started] == [raised]


async def test_a_pause_takes_the_seats_of_a_user_who_had_many(clock: ManualClock) -> None:
    async with make_world(None, clock, max_user_tasks=1, max_concurrent_tasks=20) as world:
        controls, queue = world.runtime.controls, world.runtime.queue
        await controls.limit_user("app", "ada", 12)
        for _ in range(12):
            await world.enqueue("ada")
        await controls.limit_user("app", "ada", 0)
        assert (await queue.claim(20)).started == ()
        await controls.limit_user("app", "ada", None)
        assert [job.id for job in (await queue.claim(20)).started] == ["job_0"]


async def test_a_circuit_that_was_closed_may_open_at_once(clock: ManualClock) -> None:
    async with make_world(None, clock, circuit_failures=1) as world:
        queue = world.runtime.queue
        jobs = [await world.enqueue(start=True) for _ in range(3)]
        for job in jobs:
            await queue.record(job, 1, f"p-{job}")
        await queue.fail(jobs[0], 1, f"p-{jobs[0]}", code="unknown", detail="", retryable=True)
        await queue.finish(jobs[1], 1, f"p-{jobs[1]}", "completed", {})
        assert "~o0:acme/video" not in (await world.runtime.records.stats()).gates
        await queue.fail(jobs[2], 1, f"p-{jobs[2]}", code="unknown", detail="", retryable=True)
        assert "~o0:acme/video" in (await world.runtime.records.stats()).gates


async def test_the_probe_of_a_provider_may_be_its_models_too(clock: ManualClock) -> None:
    async with make_world(None, clock, circuit_failures=1) as world:
        queue = world.runtime.queue
        fails, throttled = await world.enqueue(start=True), await world.enqueue(start=True)
        await world.enqueue("bob")
        await queue.fail(fails, 1, "p1", code="unknown", detail="", retryable=True)
        await queue.snooze(throttled, 1, delay=10, code="rate_limited", pause=True)
        world.manual.advance(world.runtime.settings.circuit_pause + 1)
        (probe,) = (await queue.claim(5)).started
        assert probe.probe == "~p0"
        await queue.record(probe.id, probe.attempt, "p2", probe=probe.probe)
        assert (await queue.claim(5)).started == ()


async def test_a_probe_that_its_webhook_overtakes_ends_the_pause(world: World) -> None:
    queue = world.runtime.queue
    job = await world.enqueue(start=True)
    await world.enqueue("bob")
    await queue.snooze(job, 1, delay=10, code="rate_limited", pause=True)
    world.manual.advance(11)
    (probe,) = (await queue.claim(5)).started
    await queue.finish(probe.id, 1, "p1", "completed", {})
    assert (await queue.record(probe.id, 1, "p1", probe=probe.probe)).word == "already"
    assert len((await queue.claim(5)).started) == 1
