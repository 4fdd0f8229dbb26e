"""Two arguments of one kind must not change places: each test notices a swap that others miss.

``python -m tests.mutants.swaps`` finds such swaps. Values that are equal by default differ here.
"""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from shared.clock import ManualClock
from shared.errors import UserLimitReached
from shared.jobqueue.constants import BAND, GRANT
from shared.jobqueue.history import PageStart
from shared.jobqueue.terms import Terms
from tests.world import World, make_world

HOUR = 3_600_000  # ms


@pytest.fixture
async def world(clock: ManualClock) -> AsyncIterator[World]:
    """In memory mode: the order of arguments is the same on every store."""
    async with make_world(None, clock) as made:
        yield made


async def fields(world: World, job: str, *names: str) -> list[str]:
    values: list[str] = await world.raw("HMGET", world.runtime.queue.keys.job(job), *names)
    return values


@pytest.mark.parametrize("verb", ["enqueue", "claim"])
async def test_a_lease_goes_by_the_stores_clock_and_the_record_by_the_callers(world: World, verb: str) -> None:
    world.manual.skew = HOUR
    job = await world.enqueue(start=verb == "enqueue")
    await world.runtime.queue.claim(1)
    lease_until, submitted_at = await fields(world, job, "lease_until", "submitted_at")
    assert int(submitted_at) == world.manual.true_now + HOUR
    assert 0 < int(lease_until) - world.manual.true_now < HOUR


async def test_a_fast_clock_rescues_no_submission_and_expires_no_job(world: World) -> None:
    queue = world.runtime.queue
    submitted, waiting = await world.enqueue(start=True), await world.enqueue()
    world.manual.skew = 1000 * HOUR
    assert (await queue.rescue(submitted, 1)).word == "waiting"
    assert (await queue.expire(waiting)).word == "stale"


@pytest.mark.parametrize("verb", ["finish", "fail"])
async def test_a_job_and_its_prediction_are_kept_for_different_times(world: World, verb: str) -> None:
    queue, terms = world.runtime.queue, Terms(world.runtime.settings)
    job = await world.enqueue(start=True)
    if verb == "finish":
        await queue.finish(job, 1, "p1", "completed", {})
    else:
        await queue.fail(job, 1, "p1", code="invalid_input", detail="", retryable=False)
    assert terms.ttl != terms.prediction_ttl
    assert await world.raw("TTL", queue.keys.job(job)) == terms.ttl.total_seconds()
    assert await world.raw("TTL", queue.keys.job_of_prediction("p1")) == terms.prediction_ttl.total_seconds()


async def test_a_retry_gets_its_bonus_and_its_user_no_more_than_the_concurrency(clock: ManualClock) -> None:
    async with make_world(None, clock, max_user_tasks=1, max_user_queued=5) as world:
        queue, bonus = world.runtime.queue, Terms(world.runtime.settings).retry_bonus
        job = await world.enqueue(start=True)
        others = [await world.enqueue() for _ in range(3)]
        (before,) = await fields(world, job, "score")
        await queue.fail(job, 1, "p1", code="unknown", detail="", retryable=True)
        (after,) = await fields(world, job, "score")
        assert int(before) - int(after) == bonus
        world.manual.advance(100)
        await queue.claim(1)
        await queue.fail(job, 2, "p2", code="invalid_input", detail="", retryable=False)
        assert [(await fields(world, other, "state"))[0] for other in others] == ["queued", "backlog", "backlog"]


async def test_a_submission_lost_three_times_is_given_up_however_many_jobs_its_user_may_run(
    clock: ManualClock,
) -> None:
    async with make_world(None, clock, max_user_tasks=5, circuit_failures=0) as world:
        queue, words = world.runtime.queue, list[str]()
        job = await world.enqueue()
        for attempt in (1, 2, 3):
            await queue.claim(1)
            world.manual.advance(3 * 3600)
            words.append((await queue.rescue(job, attempt)).word)
        assert words == ["requeued", "requeued", "finished"]


async def test_a_lost_submission_stops_its_model_for_the_circuits_pause(clock: ManualClock) -> None:
    async with make_world(None, clock, circuit_failures=1) as world:
        job = await world.enqueue(start=True)
        await world.runtime.queue.trip(job, 1)
        gates = (await world.runtime.records.stats()).gates
        assert gates["~o0:acme/video"] == world.clock.now() + 1000 * world.runtime.settings.circuit_pause


async def test_a_lost_submission_that_ends_is_kept_as_long_as_other_jobs(clock: ManualClock) -> None:
    async with make_world(None, clock, queue_max_retries=0) as world:
        queue, terms = world.runtime.queue, Terms(world.runtime.settings)
        job = await world.enqueue(start=True)
        await queue.trip(job, 1)
        assert (await queue.rescue(job, 1, proof="operator")).word == "finished"
        assert await world.raw("TTL", queue.keys.job(job)) == terms.ttl.total_seconds()


async def test_a_lost_submission_that_was_not_made_gets_the_bonus_of_a_retry(world: World) -> None:
    queue, bonus = world.runtime.queue, Terms(world.runtime.settings).retry_bonus
    job = await world.enqueue(start=True)
    (before,) = await fields(world, job, "score")
    await queue.trip(job, 1)
    assert (await queue.rescue(job, 1, proof="operator")).word == "delayed"
    (after,) = await fields(world, job, "score")
    assert int(before) - int(after) == bonus


async def test_the_look_for_a_lost_submission_goes_by_the_stores_clock_and_its_record_by_the_callers(
    world: World,
) -> None:
    world.manual.skew = -HOUR
    job = await world.enqueue(start=True)
    await world.runtime.queue.trip(job, 1, look_in=30)
    (overdue_at,) = await fields(world, job, "overdue_at")
    assert int(overdue_at) == world.clock.now() + 30_000
    score = await world.raw("ZSCORE", world.runtime.queue.keys.index, job)
    assert 0 < float(score) % BAND - world.manual.true_now <= 31_000


async def test_a_token_and_an_incarnation_fence_a_snooze_together(world: World) -> None:
    job = await world.enqueue(start=True)
    await world.raw("HSET", world.runtime.queue.keys.job(job), "incarnation", "life", "token", "call")
    snooze = partial(world.runtime.queue.snooze, job, 1, delay=1, code="provider_down")
    for incarnation, token in (("call", "life"), ("life", "other"), ("other", "call")):
        assert (await snooze(incarnation=incarnation, token=token)).word == "stale"
    assert (await snooze(incarnation="life", token="call")).word == "delayed"


async def make_batch(world: World, batch: str, jobs: int = 2, cost: str = "") -> list[str]:
    """A batch of one user; returns the ids of its jobs."""
    queue, now = world.runtime.batch_queue, str(world.clock.now())
    common = {
        "owner": "app", "user": "ada", "queue": "video", "lane": "0", "share": "1", "model": "acme/video",
        "created_at": now,
        "expire_at": str(world.clock.now() + HOUR), "priority": "3", "input": "{}", "adoption": "1", "deadline": "1",
        "max_attempts": "1", "policy": "best_effort",
    }  # fmt: skip
    of_batch = {"owner": "app", "user": "ada", "expected": str(jobs), "created_at": now, "policy": "best_effort"}
    score = 0 if cost else world.clock.now()
    await queue.create(batch, "f", of_batch, common, [(score, {})] * jobs, cost)
    return [f"{batch}_{n}" for n in range(jobs)]


async def states(world: World, jobs: list[str]) -> list[str]:
    return [(await fields(world, job, "state"))[0] for job in jobs]


LIMITS: dict[str, Any] = {"max_user_tasks": 1, "max_user_queued": 2, "circuit_failures": 0}


async def test_a_user_may_have_more_batches_than_ready_jobs(clock: ManualClock) -> None:
    async with make_world(None, clock, **LIMITS) as world:
        assert await states(world, await make_batch(world, "bat_1", jobs=3)) == ["queued", "backlog", "backlog"]
        assert await states(world, await make_batch(world, "bat_2")) == ["backlog", "backlog"]
        with pytest.raises(UserLimitReached):
            await make_batch(world, "bat_3")


async def test_under_the_fair_policy_the_jobs_of_a_batch_are_a_cost_apart(clock: ManualClock) -> None:
    async with make_world(None, clock, priority_policy="fair", max_user_tasks=1) as world:
        jobs = await make_batch(world, "bat_1", jobs=3, cost="7777")
        scores = [int((await fields(world, job, "score"))[0]) for job in jobs]
        assert [score - scores[0] for score in scores] == [0, 7777, 2 * 7777]
        assert await states(world, jobs) == ["queued", "backlog", "backlog"]


async def test_a_retried_batch_keeps_its_users_limits_and_its_jobs_their_scores(clock: ManualClock) -> None:
    async with make_world(None, clock, **LIMITS) as world:
        queue, batches = world.runtime.queue, world.runtime.batch_queue
        jobs = await make_batch(world, "bat_1")
        began = int((await fields(world, jobs[0], "score"))[0])
        for _ in jobs:
            (claimed,) = (await queue.claim(1)).started
            await queue.fail(claimed.id, 1, "p", code="invalid_input", detail="", retryable=False)
        world.manual.advance(60)
        others = [await world.enqueue() for _ in range(2)]
        with pytest.raises(UserLimitReached):
            await batches.retry("bat_1", "app", "ada", canceled_too=False, cost="")
        for other in others:
            await queue.cancel(other, "app")
        assert await batches.retry("bat_1", "app", "ada", canceled_too=False, cost="") == 2
        again = ["bat_1_0r1", "bat_1_1r1"]
        assert await states(world, again) == ["queued", "backlog"]
        assert [int((await fields(world, job, "score"))[0]) for job in again] == [began + 60_000] * 2


async def test_a_redriven_letter_names_the_new_job_and_is_gone(world: World) -> None:
    queue, history = world.runtime.queue, world.runtime.history
    job = await world.enqueue(start=True)
    await queue.fail(job, 1, "p1", code="invalid_input", detail="", retryable=False)
    await world.raw("ZADD", queue.keys.dead, "1", job)
    await history.note_redriven(job, "job_new")
    assert await fields(world, job, "redriven_as") == ["job_new"]
    assert await world.raw("ZCARD", queue.keys.dead) == 0


async def test_the_outbox_hands_out_files_or_events_as_they_are_asked_for(world: World) -> None:
    queue, outbox, now = world.runtime.queue, world.runtime.outbox, world.clock.now
    filed = await world.enqueue(start=True)
    await queue.finish(filed, 1, "p1", "completed", {"files": "[]"})
    with_hook = await world.enqueue(start=True, hook_url="https://example.com/hook")
    await queue.finish(with_hook, 1, "p2", "completed", {})
    lane = await world.raw("HGET", queue.keys.job(with_hook), "hook_lane")
    world.manual.advance(3600)
    jobs, lanes = await outbox.claim(1, 0, 1)
    assert ([row.id for row in jobs], lanes) == ([filed], [])
    jobs, lanes = await outbox.claim(0, 1, 1)
    assert (jobs, [row.id for found in lanes for row in found.rows]) == ([], [with_hook])
    await world.raw("DEL", queue.keys.outbox)
    assert await outbox.restore(lane=lane)
    assert await outbox.restore(job_id=filed)
    assert set(await world.raw("ZRANGE", queue.keys.outbox, "0", "-1")) == {lane, filed}
    await world.raw("ZADD", queue.keys.undelivered, "5", "completed|old", str(now()), f"completed|{with_hook}")
    assert [found.row for found in (await outbox.undelivered(PageStart(now() - 1, "")))[0]] == ["completed|old"]


async def test_a_retry_of_a_batch_costs_what_its_first_job_did(clock: ManualClock) -> None:
    changes: dict[str, Any] = {"priority_policy": "fair", "key_weights": "app:3"}
    async with make_world(None, clock, **changes) as world:
        queue, cost = world.runtime.queue, str(GRANT // 2)
        [job] = await make_batch(world, "bat_1", 1, cost)
        await queue.claim(1)
        await queue.fail(job, 1, "p1", code="invalid_input", detail="", retryable=False)
        assert await world.runtime.batch_queue.retry("bat_1", "app", "ada", canceled_too=False, cost=cost) == 1
        (first,) = await fields(world, job, "cost")
        (again,) = await fields(world, f"{job}r1", "cost")
        assert again == first and int(first) < GRANT // 2
