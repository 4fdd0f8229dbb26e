"""Users who may queue more than they may run: the ready jobs, the backlog, and the moves between them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.errors import UserLimitReached
from shared.runtime import Runtime
from tests.world import World, make_world

CAP = 3


@pytest.fixture
async def roomy(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    """A deployment whose users may queue a hundred tasks and run three."""
    async with make_world(any_store, clock, max_user_queued=100, max_concurrent_tasks=10) as made:
        yield made


async def states(world: World, *jobs: str) -> list[str]:
    return [(await world.runtime.records.read(job)).state for job in jobs]


async def enqueue(world: World, count: int, user: str = "ada", **changes: Any) -> list[str]:
    jobs = []
    for _ in range(count):
        jobs.append(await world.enqueue(user, **changes))
        world.manual.advance(1)
    return jobs


async def claim(world: World, want: int = 10) -> list[str]:
    started = (await world.runtime.queue.claim(want)).started
    for job in started:
        await world.runtime.queue.record(job.id, job.attempt, f"p-{job.id}-{job.attempt}")
    return [job.id for job in started]


async def finish(world: World, job: str, outcome: str = "completed") -> None:
    record = await world.runtime.records.read(job)
    attempt = record.attempt
    await world.runtime.queue.finish(job, attempt, record.prediction, outcome, {"output": "1"})


async def test_jobs_beyond_a_users_limit_wait_in_the_backlog(roomy: World) -> None:
    jobs = await enqueue(roomy, 6)
    assert await states(roomy, *jobs) == ["queued"] * CAP + ["backlog"] * 3
    assert await claim(roomy) == jobs[:CAP]
    assert await claim(roomy) == []
    stats = await roomy.runtime.records.stats()
    assert (stats.queues[0].running, stats.queues[0].ready, stats.backlog) == (CAP, 0, 3)


async def test_an_end_makes_the_next_of_its_user_ready_in_their_order(roomy: World) -> None:
    jobs = await enqueue(roomy, 6)
    await claim(roomy)
    for place in range(3):
        await finish(roomy, jobs[place])
        assert await claim(roomy) == [jobs[CAP + place]]


@pytest.mark.parametrize("end", ["fail", "cancel_waiting", "cancel_running", "expire", "rescue"])
async def test_every_kind_of_end_makes_the_next_ready(roomy: World, end: str) -> None:
    queue, jobs = roomy.runtime.queue, await enqueue(roomy, 4)
    if end in ("cancel_waiting", "expire"):
        pass
    elif end == "rescue":
        await queue.claim(CAP)
    else:
        await claim(roomy)
    match end:
        case "fail":
            await queue.fail(jobs[0], 1, f"p-{jobs[0]}-1", code="invalid_input", detail="", retryable=False)
        case "cancel_waiting":
            await queue.cancel(jobs[0], "app")
        case "cancel_running":
            await queue.cancel(jobs[0], "app")
            await finish(roomy, jobs[0], "canceled")
        case "expire":
            roomy.manual.advance(roomy.runtime.settings.queue_ttl - 3)
            assert (await queue.expire(jobs[0])).word == "finished"
        case "rescue":
            await queue.cancel(jobs[0], "app")
            roomy.manual.advance(10_000)
            assert (await queue.rescue(jobs[0], 1)).word == "finished"
    assert await states(roomy, jobs[3]) == ["queued"]


async def test_a_retry_keeps_its_users_place(roomy: World) -> None:
    jobs = await enqueue(roomy, 4)
    await claim(roomy)
    await roomy.runtime.queue.fail(jobs[0], 1, f"p-{jobs[0]}-1", code="timeout", detail="", retryable=True)
    assert await states(roomy, jobs[0], jobs[3]) == ["delayed", "backlog"]


async def test_a_better_job_takes_the_place_of_a_worse_one_that_waits(roomy: World) -> None:
    low = await enqueue(roomy, 4, priority=1)
    high = await roomy.enqueue("ada", priority=5)
    assert await states(roomy, *low, high) == ["queued", "queued", "backlog", "backlog", "queued"]
    assert await claim(roomy) == [high, low[0], low[1]]


async def test_a_better_job_takes_no_place_of_one_that_runs(roomy: World) -> None:
    low = await enqueue(roomy, 3, priority=1)
    await claim(roomy)
    high = await roomy.enqueue("ada", priority=5)
    assert await states(roomy, *low, high) == ["running"] * 3 + ["backlog"]


async def test_a_user_may_not_queue_more_than_the_deployment_allows(roomy: World) -> None:
    await enqueue(roomy, 100)
    with pytest.raises(UserLimitReached):
        await roomy.enqueue("ada")
    await roomy.enqueue("bob")


async def test_a_flooding_users_backlog_delays_no_other_user(roomy: World) -> None:
    flood = await enqueue(roomy, 50)
    late = await roomy.enqueue("bob")
    assert await claim(roomy) == [*flood[:CAP], late]


async def test_a_user_limited_live_has_a_backlog_though_the_deployment_allows_none(world: World) -> None:
    controls = world.runtime.controls
    await controls.limit_user("app", "ada", 1)
    jobs = [await world.enqueue("ada") for _ in range(3)]
    assert await states(world, *jobs) == ["queued", "backlog", "backlog"]
    assert await claim(world) == jobs[:1]
    await finish(world, jobs[0])
    assert await states(world, *jobs) == ["done", "queued", "backlog"]
    await controls.limit_user("app", "ada", None)
    assert await states(world, *jobs) == ["done", "queued", "queued"]


async def test_a_paused_users_waiting_jobs_stay_until_the_user_is_resumed(world: World) -> None:
    controls, jobs = world.runtime.controls, [await world.enqueue("ada") for _ in range(2)]
    await controls.limit_user("app", "ada", 0)
    assert await states(world, *jobs) == ["backlog"] * 2 and await claim(world) == []
    jobs.append(await world.enqueue("ada"))
    other = await world.enqueue("bob")
    assert await claim(world) == [other]
    await controls.limit_user("app", "ada", None)
    assert sorted(await claim(world)) == sorted(jobs)


async def test_a_user_may_be_given_more_than_the_deployment_gives(world: World) -> None:
    await world.runtime.controls.limit_user("app", "ada", 10)
    jobs = [await world.enqueue("ada") for _ in range(10)]
    assert await states(world, *jobs) == ["queued"] * 10
    with pytest.raises(UserLimitReached):
        await world.enqueue("ada")


async def test_a_lowered_limit_takes_nothing_from_the_provider(world: World) -> None:
    jobs = [await world.enqueue("ada") for _ in range(3)]
    assert len(await claim(world)) == 3
    await world.runtime.controls.limit_user("app", "ada", 1)
    assert await states(world, *jobs) == ["running"] * 3
    await finish(world, jobs[0])
    late = await world.enqueue("ada")
    assert await states(world, late) == ["backlog"]
    await finish(world, jobs[1])
    assert await states(world, late) == ["backlog"]
    await finish(world, jobs[2])
    assert await states(world, late) == ["queued"]


async def test_a_job_of_the_backlog_that_lost_its_hash_blocks_no_other(roomy: World) -> None:
    jobs = await enqueue(roomy, 5)
    await claim(roomy)
    await roomy.raw("DEL", roomy.runtime.queue.keys.job(jobs[3]))
    await finish(roomy, jobs[0])
    assert await states(roomy, jobs[4]) == ["queued"]
    assert (await roomy.runtime.records.stats()).counters["missing"] == 1


async def test_the_walk_makes_forgotten_jobs_ready(roomy: World) -> None:
    jobs = await enqueue(roomy, 5)
    keys = roomy.runtime.queue.keys
    for job in jobs[:2]:  # as after an unnoticed eviction
        await roomy.raw("ZREM", keys.user("app", "ada"), job)
        await roomy.raw("ZREM", keys.index, job, f"!{job}")
        await roomy.raw("DEL", keys.job(job))
    await roomy.runtime.queue.rehome(keys.user("app", "ada"))
    assert await states(roomy, *jobs[2:]) == ["queued"] * 3


async def test_a_waiting_job_moves_when_its_priority_changes(roomy: World) -> None:
    controls, jobs = roomy.runtime.controls, await enqueue(roomy, 5)
    other = await roomy.enqueue("bob")
    assert await controls.reprioritize(jobs[4], "app", 5)
    assert await states(roomy, *jobs) == ["queued", "queued", "backlog", "backlog", "queued"]
    assert await controls.reprioritize(jobs[0], "app", 1)
    assert await states(roomy, *jobs) == ["backlog", "queued", "queued", "backlog", "queued"]
    assert await claim(roomy) == [jobs[4], jobs[1], jobs[2], other]
    assert not await controls.reprioritize(jobs[4], "app", 1)


async def test_changing_a_priority_and_back_leaves_everything_as_it_was(roomy: World) -> None:
    jobs = await enqueue(roomy, 5)
    before = await roomy.raw("ZRANGE", roomy.runtime.queue.keys.index, "0", "-1", "WITHSCORES")
    for priority in (5, 1, 3):
        await roomy.runtime.controls.reprioritize(jobs[1], "app", priority)
    assert await roomy.raw("ZRANGE", roomy.runtime.queue.keys.index, "0", "-1", "WITHSCORES") == before


async def test_under_fair_a_cancelled_job_costs_its_user_nothing(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    changes: dict[str, Any] = {"priority_policy": "fair", "max_user_tasks": 3, "max_user_queued": 300}
    async with make_world(any_store, clock, **changes) as world:
        for job in [await world.enqueue("bob") for _ in range(200)]:
            await world.runtime.queue.cancel(job, "app")
        for _ in range(3):
            await world.enqueue("ada")
        bob = await world.enqueue("bob")
        assert bob in await claim(world, 3)


async def test_what_waits_when_fair_is_switched_on_goes_first(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock) as world:
        old = await world.enqueue("ada")
        later = world.runtime.settings.model_copy(update={"priority_policy": "fair"})
        world.runtime = Runtime(later, world.runtime.store, clock)
        new = await world.enqueue("bob")
        assert [job.id for job in (await world.runtime.queue.claim(2)).started] == [old, new]


async def test_a_paused_users_refused_submission_keeps_its_seat_as_any_retry_does(world: World) -> None:
    job = await world.enqueue("ada", start=True)
    await world.runtime.controls.limit_user("app", "ada", 0)
    await world.runtime.queue.snooze(job, 1, delay=1, code="rate_limited", pause=True)
    assert await states(world, job) == ["delayed"]


async def test_a_refused_submit_costs_no_more_than_an_accepted_one(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock, max_user_tasks=200) as world:
        valkey.reset_bill()
        await world.enqueue("ada")
        accepted = valkey.bill().billed
        await enqueue(world, 199)
        valkey.reset_bill()
        with pytest.raises(UserLimitReached):
            await world.enqueue("ada")
        assert valkey.bill().billed == 5 < accepted
