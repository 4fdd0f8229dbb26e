"""Attempts: their ends, their retries, and late, lost or repeated calls."""

from typing import Any

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from tests.queue.jobs import ids, run_one
from tests.world import World, make_world


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


async def test_a_failure_that_is_tried_again_once_ends_the_job_the_second_time(world: World) -> None:
    queue = world.runtime.queue
    lost: dict[str, Any] = {"code": "model_not_found", "detail": "none", "retryable": False, "once": True}
    job_id = await run_one(world)
    assert (await queue.fail(job_id, 1, "", **lost)).word == "delayed"
    assert (await queue.fail(job_id, 1, "", **lost)).word == "delayed"
    world.manual.advance(90)
    assert ids(await queue.claim(1)) == [job_id]
    # Another failure in between does not give it a further try. Nor does its detail look like a code.
    detail = '"code":"model_not_found"'
    assert (await queue.fail(job_id, 2, "", code="timeout", detail=detail, retryable=True)).word == "delayed"
    world.manual.advance(180)
    await queue.claim(1)
    assert (await queue.fail(job_id, 3, "", **lost)).outcome == "failed"
    job = await world.runtime.records.read(job_id)
    assert (job.error_code, job.is_error_retryable, len(job.failed_attempts)) == ("model_not_found", False, 3)
    assert await world.raw("ZCARD", queue.keys.dead) == 0


async def test_a_detail_that_quotes_a_code_is_not_a_failure_with_this_code(world: World) -> None:
    queue = world.runtime.queue
    job_id = await run_one(world)
    await queue.fail(job_id, 1, "", code="timeout", detail='"code":"model_not_found"', retryable=True)
    world.manual.advance(90)
    await queue.claim(1)
    ended = await queue.fail(job_id, 2, "", code="model_not_found", detail="", retryable=False, once=True)
    assert ended.word == "delayed"


async def test_a_snooze_uses_up_no_attempt(world: World) -> None:
    queue = world.runtime.queue
    job_id = await world.enqueue()
    for attempt in range(1, 7):
        assert ids(await queue.claim(1)) == [job_id]
        assert (await queue.snooze(job_id, attempt, delay=10, code="rate_limited")).word == "delayed"
        assert (await world.runtime.records.read(job_id)).attempts == 0
        world.manual.advance(10)
    claim = await queue.claim(1)
    assert claim.started[0].attempt == 7
    assert (await world.runtime.records.read(job_id)).attempts == 1


async def test_every_end_of_an_attempt_is_safe_to_send_twice(world: World) -> None:
    queue = world.runtime.queue
    job_id = await run_one(world)
    assert (await queue.record(job_id, 1, "p1")).word == "recorded"
    first = await queue.fail(job_id, 1, "p1", code="unknown", detail="", retryable=True)
    due_at = (await world.runtime.records.read(job_id)).due_at
    assert await queue.fail(job_id, 1, "p1", code="unknown", detail="", retryable=True) == first
    assert (await world.runtime.records.read(job_id)).due_at == due_at
    world.manual.advance(100)
    await queue.claim(1)
    assert (await queue.snooze(job_id, 2, delay=5, code="x")).word == "delayed"
    assert (await queue.snooze(job_id, 2, delay=5, code="x")).word == "delayed"
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
    assert (await queue.record(job_id, 1, "p1")).word == "stale"
    assert (await queue.fail(job_id, 1, "p1", code="late", detail="", retryable=False)).word == "already"
    assert (await queue.finish(job_id, 1, "p1", "canceled", {})).word == "stale"
    assert (await queue.snooze(job_id, 1, delay=1, code="x")).word == "already"
    assert (await queue.rescue(job_id, 1)).word == "stale"
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
    assert (await queue.record(job_id, 1, "p1")).word == "already"
    assert (await queue.record(job_id, 1, "p9")).word == "stale"


async def test_a_provider_that_ends_a_run_unasked_has_let_it_expire(world: World) -> None:
    job_id = await run_one(world)
    ended = await world.runtime.queue.finish(job_id, 1, "p1", "canceled", {})
    assert ended.outcome == "failed"
    assert (await world.runtime.records.read(job_id)).error_code == "expired"


async def test_a_lapsed_submission_is_put_back_only_after_its_adoption_window(world: World) -> None:
    queue, settings = world.runtime.queue, world.runtime.settings
    job_id = await world.enqueue(start=True)
    world.manual.advance(settings.lease + 1)
    claim = await queue.claim(5)
    assert [job.id for job in claim.overdue] == [job_id] and claim.overdue[0].state == "submitting"
    assert (await queue.rescue(job_id, 1)).word == "waiting"
    assert (await queue.claim(5)).overdue == ()
    world.manual.advance(settings.cancel_after + settings.adoption_margin)
    assert (await queue.rescue(job_id, 1)).word == "requeued"
    assert (await queue.rescue(job_id, 1)).word == "requeued"
    assert ids(await queue.claim(1)) == [job_id]


async def test_a_job_whose_submission_is_lost_three_times_is_a_dead_letter(world: World) -> None:
    queue, settings = world.runtime.queue, world.runtime.settings
    job_id = await world.enqueue()
    for attempt, word in enumerate(["requeued", "requeued", "finished"], start=1):
        assert ids(await queue.claim(1)) == [job_id]
        world.manual.advance(settings.lease + settings.cancel_after + settings.adoption_margin + 1)
        assert (await queue.rescue(job_id, attempt)).word == word
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


async def test_progress_never_falls_within_an_attempt_and_begins_anew_with_the_next(world: World) -> None:
    queue, job_id = world.runtime.queue, await run_one(world)
    for said, shown in ((40, 40), (12, 40), (40, 40), (41, 41), (0, 41)):
        await queue.progress(job_id, 1, "p1", said)
        assert (await world.runtime.records.read(job_id)).progress == shown
    await queue.fail(job_id, 1, "p1", code="timeout", detail="", retryable=True)
    world.manual.advance(600)
    (again,) = (await queue.claim(1)).started
    await queue.record(job_id, again.attempt, "p2")
    assert (await world.runtime.records.read(job_id)).progress is None
    await queue.progress(job_id, again.attempt, "p2", 0)
    assert (await world.runtime.records.read(job_id)).progress == 0


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
    adopted = await queue.adopt(job_id, 2, {"p1": "alike"})
    assert (adopted.word, adopted.prediction) == ("none", "")
    adopted = await queue.adopt(job_id, 2, {"p1": "alike", "p2": "alike"})
    assert (adopted.word, adopted.prediction) == ("adopted", "p2")
    adopted = await queue.adopt(job_id, 2, {"p1": "alike", "p2": "alike"})
    assert (adopted.word, adopted.prediction) == ("adopted", "p2")


async def test_a_run_handed_to_a_tick_is_not_asked_about_by_a_poll_at_once(world: World) -> None:
    job_id = await run_one(world)
    world.manual.advance(31)
    assert len((await world.runtime.queue.claim(5)).overdue) == 1
    assert await world.runtime.queue.check(job_id) is None


async def test_files_of_foreign_hosts_are_counted_once_and_hold_nothing_up(world: World) -> None:
    queue = world.runtime.queue
    job_id = await world.enqueue(start=True)
    await queue.record(job_id, 1, "p1")
    fields = {"output": "[]", "files": '[{"url":"https://a.example/x.png","state":"foreign_host"}]'}
    words = [(await queue.finish(job_id, 1, "p1", "completed", fields, foreign=1)).word for _ in range(2)]
    assert words == ["finished", "already"]
    assert (await world.runtime.records.stats()).counters["files_foreign"] == 1
    job = await world.runtime.records.read(job_id)
    assert not job.is_storing and job.files[0]["state"] == "foreign_host" and world.follow_ups() == []


async def test_the_delay_of_a_retry_grows_to_an_hour(any_store: RunningServer | None, clock: ManualClock) -> None:
    """With ten retries, the last one came a day after the failure."""
    changes: dict[str, Any] = {"queue_max_retries": 20, "queue_ttl": 86_400.0, "queue_retry_delay": 1_500_000}
    async with make_world(any_store, clock, **changes) as world:
        job_id = await run_one(world)
        delays = []
        for attempt in range(1, 5):
            await world.runtime.queue.fail(job_id, attempt, "", code="timeout", detail="", retryable=True)
            delays.append(((await world.runtime.records.read(job_id)).due_at or 0) - world.clock.now())
            world.manual.advance(delays[-1] / 1000)
            await world.runtime.queue.claim(1)
    lows = (1_500_000, 3_000_000, 3_600_000, 3_600_000)
    assert all(low <= delay <= 1.5 * low for low, delay in zip(lows, delays, strict=True)), delays


async def test_a_first_delay_above_an_hour_is_kept(any_store: RunningServer | None, clock: ManualClock) -> None:
    async with make_world(any_store, clock, queue_retry_delay=7_200_000) as world:
        job_id = await run_one(world)
        await world.runtime.queue.fail(job_id, 1, "", code="timeout", detail="", retryable=True)
        due_at = (await world.runtime.records.read(job_id)).due_at or 0
        assert due_at >= world.clock.now() + 7_200_000


async def test_a_job_whose_retry_would_come_after_its_time_to_live_ends_with_its_own_error(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    """It waited for its end until then, and then said `expired`."""
    async with make_world(any_store, clock, queue_ttl=100.0, queue_retry_delay=100_000) as world:
        job_id = await run_one(world)
        world.manual.advance(300)  # at the provider, which is no waiting
        for _ in range(2):
            ended = await world.runtime.queue.fail(job_id, 1, "", code="timeout", detail="slow", retryable=True)
            assert (ended.word, ended.outcome) == ("finished", "failed")
        job = await world.runtime.records.read(job_id)
        assert (job.error_code, job.is_error_retryable) == ("timeout", True)
        assert await world.raw("ZRANGE", world.runtime.queue.keys.dead, "0", "-1") == [job_id]


async def test_the_time_at_the_provider_takes_nothing_from_the_time_for_a_retry(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, queue_ttl=200.0, queue_retry_delay=100_000) as world:
        job_id = await run_one(world)
        world.manual.advance(300)
        ended = await world.runtime.queue.fail(job_id, 1, "", code="timeout", detail="", retryable=True)
        assert ended.word == "delayed"
