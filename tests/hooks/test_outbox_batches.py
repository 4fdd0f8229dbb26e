"""Events of batches, and of jobs that end together."""

from tests.hooks.outbox import URL, claimed
from tests.world import World, follow_ups_of

# Batches


async def batch_of(world: World, count: int, policy: str = "best_effort", **common: str) -> list[str]:
    """A batch with a hook; its jobs are running."""
    lane = {"hook_url": URL, "hook_lane": "app:lane", "hook_tag": "tag"}
    now = world.clock.now()
    fields = {
        "owner": "app", "user": "ada", "queue": "video", "lane": "0", "provider": "replicate", "model": "acme/video",
        "share": "0", "input": "{}", "priority": "3", "deadline": "600", "adoption": "60000", "max_attempts": "3",
        "retry_delay": "1", "created_at": str(now), "expire_at": str(now + 900_000), "metadata": "{}",
        "policy": policy, **common,
    }  # fmt: skip
    batch = {"owner": "app", "user": "ada", "policy": policy, "expected": str(count), "created_at": str(now)}
    jobs: list[tuple[int, dict[str, str]]] = [(now + n, {}) for n in range(count)]
    await world.runtime.batch_queue.create("bat_1", "f", batch | lane | {"hook_events": "batch"}, fields, jobs, "")
    return [await running_of(world, job.id, job.attempt) for job in (await world.runtime.queue.claim(9)).started]


async def running_of(world: World, job: str, attempt: int) -> str:
    await world.runtime.queue.record(job, attempt, f"p-{job}")
    return job


async def test_a_batch_sends_one_event_each_time_it_ends(world: World) -> None:
    queue, batches = world.runtime.queue, world.runtime.batch_queue
    first, second = await batch_of(world, 2)
    await queue.finish(first, 1, f"p-{first}", "completed", {})
    assert world.follow_ups() == []
    await queue.fail(second, 1, f"p-{second}", code="x", detail="", retryable=False)
    assert [(row.id, row.event) for row in world.follow_ups()] == [("bat_1", "batch")]
    assert await batches.retry("bat_1", "app", "ada", canceled_too=False, cost="") == 1
    (again,) = (await queue.claim(9)).started
    await queue.finish(again.id, 1, "p9", "completed", {})
    assert [(row.id, row.event) for row in world.follow_ups()] == [("bat_1", "batch1")]
    rows = await world.raw("ZRANGE", queue.keys.lane_rows("app:lane"), "0", "-1")
    assert sorted(rows) == ["batch1|bat_1", "batch|bat_1"]


async def test_a_batch_that_a_failure_ends_sends_one_event(world: World) -> None:
    queue = world.runtime.queue
    jobs = await batch_of(world, 1, "all_or_nothing")
    await queue.fail(jobs[0], 1, f"p-{jobs[0]}", code="x", detail="", retryable=False)
    assert [row.event for row in world.follow_ups()] == ["batch"]
    assert (await world.runtime.records.stats()).counters["batches"] == 1


async def test_only_the_first_of_several_events_is_leased_to_the_call_that_caused_them(world: World) -> None:
    """The caller may lack the time for the others: they are due at once for any caller, including this one."""
    hook = {"hook_url": URL, "hook_lane": "app:lane", "hook_tag": "tag", "hook_events": "completed,failed,canceled"}
    await world.runtime.controls.set_gates({"=s": 0})
    await batch_of(world, 3, **hook)
    await world.runtime.batch_queue.cancel("bat_1", "app")
    is_more, rows = follow_ups_of(world.runtime).is_more, world.follow_ups()
    assert (len(rows), is_more) == (1, True)
    (lane,) = await claimed(world)
    assert len(lane.rows) == 3 and rows[0].id not in {row.id for row in lane.rows}
    assert {row.event for row in lane.rows} == {"canceled", "batch"}


async def test_a_batch_whose_last_end_stopped_half_way_ends_once(world: World) -> None:
    """The repeat finds the job in the index, where it was left, and does again what follows its end."""
    queue, index = world.runtime.queue, world.runtime.queue.keys.index
    (job,) = await batch_of(world, 1)
    place = await world.raw("ZSCORE", index, job)
    for _ in range(2):
        await queue.finish(job, 1, f"p-{job}", "completed", {})
        assert await world.raw("ZSCORE", index, job) is None
        await world.raw("ZADD", index, place, job)
    assert (await world.runtime.records.stats()).counters["batches"] == 1


async def test_a_batch_that_ends_within_a_cancellation_sends_one_event(world: World) -> None:
    """One failure cancels the waiting jobs; the last of them ends the batch before the failed job has ended."""
    queue = world.runtime.queue
    await world.runtime.controls.limit_user("app", "ada", 1)
    (job,) = await batch_of(world, 3, "all_or_nothing")
    await queue.fail(job, 1, f"p-{job}", code="x", detail="", retryable=False)
    is_more, rows = follow_ups_of(world.runtime).is_more, world.follow_ups()
    assert ([row.event for row in rows], is_more) == (["batch"], False)
    assert (await world.runtime.records.stats()).counters["batches"] == 1
