"""The verbs' contract, the same over every store."""

import pytest

from shared.errors import IdempotencyConflict, JobNotFound, QueueFull, UserLimitReached
from tests.queue.jobs import ids, run_one
from tests.world import World, make_world, shown


async def test_a_job_goes_through_its_whole_life(world: World) -> None:
    queue = world.runtime.queue
    job_id = await world.enqueue()
    assert (await world.runtime.records.read(job_id)).status == "pending"
    claim = await queue.claim(5)
    assert ids(claim) == [job_id] and claim.started[0].attempt == 1
    assert (await world.runtime.records.read(job_id)).state == "submitting"
    assert (await queue.record(job_id, 1, "p1")).word == "recorded"
    assert (await world.runtime.records.read(job_id)).state == "running"
    ended = await queue.finish(job_id, 1, "p1", "completed", {"output": '["url"]'})
    assert (ended.word, ended.outcome, ended.waiting) == ("finished", "completed", False)
    job = await world.runtime.records.read(job_id)
    assert shown(job)["output"] == ["url"] and shown(job)["progress"] == 100
    assert await world.indexed() == 0
    assert await world.raw("ZCARD", queue.keys.user("app", "ada")) == 0


async def test_a_job_starts_at_once_when_there_is_room(world: World) -> None:
    assert (await world.admit("a", start=True)).word == "started"
    assert ids(await world.runtime.queue.claim(5)) == []


async def test_a_job_does_not_start_past_a_better_one(world: World) -> None:
    await world.admit("first", "ada", priority=5)
    admitted = await world.admit("second", "bob", start=True, priority=1)
    assert (admitted.word, admitted.position, admitted.attention) == ("queued", 2, True)
    assert ids(await world.runtime.queue.claim(1)) == ["first"]


async def test_a_job_starts_next_to_a_full_queue(world: World) -> None:
    for number in range(3):
        await world.admit(f"story{number}", f"user{number}", start=True, queue="storyboard")
    assert (await world.admit("story3", "eve", start=True, queue="storyboard")).word == "queued"
    assert (await world.admit("video", "eve", start=True)).word == "started"


async def test_only_terminal_jobs_have_a_time_to_live(world: World) -> None:
    queue = world.runtime.queue
    job_id = await world.enqueue()
    for step in (queue.claim(1), queue.record(job_id, 1, "p1")):
        await step
        assert await world.raw("TTL", queue.keys.job(job_id)) == -1
    await queue.finish(job_id, 1, "p1", "completed", {})
    assert 0 < await world.raw("TTL", queue.keys.job(job_id)) <= 604_800


async def test_the_fourth_live_task_of_a_user_is_refused(world: World) -> None:
    for _ in range(3):
        await world.enqueue("ada")
    with pytest.raises(UserLimitReached):
        await world.enqueue("ada")
    await world.enqueue("bob")


async def test_a_full_queue_refuses(any_store, clock) -> None:  # type: ignore[no-untyped-def]
    async with make_world(any_store, clock, max_queue_size=2) as world:
        await world.enqueue("ada")
        await world.enqueue("bob")
        with pytest.raises(QueueFull):
            await world.enqueue("eve")


async def test_a_repeated_submit_gets_the_same_job_and_another_body_a_conflict(world: World) -> None:
    await world.admit("a", priority=3)
    assert (await world.admit("a", priority=3)).word == "duplicate"
    with pytest.raises(IdempotencyConflict):
        await world.admit("a", priority=4)


async def test_claims_keep_the_system_and_the_queue_limits(world: World) -> None:
    for number in range(8):
        await world.enqueue(f"v{number}", queue="video")
        await world.enqueue(f"s{number}", queue="storyboard")
    first = await world.runtime.queue.claim(20)
    assert len(first.started) == 5
    assert sum(job.queue == "storyboard" for job in first.started) <= 3
    assert ids(await world.runtime.queue.claim(20)) == []


async def test_a_queue_behind_a_long_one_is_still_served(world: World) -> None:
    for number in range(20):
        await world.enqueue(f"v{number}", queue="video", priority=1)
    await world.enqueue("light", job_id="story", queue="storyboard", priority=5)
    assert ids(await world.runtime.queue.claim(1)) == ["story"]


async def test_priority_and_tier_go_first_and_then_age(world: World) -> None:
    await world.admit("plain", "a")
    await world.admit("premium", "b", tier="premium")
    await world.admit("pro", "c", tier="pro")
    await world.admit("urgent", "d", priority=5, tier="pro")
    await world.admit("patient", "e", priority=1)
    assert ids(await world.runtime.queue.claim(5)) == ["urgent", "pro", "premium", "plain", "patient"]


async def test_the_best_job_of_all_queues_goes_first(world: World) -> None:
    await world.admit("video", "a", priority=2)
    await world.admit("story", "b", queue="storyboard", priority=4)
    assert ids(await world.runtime.queue.claim(1)) == ["story"]


async def test_the_lowest_priority_is_served_once_it_has_waited_long_enough(world: World) -> None:
    await world.admit("patient", "a", priority=1)
    world.manual.advance(401)
    await world.admit("urgent", "b", priority=5)
    assert ids(await world.runtime.queue.claim(1)) == ["patient"]


async def test_the_multiplicative_policy_orders_by_timestamp_times_six_minus_priority(any_store, clock) -> None:  # type: ignore[no-untyped-def]
    async with make_world(any_store, clock, priority_policy="multiplicative") as world:
        await world.admit("low", "a", priority=1)
        clock.advance(1_000_000)
        await world.admit("high", "b", priority=5)
        score = await world.raw("HGET", world.runtime.queue.keys.job("high"), "score")
        assert int(score) == clock.now() * 1
        assert ids(await world.runtime.queue.claim(1)) == ["high"]


async def test_cancelling_a_waiting_job_ends_it_at_once(world: World) -> None:
    queue = world.runtime.queue
    job_id = await world.enqueue()
    assert (await queue.cancel(job_id, "app")).word == "canceled"
    assert (await queue.cancel(job_id, "app")).word == "already_terminal"
    assert ids(await queue.claim(5)) == []
    await world.enqueue("ada")


async def test_cancelling_a_running_job_keeps_its_slot_until_the_provider_confirms(world: World) -> None:
    queue = world.runtime.queue
    job_id = await run_one(world)
    canceled = await queue.cancel(job_id, "app")
    assert (canceled.word, canceled.prediction, canceled.provider) == ("cancel_requested", "p1", "replicate")
    assert (await world.runtime.records.stats()).queues[0].running == 1
    assert (await queue.finish(job_id, 1, "p1", "canceled", {})).outcome == "canceled"
    assert (await world.runtime.records.stats()).queues[0].running == 0


async def test_a_cancellation_during_the_submission_is_reported_when_it_is_recorded(world: World) -> None:
    queue = world.runtime.queue
    job_id = await world.enqueue(start=True)
    assert (await queue.cancel(job_id, "app")).word == "cancel_requested"
    assert (await queue.record(job_id, 1, "p1")).cancel_requested


async def test_a_cancelled_submission_that_did_not_happen_ends_the_job(world: World) -> None:
    queue = world.runtime.queue
    job_id = await world.enqueue(start=True)
    await queue.cancel(job_id, "app")
    assert (await queue.snooze(job_id, 1, delay=5, code="rate_limited")).word == "finished"
    assert (await world.runtime.records.read(job_id)).status == "canceled"


async def test_a_job_of_another_application_cannot_be_cancelled(world: World) -> None:
    job_id = await world.enqueue()
    for name in (job_id, "job_unknown"):
        with pytest.raises(JobNotFound):
            await world.runtime.queue.cancel(name, "other")
    assert (await world.runtime.records.read(job_id)).status == "pending"


async def test_an_index_entry_without_its_job_is_dropped_and_counted(world: World) -> None:
    queue = world.runtime.queue
    lost = await world.enqueue("ada")
    kept = await world.enqueue("bob")
    await world.raw("DEL", queue.keys.job(lost))
    claim = await queue.claim(5)
    assert ids(claim) == [kept] and claim.missing == 1
    assert (await world.runtime.records.stats()).counters["missing"] == 1


async def test_a_slot_whose_job_is_lost_becomes_free(world: World) -> None:
    queue = world.runtime.queue
    lost = await run_one(world)
    await world.raw("DEL", queue.keys.job(lost))
    world.manual.advance(31)
    assert (await queue.claim(5)).missing == 1
    assert (await world.runtime.records.stats()).queues[0].running == 0


async def test_an_unknown_job_is_not_found(world: World) -> None:
    with pytest.raises(JobNotFound):
        await world.runtime.records.read("job_unknown")
    assert (await world.runtime.queue.finish("job_unknown", 1, "p", "completed", {})).word == "unknown"


async def test_a_tick_leaves_its_heartbeat(world: World) -> None:
    assert (await world.runtime.records.health()).tick_at is None
    await world.runtime.queue.claim(5, tick=True)
    assert (await world.runtime.records.health()).tick_at == world.manual.true_now


async def test_a_due_retry_goes_before_a_newcomer_with_a_worse_score(world: World) -> None:
    queue = world.runtime.queue
    await world.admit("urgent", "ada", priority=5)
    await queue.claim(1)
    await queue.snooze("urgent", 1, delay=5, code="x")
    world.manual.advance(6)
    admitted = await world.admit("newcomer", "bob", start=True, priority=1)
    assert (admitted.word, admitted.attention) == ("queued", True)
    assert ids(await queue.claim(1)) == ["urgent"]


async def test_a_due_retry_that_finds_no_room_is_ready_and_says_so(world: World) -> None:
    queue = world.runtime.queue
    late = await world.enqueue("late", priority=1)
    await queue.claim(1)
    await queue.snooze(late, 1, delay=5, code="x")
    for number in range(4):
        await world.enqueue(f"running{number}", start=True)
    await world.enqueue("urgent", priority=5)
    world.manual.advance(6)
    assert late not in ids(await queue.claim(5))
    job = await world.runtime.records.read(late)
    assert job.state == "queued" and shown(job)["due_at"] is None


async def test_a_newcomer_does_not_start_past_better_jobs_that_the_head_does_not_show(world: World) -> None:
    for number in range(20):
        await world.enqueue(f"v{number}", queue="video")
    await world.enqueue("s", queue="storyboard", priority=5)
    admitted = await world.admit("new", "eve", start=True, queue="storyboard", priority=1)
    assert (admitted.word, admitted.attention) == ("queued", True)
