"""Submissions whose outcome is unknown: they settle in minutes, and no job gets what another one's submission made."""

from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock, iso
from shared.jobqueue import Outlook
from shared.jobqueue.attempts import Proof
from shared.jobs.explanation import explain
from shared.providers.base import Prediction, Unknown
from shared.runtime import Runtime
from tests.world import ObedientProvider, World, make_world

SAME = {"prompt": "one and the same"}


async def lose(world: World, user: str = "ada", **changes: Any) -> str:
    """Submits a job whose create gets no usable answer."""
    world.provider.outcomes = [Unknown("status 503")]
    job_id = await world.enqueue(user, **changes)
    await world.runtime.dispatcher.run(Budget(60))
    assert (await world.runtime.records.read(job_id)).is_lost
    return job_id


async def tick(world: World, seconds: float = 60.0) -> None:
    world.manual.advance(seconds)
    await world.runtime.tick.run()


async def counters(world: World) -> dict[str, int]:
    return {name: n for name, n in (await world.runtime.records.stats()).counters.items() if name != "tick_at"}


async def test_a_submission_that_two_complete_lists_lack_has_failed_within_three_minutes(world: World) -> None:
    job_id = await lose(world)
    for _ in range(2):
        assert (await world.runtime.records.read(job_id)).state == "submitting"
        await tick(world, 75)  # a scheduler that is late
    job = await world.runtime.records.read(job_id)
    assert job.state == "delayed" and job.failed_attempts[0]["code"] == "provider_down"
    assert 60 <= ((job.due_at or 0) - world.clock.now()) / 1000 <= 90
    assert len(world.provider.looked_for) == 2
    assert await counters(world) == {"unknown": 1, "missed": 1, "retried": 1}
    await tick(world, 90)
    assert (await world.runtime.records.read(job_id)).state == "running"


async def test_two_lists_are_half_a_minute_apart(world: World) -> None:
    queue = world.runtime.queue
    job_id = await lose(world)
    world.manual.advance(16)
    assert (await queue.rescue(job_id, 1, proof="list")).word == "waiting"
    for took in (0, 5):
        world.manual.advance(29 - took if took == 0 else 5)
        assert (await queue.rescue(job_id, 1, proof="list", took=took)).word == "waiting"
    world.manual.advance(1)
    assert (await queue.rescue(job_id, 1, proof="list", took=4)).word == "delayed"
    assert (await queue.rescue(job_id, 1, proof="list")).word == "delayed"


async def test_the_second_question_comes_half_a_minute_after_the_first_answer(world: World) -> None:
    job_id = await lose(world)
    for seconds, looks in ((14, 0), (1, 1), (29, 1), (2, 2)):
        world.manual.advance(seconds)
        await world.runtime.dispatcher.run(Budget(60))
        assert len(world.provider.looked_for) == looks
    assert (await world.runtime.records.read(job_id)).state == "delayed"


async def test_a_prediction_that_the_list_has_is_adopted_at_the_first_look(world: World) -> None:
    job_id = await lose(world)
    world.provider.findable = ["p7"]
    world.provider.states["p7"] = Prediction("p7", "running")
    await tick(world, 30)
    job = await world.runtime.records.read(job_id)
    assert (job.state, job.prediction) == ("running", "p7")
    assert await counters(world) == {"unknown": 1, "adopted": 1}
    assert (await world.runtime.records.stats()).unknown == 0


async def test_an_incomplete_or_silent_list_proves_nothing(world: World) -> None:
    s = world.runtime.settings
    job_id = await lose(world)
    world.provider.is_list_complete = False
    for _ in range(5):
        await tick(world)
    world.provider.is_silent = True
    for _ in range(5):
        await tick(world)
    assert (await world.runtime.records.read(job_id)).state == "submitting"
    world.manual.advance(s.cancel_after + s.adoption_margin)
    world.provider.outcomes = [Unknown("again")]
    await world.runtime.tick.run()
    assert (await counters(world))["rescued"] == 1


async def test_a_function_that_died_is_looked_for_once_its_lease_is_over(world: World) -> None:
    job_id = await world.enqueue(start=True)
    await tick(world, world.runtime.settings.lease - 1)
    assert world.provider.looked_for == []
    await tick(world, 2)
    await tick(world, 32)
    assert (await world.runtime.records.read(job_id)).state == "delayed"
    assert await counters(world) == {"unknown": 1, "missed": 1, "retried": 1}


async def test_a_webhook_settles_an_unknown_submission(world: World) -> None:
    for status in ("completed", "failed"):
        job_id = await lose(world, status)
        said = Prediction(f"p_{status}", status, output="x", error="CUDA out of memory")
        assert (await world.runtime.reconciler.apply(job_id, 1, "replicate", said)).frees_slot
    assert (await world.runtime.records.stats()).unknown == 0
    assert (await counters(world))["reported"] == 2


async def test_a_late_success_wins_and_the_double_payment_is_counted(world: World) -> None:
    job_id = await lose(world)
    await tick(world, 75)
    await tick(world, 75)
    await tick(world, 91)
    assert (await world.runtime.records.read(job_id)).prediction == "p2"
    late = Prediction("late", "completed", output="x")
    ended = await world.runtime.reconciler.apply(job_id, 1, "replicate", late)
    assert ended.outcome == "completed" and world.provider.canceled == ["p2"]
    await world.runtime.reconciler.apply(job_id, 1, "replicate", late)
    assert (await counters(world))["doubled"] == 1


async def test_a_success_that_comes_after_another_one_is_counted_too(world: World) -> None:
    job_id = await lose(world)
    await tick(world, 75)
    await tick(world, 75)
    await tick(world, 91)
    won = Prediction("p2", "completed", output="x")
    assert (await world.runtime.reconciler.apply(job_id, 2, "replicate", won)).word == "finished"
    for _ in range(2):
        late = Prediction("late", "completed", output="y")
        assert (await world.runtime.reconciler.apply(job_id, 1, "replicate", late)).word == "stale"
    assert (await counters(world))["doubled"] == 1
    assert (await world.runtime.records.read(job_id)).output == '"x"'


async def test_its_last_attempt_ends_as_a_dead_letter(any_store: RunningServer | None, clock: ManualClock) -> None:
    async with make_world(any_store, clock, queue_max_retries=0) as world:
        job_id = await lose(world)
        await tick(world, 75)
        await tick(world, 75)
        job = await world.runtime.records.read(job_id)
        assert (job.status, job.error_code, job.is_error_retryable) == ("failed", "provider_down", True)
        assert (await world.runtime.records.stats()).dead == 1


async def test_a_status_says_when_the_outcome_will_be_known(world: World) -> None:
    job_id = await lose(world)
    submitted_at = world.clock.now()

    async def reason() -> str | None:
        job = await world.runtime.records.read(job_id)
        return explain(job, Outlook(), world.runtime.settings, world.clock.now())["waiting_reason"]

    expected = "outcome of the submission unknown, settles at "
    assert await reason() == expected + str(iso(submitted_at + 45_000))
    await tick(world, 20)
    assert await reason() == expected + str(iso(world.clock.now() + 30_000))
    world.provider.is_list_complete = False
    await tick(world, 60)
    assert await reason() == expected + str(iso((await world.runtime.records.read(job_id)).adopt_until))


async def test_a_submission_under_way_has_no_reason_to_wait(world: World) -> None:
    job = await world.runtime.records.read(await world.enqueue(start=True))
    assert explain(job, Outlook(), world.runtime.settings, world.clock.now())["waiting_reason"] is None


async def test_a_cancelled_one_frees_its_seat_at_once_and_its_slot_when_two_lists_lack_it(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    changes = {"max_user_tasks": 1, "max_user_queued": 3, "max_concurrent_tasks": 2}
    async with make_world(any_store, clock, **changes) as world:
        queue, records = world.runtime.queue, world.runtime.records
        job_id = await lose(world)
        following = await world.enqueue()
        assert (await records.read(following)).state == "backlog"
        assert (await queue.cancel(job_id, "app")).word == "cancel_requested"
        assert (await queue.cancel(job_id, "app")).word == "cancel_requested"
        assert (await records.read(following)).state == "queued"
        await queue.rehome(queue.keys.user("app", "ada"), [job_id], whole=False)
        assert await world.raw("ZRANGE", queue.keys.user("app", "ada"), "0", "-1") == [following]
        await tick(world, 75)
        assert (await records.read(job_id)).state == "submitting"
        await tick(world, 75)
        assert (await records.read(job_id)).status == "canceled"
        assert (await records.stats()).unknown == 0


async def test_a_user_whose_submissions_stay_unknown_has_one_slot_more_than_seats(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    """Five cancelled submissions of one user within a limit of one had all slots."""
    changes: dict[str, Any] = {"max_user_tasks": 1, "max_user_queued": 9, "dispatch_on_submit": False}
    async with make_world(any_store, clock, **changes) as world:
        queue, records, lost = world.runtime.queue, world.runtime.records, []
        world.provider.outcomes = [Unknown("TimeoutError")] * 5
        for n in range(5):
            lost.append(await world.enqueue("eve", model=f"acme/model{n}"))
            await world.runtime.dispatcher.run(Budget(60))
            await queue.cancel(lost[-1], "app")
            await queue.cancel(lost[-1], "app")
        states = [(await records.read(job)).state for job in lost]
        assert states == ["submitting", "submitting", "done", "done", "done"]
        following, other = await world.enqueue("eve"), await world.enqueue("bob")
        assert [job.id for job in (await queue.claim(10)).started] == [other]
        await queue.rehome(queue.keys.user("app", "eve"))
        held = await world.raw("ZRANGE", queue.keys.user("app", "eve"), "0", "-1")
        assert sorted(held) == sorted([lost[1], following])
        # Each settles, and the next one starts.
        await queue.fail(lost[0], 1, "", code="provider_down", detail="", retryable=True)
        assert not (await queue.claim(10)).started
        await queue.fail(lost[1], 1, "", code="provider_down", detail="", retryable=True)
        assert [job.id for job in (await queue.claim(10)).started] == [following]


@pytest.mark.parametrize("is_reported", [False, True])
async def test_a_run_that_is_cancelled_keeps_its_seat_though_its_outcome_was_unknown(
    any_store: RunningServer | None, clock: ManualClock, is_reported: bool
) -> None:
    async with make_world(any_store, clock) as world:
        queue = world.runtime.queue
        job_id = await lose(world)
        if is_reported:
            await queue.record(job_id, 1, "p7")
        else:
            world.provider.findable = ["p7"]
            world.provider.states["p7"] = Prediction("p7", "running")
            await tick(world, 30)
        assert (await world.runtime.records.read(job_id)).state == "running"
        assert (await queue.cancel(job_id, "app")).word == "cancel_requested"
        await queue.rehome(queue.keys.user("app", "ada"))
        assert await world.raw("ZRANGE", queue.keys.user("app", "ada"), "0", "-1") == [job_id]


async def test_a_cancellation_during_the_create_frees_the_seat_when_its_outcome_turns_out_unknown(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, max_user_tasks=1, max_user_queued=3) as world:
        job_id = await world.enqueue(start=True)
        following = await world.enqueue()
        await world.runtime.queue.cancel(job_id, "app")
        assert (await world.runtime.records.read(following)).state == "backlog"
        await world.runtime.queue.trip(job_id, 1, look_in=15)
        assert (await world.runtime.records.read(following)).state == "queued"


# Twins: two jobs ask for the same. A's create made p1, B's nothing.


async def twins(world: World) -> tuple[str, str]:
    world.provider.findable = []
    a = await lose(world, "ada", input=SAME)
    b = await lose(world, "bob", input=SAME)
    world.provider.states["p1"] = Prediction("p1", "running")
    return a, b


async def assert_b_gets_nothing_of_a(world: World, b: str) -> None:
    """B is looked at while the list has A's prediction alone."""
    world.provider.findable = ["p1"]
    await tick(world, 31)
    job = await world.runtime.records.read(b)
    assert (job.state, job.prediction) == ("submitting", "")


async def give_up(runtime: Runtime, job_id: str, proof: Proof) -> str:
    return (await runtime.queue.rescue(job_id, 1, proof=proof)).word


async def test_a_twin_that_was_given_up_by_lists_that_lag_is_still_a_twin(world: World) -> None:
    a, b = await twins(world)
    world.manual.advance(15)
    assert await give_up(world.runtime, a, "list") == "waiting"
    world.manual.advance(31)
    assert await give_up(world.runtime, a, "list") == "delayed"
    await assert_b_gets_nothing_of_a(world, b)


async def test_a_twin_that_the_operator_gave_up_is_still_a_twin(world: World) -> None:
    a, b = await twins(world)
    assert await give_up(world.runtime, a, "operator") == "delayed"
    await assert_b_gets_nothing_of_a(world, b)


async def test_a_twin_that_was_rescued_is_still_a_twin(world: World) -> None:
    s = world.runtime.settings
    a, b = await twins(world)
    await world.raw("HSET", world.runtime.queue.keys.job(a), "adopt_until", str(world.clock.now()))
    assert await give_up(world.runtime, a, "") == "requeued"
    await world.runtime.queue.cancel(a, "app")
    world.manual.advance(s.lease)
    await assert_b_gets_nothing_of_a(world, b)


async def test_a_twin_that_was_cancelled_and_deleted_is_still_a_twin(world: World) -> None:
    a, b = await twins(world)
    await world.runtime.queue.cancel(a, "app")
    assert await give_up(world.runtime, a, "operator") == "finished"
    await world.runtime.history.delete(a, "app")
    assert await world.raw("EXISTS", world.runtime.queue.keys.job(a)) == 0
    await assert_b_gets_nothing_of_a(world, b)


async def test_a_twin_that_an_earlier_attempt_has_completed_is_still_a_twin(world: World) -> None:
    a, b = await twins(world)
    queue = world.runtime.queue
    await give_up(world.runtime, a, "operator")
    world.manual.advance(91)
    world.provider.outcomes = [Unknown("again"), Unknown("again")]
    await world.runtime.dispatcher.run(Budget(60))
    assert (await world.runtime.records.read(a)).attempt == 2
    assert (await queue.finish(a, 1, "p0", "completed", {})).outcome == "completed"
    await assert_b_gets_nothing_of_a(world, b)


async def test_a_twin_whose_prediction_came_after_all_is_accounted_for(world: World) -> None:
    a, b = await twins(world)
    await give_up(world.runtime, a, "operator")
    await world.runtime.queue.finish(a, 1, "p1", "completed", {})
    world.provider.findable = ["p1", "p2"]
    world.provider.states["p2"] = Prediction("p2", "running")
    await tick(world, 31)
    assert (await world.runtime.records.read(b)).prediction == "p2"


async def test_an_older_submission_is_no_twin_of_one_far_later(world: World) -> None:
    a, _ = await twins(world)
    await give_up(world.runtime, a, "operator")
    await world.runtime.queue.cancel("job_1", "app")
    await give_up(world.runtime, "job_1", "operator")
    await world.runtime.queue.cancel(a, "app")
    world.manual.advance(world.runtime.settings.lease + 241)
    c = await lose(world, "eve", input=SAME)
    world.provider.findable = ["p1"]
    await tick(world, 31)
    assert (await world.runtime.records.read(c)).prediction == "p1"


@pytest.mark.parametrize("spelling", [{"a": 1, "b": "x"}, {"b": "x", "a": 1.0}])
async def test_equal_inputs_are_twins_in_any_spelling(world: World, spelling: dict[str, object]) -> None:
    await lose(world, "ada", input={"a": 1, "b": "x"}, model="acme/video")
    b = await lose(world, "bob", input=spelling, model=f"acme/video:{'ab' * 32}")
    adopted = await world.runtime.queue.adopt(b, 1, {"p1": "alike"})
    assert adopted.word == "ambiguous"


async def test_a_mark_decides_also_between_twins(world: World) -> None:
    a, b = await twins(world)
    assert (await world.runtime.queue.adopt(b, 1, {"p1": "alike", "p2": "marked"})).prediction == "p2"
    assert (await world.runtime.queue.adopt(a, 1, {"p1": "alike", "p2": "alike"})).prediction == "p1"


async def test_what_fits_is_not_adopted_unless_the_account_is_the_deployments_own(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, replicate_account_is_own=False) as world:
        job_id = await lose(world)
        world.provider.findable = ["p7"]
        for _ in range(4):
            await tick(world)
        job = await world.runtime.records.read(job_id)
        assert (job.state, job.missed_at) == ("submitting", None)


async def test_without_a_list_a_setting_decides_how_long_the_slot_is_held(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    for holds in (True, False):
        brings = {"wavespeed": ObedientProvider("wavespeed", is_list_complete=False)}
        changes = {"providers": "replicate,wavespeed", "hold_unlisted_submissions": holds}
        async with make_world(any_store, clock, brings, **changes) as world:
            brings["wavespeed"].outcomes = [Unknown("status 503")]
            job_id = await world.enqueue(provider="wavespeed")
            await world.runtime.dispatcher.run(Budget(60))
            await tick(world, world.runtime.settings.lease - 2)
            assert brings["wavespeed"].looked_for == []
            await tick(world, 4)
            job = await world.runtime.records.read(job_id)
            assert (job.state, job.attempt) == (("submitting", 1) if holds else ("running", 2))
            await tick(world, 3600 + world.runtime.settings.adoption_margin)
            assert (await world.runtime.records.stats()).counters["rescued"] == 1
