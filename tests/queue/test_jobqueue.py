"""The verbs' contract, the same over every store."""

import pytest

from shared.errors import IdempotencyConflict, JobNotFound, QueueFull, UserLimitReached
from shared.jobqueue import Claim
from tests.world import World, make_world, shown


def ids(claim: Claim) -> list[str]:
    return [job.id for job in claim.started]


async def run_one(world: World, **changes: str) -> str:
    """A job that is running as prediction p1."""
    job_id = await world.enqueue(start=True, **changes)
    assert await world.runtime.queue.record(job_id, 1, "p1") == "recorded"
    return job_id


async def test_a_job_goes_through_its_whole_life(world: World) -> None:
    queue = world.runtime.queue
    job_id = await world.enqueue()
    assert (await world.runtime.records.read(job_id)).status == "pending"
    claim = await queue.claim(5)
    assert ids(claim) == [job_id] and claim.started[0].attempt == 1
    assert (await world.runtime.records.read(job_id)).state == "submitting"
    assert await queue.record(job_id, 1, "p1") == "recorded"
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


async def test_a_job_starts_beside_a_full_queue(world: World) -> None:
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


async def test_a_failed_attempt_waits_with_growing_backoff_and_then_becomes_a_dead_letter(world: World) -> None:
    queue = world.runtime.queue
    job_id = await world.enqueue()
    for attempt, (low, high) in enumerate([(60, 90), (120, 180), (240, 360)], start=1):
        assert ids(await queue.claim(1)) == [job_id]
        await queue.record(job_id, attempt, f"p{attempt}")
        ended = await queue.fail(job_id, attempt, f"p{attempt}", code="unknown", detail="", retryable=True)
        assert ended.word == "delayed"
        due_at = (await world.runtime.records.read(job_id)).due_at or 0
        assert low <= (due_at - world.clock.now()) / 1000 <= high
        assert ids(await queue.claim(1)) == []
        world.manual.advance(high)
    assert ids(await queue.claim(1)) == [job_id]
    ended = await queue.fail(job_id, 4, "", code="unknown", detail="again", retryable=True)
    assert (ended.word, ended.outcome) == ("finished", "failed")
    job = await world.runtime.records.read(job_id)
    assert job.attempts == 4 and job.error_detail == "again"
    assert await world.raw("ZRANGE", queue.keys.dead, "0", "-1") == [job_id]


async def test_a_failure_that_cannot_pass_ends_the_job_without_a_dead_letter(world: World) -> None:
    job_id = await run_one(world)
    ended = await world.runtime.queue.fail(job_id, 1, "p1", code="invalid_input", detail="", retryable=False)
    assert ended.outcome == "failed"
    assert await world.raw("ZCARD", world.runtime.queue.keys.dead) == 0


async def test_a_snooze_uses_up_no_attempt(world: World) -> None:
    queue = world.runtime.queue
    job_id = await world.enqueue()
    for attempt in range(1, 7):
        assert ids(await queue.claim(1)) == [job_id]
        assert await queue.snooze(job_id, attempt, delay=10, code="rate_limited") == "delayed"
        assert (await world.runtime.records.read(job_id)).attempts == 0
        world.manual.advance(10)
    claim = await queue.claim(1)
    assert claim.started[0].attempt == 7
    assert (await world.runtime.records.read(job_id)).attempts == 1


async def test_every_end_of_an_attempt_is_safe_to_send_twice(world: World) -> None:
    queue = world.runtime.queue
    job_id = await run_one(world)
    assert await queue.record(job_id, 1, "p1") == "recorded"
    first = await queue.fail(job_id, 1, "p1", code="unknown", detail="", retryable=True)
    due_at = (await world.runtime.records.read(job_id)).due_at
    assert await queue.fail(job_id, 1, "p1", code="unknown", detail="", retryable=True) == first
    assert (await world.runtime.records.read(job_id)).due_at == due_at
    world.manual.advance(100)
    await queue.claim(1)
    assert await queue.snooze(job_id, 2, delay=5, code="x") == "delayed"
    assert await queue.snooze(job_id, 2, delay=5, code="x") == "delayed"
    assert (await world.runtime.records.read(job_id)).snoozes == 1
    world.manual.advance(5)
    await queue.claim(1)
    await queue.record(job_id, 3, "p3")
    assert (await queue.finish(job_id, 3, "p3", "completed", {})).word == "finished"
    assert (await queue.finish(job_id, 3, "p3", "completed", {})).word == "already"
    assert (await world.runtime.records.stats()).counters == {"completed": 1, "retried": 1, "snoozed": 1}


async def test_a_write_of_an_old_attempt_changes_nothing(world: World) -> None:
    queue = world.runtime.queue
    job_id = await run_one(world)
    await queue.fail(job_id, 1, "p1", code="unknown", detail="", retryable=True)
    world.manual.advance(100)
    await queue.claim(1)
    before = await world.raw("HGETALL", queue.keys.job(job_id))
    assert await queue.record(job_id, 1, "p1") == "stale"
    assert (await queue.fail(job_id, 1, "p1", code="late", detail="", retryable=False)).word == "already"
    assert (await queue.finish(job_id, 1, "p1", "canceled", {})).word == "stale"
    assert await queue.snooze(job_id, 1, delay=1, code="x") == "already"
    assert await queue.rescue(job_id, 1) == "stale"
    assert await world.raw("HGETALL", queue.keys.job(job_id)) == before


async def test_a_late_success_of_an_older_attempt_wins_and_names_the_prediction_to_cancel(world: World) -> None:
    queue = world.runtime.queue
    job_id = await run_one(world)
    await queue.fail(job_id, 1, "p1", code="timeout", detail="", retryable=True)
    world.manual.advance(100)
    await queue.claim(1)
    await queue.record(job_id, 2, "p2")
    ended = await queue.finish(job_id, 1, "p1", "completed", {"output": "1"})
    assert (ended.word, ended.outcome, ended.other) == ("finished", "completed", "p2")
    assert (await queue.finish(job_id, 2, "p2", "completed", {"output": "2"})).word == "stale"
    assert (await world.runtime.records.read(job_id)).output == "1"


async def test_a_webhook_that_overtakes_the_record_ends_the_job(world: World) -> None:
    queue = world.runtime.queue
    job_id = await world.enqueue(start=True)
    assert (await queue.finish(job_id, 1, "p1", "completed", {})).word == "finished"
    assert await queue.record(job_id, 1, "p1") == "already"
    assert await queue.record(job_id, 1, "p9") == "stale"


async def test_a_provider_that_ends_a_run_unasked_has_let_it_expire(world: World) -> None:
    job_id = await run_one(world)
    ended = await world.runtime.queue.finish(job_id, 1, "p1", "canceled", {})
    assert ended.outcome == "failed"
    assert (await world.runtime.records.read(job_id)).error_code == "expired"


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


async def test_a_cancellation_during_the_submission_is_told_when_it_is_recorded(world: World) -> None:
    queue = world.runtime.queue
    job_id = await world.enqueue(start=True)
    assert (await queue.cancel(job_id, "app")).word == "cancel_requested"
    assert await queue.record(job_id, 1, "p1") == "cancel_requested"


async def test_a_cancelled_submission_that_did_not_happen_ends_the_job(world: World) -> None:
    queue = world.runtime.queue
    job_id = await world.enqueue(start=True)
    await queue.cancel(job_id, "app")
    assert await queue.snooze(job_id, 1, delay=5, code="rate_limited") == "finished"
    assert (await world.runtime.records.read(job_id)).status == "canceled"


async def test_a_job_of_somebody_else_cannot_be_cancelled(world: World) -> None:
    job_id = await world.enqueue()
    for name in (job_id, "job_nobody"):
        with pytest.raises(JobNotFound):
            await world.runtime.queue.cancel(name, "other")
    assert (await world.runtime.records.read(job_id)).status == "pending"


async def test_a_lapsed_submission_is_put_back_only_after_its_adoption_window(world: World) -> None:
    queue, settings = world.runtime.queue, world.runtime.settings
    job_id = await world.enqueue(start=True)
    world.manual.advance(settings.lease + 1)
    claim = await queue.claim(5)
    assert [job.id for job in claim.overdue] == [job_id] and claim.overdue[0].state == "submitting"
    assert await queue.rescue(job_id, 1) == "waiting"
    assert (await queue.claim(5)).overdue == ()
    world.manual.advance(settings.cancel_after + settings.adoption_margin)
    assert await queue.rescue(job_id, 1) == "requeued"
    assert await queue.rescue(job_id, 1) == "requeued"
    assert ids(await queue.claim(1)) == [job_id]


async def test_a_job_whose_submission_is_lost_three_times_is_a_dead_letter(world: World) -> None:
    queue, settings = world.runtime.queue, world.runtime.settings
    job_id = await world.enqueue()
    for attempt, word in enumerate(["requeued", "requeued", "finished"], start=1):
        assert ids(await queue.claim(1)) == [job_id]
        world.manual.advance(settings.lease + settings.cancel_after + settings.adoption_margin + 1)
        assert await queue.rescue(job_id, attempt) == word
    assert (await world.runtime.records.read(job_id)).error_code == "submission_unknown"
    assert await world.raw("ZCARD", queue.keys.dead) == 1
    assert await world.raw("ZCARD", queue.keys.user("app", "ada")) == 0


async def test_an_overdue_run_is_handed_to_one_caller_only(world: World) -> None:
    job_id = await run_one(world)
    world.manual.advance(31)
    assert [job.prediction for job in (await world.runtime.queue.claim(5)).overdue] == ["p1"]
    assert (await world.runtime.queue.claim(5)).overdue == ()
    world.manual.advance(31)
    assert [job.id for job in (await world.runtime.queue.claim(5)).overdue] == [job_id]


async def test_one_poller_asks_about_an_overdue_run_and_no_other_for_two_seconds(world: World) -> None:
    queue = world.runtime.queue
    job_id = await run_one(world)
    assert await queue.check(job_id) is None
    world.manual.advance(30)
    assert await queue.check(job_id) is not None
    assert await queue.check(job_id) is None
    world.manual.advance(2)
    assert await queue.check(job_id) is not None


async def test_progress_is_noted_for_the_current_prediction_only(world: World) -> None:
    queue = world.runtime.queue
    job_id = await run_one(world)
    await queue.progress(job_id, 1, "p1", 40)
    await queue.progress(job_id, 1, "p9", 80)
    assert (await world.runtime.records.read(job_id)).progress == 40


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
        await world.runtime.records.read("job_nobody")
    assert (await world.runtime.queue.finish("job_nobody", 1, "p", "completed", {})).word == "unknown"


async def test_a_tick_leaves_its_heartbeat(world: World) -> None:
    assert await world.runtime.records.last_tick() is None
    await world.runtime.queue.claim(5, tick=True)
    assert await world.runtime.records.last_tick() == world.manual.true_now


async def test_a_due_retry_goes_before_a_newcomer_of_less_right(world: World) -> None:
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


async def test_a_success_of_another_prediction_of_the_current_attempt_is_stale(world: World) -> None:
    job_id = await run_one(world)
    assert (await world.runtime.queue.finish(job_id, 1, "p9", "completed", {})).word == "stale"


async def test_a_repeated_finish_names_the_prediction_to_cancel_again(world: World) -> None:
    queue = world.runtime.queue
    job_id = await run_one(world)
    await queue.fail(job_id, 1, "p1", code="timeout", detail="", retryable=True)
    world.manual.advance(100)
    await queue.claim(1)
    await queue.record(job_id, 2, "p2")
    answers = [await queue.finish(job_id, 1, "p1", "completed", {}) for _ in range(2)]
    assert [(ended.word, ended.other) for ended in answers] == [("finished", "p2"), ("already", "p2")]


async def test_a_prediction_of_an_earlier_attempt_is_not_adopted(world: World) -> None:
    queue = world.runtime.queue
    job_id = await world.enqueue(start=True)
    await queue.fail(job_id, 1, "p1", code="unknown", detail="", retryable=True)
    world.manual.advance(100)
    await queue.claim(1)
    assert await queue.adopt(job_id, 2, ["p1"]) == ("none", "")
    assert await queue.adopt(job_id, 2, ["p1", "p2"]) == ("adopted", "p2")
    assert await queue.adopt(job_id, 2, ["p1", "p2"]) == ("adopted", "p2")


async def test_a_run_handed_to_a_tick_is_not_asked_about_by_a_poll_at_once(world: World) -> None:
    job_id = await run_one(world)
    world.manual.advance(31)
    assert len((await world.runtime.queue.claim(5)).overdue) == 1
    assert await world.runtime.queue.check(job_id) is None
