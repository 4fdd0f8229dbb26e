"""Each rule, on a real store: what it takes for an alert, and what it says."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.alerts.catalogue import KINDS
from shared.alerts.changes import due
from shared.alerts.rules import RULES
from shared.alerts.standing import Alert, State
from shared.config.alerts import THRESHOLDS
from shared.jobqueue.constants import BAND
from tests.alerts.looking import Looking, looking

HOUR = 60  # minutes


@pytest.fixture
async def place() -> AsyncIterator[Looking]:
    async with looking() as made:
        yield made


async def last(place: Looking, key: str) -> dict[str, object]:
    """What stands under this key."""
    found: dict[str, object] = (await place.state())["alerts"][key]
    return found


def test_each_alert_has_a_threshold_a_rule_and_a_kind() -> None:
    assert set(THRESHOLDS) == set(RULES) == set(KINDS)


async def test_nothing_is_told_of_a_deployment_without_trouble(place: Looking) -> None:
    await place.world.enqueue(start=True)
    assert [await place.look() for _ in range(20)] == [[]] * 20


async def test_a_job_that_nobody_starts_is_told_after_two_looks(place: Looking) -> None:
    job = await place.world.enqueue()
    assert [await place.look() for _ in range(4)] == [[], [], [], ["fired jobs_not_started"]]
    stands = await last(place, "jobs_not_started")
    assert stands["text"] == "A job could have started 8 min ago, and has not."
    assert stands["names"] == [job]


async def test_a_job_that_a_slot_was_freed_for_just_now_is_no_alert(place: Looking) -> None:
    """Each look meets another job, which has waited long for a slot, and starts in this moment."""
    for number in range(8):
        await place.world.enqueue(f"user{number}")
    told = []
    for _ in range(8):
        told += await place.look(10)
        await place.world.runtime.queue.claim(1)
    assert "fired jobs_not_started" not in told


async def test_the_next_job_of_a_line_that_waits_long_is_told(place: Looking) -> None:
    await place.world.runtime.controls.set_gates({"=s": 0})
    await place.world.enqueue()
    assert await place.look(59) == []
    assert await place.look(2) == ["fired oldest_wait"]
    stands = await last(place, "oldest_wait")
    assert (stands["text"], stands["names"]) == (
        "The next job of a line was submitted 61 min ago.", ["video at replicate"],
    )  # fmt: skip


async def test_dead_letters_are_counted_by_the_hour_and_named_by_model(place: Looking) -> None:
    world = place.world
    world.runtime.settings.__dict__["queue_max_retries"] = 0
    for number in range(10):
        model = "acme/bad" if number else "acme/worse"
        job = await world.enqueue(f"user{number % 2}", model=model, start=True)
        await world.runtime.queue.fail(job, 1, "p", code="provider_error", detail="", retryable=True)
        for attempt in range(2, 6):
            world.manual.advance(7200)
            await world.runtime.queue.claim(1)
            await world.runtime.queue.fail(job, attempt, "p", code="provider_error", detail="", retryable=True)
    dead = world.runtime.queue.keys.dead
    assert await world.raw("ZCARD", dead) == 10
    for member in await world.raw("ZRANGE", dead, "0", "-1"):
        await world.raw("ZADD", dead, str(world.clock.now()), member)
    assert await place.look() == ["fired dead_letters"]
    stands = await last(place, "dead_letters")
    assert stands["text"] == "10 dead letters came in the last hour."
    assert sorted(stands["names"]) == ["acme/bad", "acme/worse"]  # type: ignore[call-overload]
    assert await place.look(HOUR) == []
    assert await place.look(10) == ["recovered dead_letters"]


@pytest.mark.parametrize(("code", "status", "after"), [("billing", 402, 2), ("rate_limited", 429, 6)])
async def test_a_provider_that_refuses_is_told_at_once_if_it_is_about_the_account(
    place: Looking, code: str, status: int, after: int
) -> None:
    world = place.world
    job = await world.enqueue(start=True)
    await world.runtime.queue.snooze(job, 1, delay=3600, code=code, pause=True, status=status)
    told = [(minute, await place.look()) for minute in range(2, 10, 2)]
    assert [minute for minute, words in told if words == ["fired provider_refuses:replicate"]] == [after]
    stands = await last(place, "provider_refuses:replicate")
    assert str(stands["text"]).startswith("replicate has refused submissions for")
    assert f"{code}, status {status}, 1 refusal." in str(stands["text"])


async def refuse(place: Looking, code: str, delay: float, refusals: int = 1) -> None:
    job = await place.world.enqueue(start=True)
    await place.world.runtime.queue.snooze(job, 1, delay=delay, code=code, pause=True, status=401)
    await place.world.raw("HSET", f"{place.world.runtime.queue.keys.root}p:0", "refusals", str(refusals))
    await place.world.runtime.queue.cancel(job, "app")


async def test_a_pause_that_has_ended_is_told_no_more(place: Looking) -> None:
    await refuse(place, "rate_limited", 60)
    assert [await place.look() for _ in range(20)] == [[]] * 20


async def test_a_refused_account_stands_until_a_submission_is_accepted(place: Looking) -> None:
    await refuse(place, "billing", 60)
    assert await place.look() == ["fired provider_refuses:replicate"]
    await place.world.raw("DEL", f"{place.world.runtime.queue.keys.root}p:0")
    assert [await place.look(10) for _ in range(12)] == [[]] * 12
    assert "billing, status 401" in str((await last(place, "provider_refuses:replicate"))["text"])
    await place.world.raw("ZREM", place.world.runtime.queue.keys.index, "~p0")
    assert await place.look() == [] and await place.look(10) == ["recovered provider_refuses:replicate"]


@pytest.mark.parametrize("refusals", [1, 2])
async def test_one_model_that_is_forbidden_once_is_no_refused_account(place: Looking, refusals: int) -> None:
    await refuse(place, "provider_auth", 3600, refusals)
    assert await place.look() == ([] if refusals == 1 else ["fired provider_refuses:replicate"])


async def test_an_open_circuit_is_told_unless_it_is_of_one_user(place: Looking) -> None:
    index, later = place.world.runtime.queue.keys.index, place.world.clock.now() + 10**9
    await place.world.raw("ZADD", index, str(later - BAND), "~o0:acme/one|17")
    assert [await place.look() for _ in range(5)] == [[]] * 5
    await place.world.raw("ZADD", index, str(later - BAND), "~o0:acme/bad")
    assert [await place.look() for _ in range(4)] == [[], [], [], ["fired circuit_open"]]
    assert (await last(place, "circuit_open"))["names"] == ["acme/bad"]


async def test_a_further_model_is_told_an_hour_later_and_once(place: Looking) -> None:
    index, later = place.world.runtime.queue.keys.index, place.world.clock.now() + 10**9
    await place.world.raw("ZADD", index, str(later - BAND), "~o0:acme/bad")
    for _ in range(4):
        await place.look()
    for number in range(5):
        await place.world.raw("ZADD", index, str(later - BAND), f"~o0:acme/bad{number}")
        assert await place.look() == []
    told = [words for _ in range(60) if (words := await place.look())]
    assert told == [["more circuit_open"]]


async def test_a_further_model_is_told_though_ten_are_before_it_by_alphabet(place: Looking) -> None:
    index, later = place.world.runtime.queue.keys.index, place.world.clock.now() + 10**9
    for number in range(12):
        await place.world.raw("ZADD", index, str(later - BAND), f"~o0:acme/bad{number:02}")
    first = [words for _ in range(120) if (words := await place.look())]
    assert first == [["fired circuit_open"], ["more circuit_open"]]
    await place.world.raw("ZADD", index, str(later - BAND), "~o0:zoo/last")
    again = [words for _ in range(60) if (words := await place.look())]
    assert again == [["more circuit_open"]]
    assert "zoo/last" in str((await last(place, "circuit_open"))["told"])


def test_the_subjects_that_were_told_last_are_known() -> None:
    alert: Alert = {
        "key": "circuit_open", "name": "circuit_open", "about": "", "severity": "warning", "begun_at": 1,
        "fired_at": 1, "told_at": 1, "clear_at": 0, "text": "", "figures": {}, "names": ["a"], "mark": "",
        "told": [f"z{number:03}" for number in range(100)],
    }  # fmt: skip
    now = 10**13
    assert [change["word"] for change in due(State(alerts={"circuit_open": alert}), now, ())] == ["more"]
    assert alert["told"] == [*(f"z{number:03}" for number in range(1, 100)), "a"]


async def test_webhooks_with_a_wrong_signature_are_told(place: Looking) -> None:
    await place.world.runtime.controls.note_refused_webhook()
    assert await place.look() == ["fired webhooks_refused"]


async def test_slots_that_unknown_submissions_hold_are_told(place: Looking) -> None:
    lost = place.world.runtime.queue.keys.lost
    await place.world.raw("ZADD", lost, str(place.world.clock.now()), "|job_1:1:")
    assert await place.look() == []
    await place.world.raw("ZADD", lost, str(place.world.clock.now()), "|job_2:1:")
    assert await place.look() == ["fired submissions_unknown"]
    text = (await last(place, "submissions_unknown"))["text"]
    assert text == "2 of 5 slots are held by submissions whose outcome is unknown."


async def test_files_that_are_not_stored_are_told_after_half_an_hour(place: Looking) -> None:
    world = place.world
    job = await world.enqueue(start=True)
    files = '[{"state": "pending", "url": "https://x.test/y.mp4"}]'
    await world.runtime.queue.finish(job, 1, "p", "completed", {"files": files, "storing": "1"})
    world.follow_ups()
    await world.raw("ZADD", world.runtime.queue.keys.outbox, str(world.clock.now() - BAND), job)
    await world.raw("HSET", world.runtime.queue.keys.job(job), "storing", "1")
    assert await place.look(28) == []
    assert await place.look() == ["fired copy_overdue"]
    assert (await last(place, "copy_overdue"))["names"] == [job]


async def test_hooks_that_fail_are_one_alert_for_all_owners(place: Looking) -> None:
    keys, now = place.world.runtime.queue.keys, place.world.clock.now()
    for owner in ("app", "other"):
        await place.world.raw("HSET", keys.lane_state(f"{owner}:abc"), "failures", "8")
        await place.world.raw("ZADD", keys.outbox, str(now + 600_000), f"{owner}:abc")
    assert await place.look() == ["fired hooks_failing"]
    stands = await last(place, "hooks_failing")
    assert stands["text"] == "2 failing hosts of hooks, up to 8 times in a row."
    assert stands["names"] == ["app", "other"]


async def test_an_owner_of_many_lanes_hides_no_failing_host(place: Looking) -> None:
    keys, now = place.world.runtime.queue.keys, place.world.clock.now()
    for number in range(60):
        await place.world.raw("HSET", keys.lane_state(f"app:{number}"), "failures", "1")
        await place.world.raw("ZADD", keys.outbox, str(now + 36_000_000), f"app:{number}")
    await place.world.raw("HSET", keys.lane_state("other:abc"), "failures", "8")
    await place.world.raw("ZADD", keys.outbox, str(now + 600_000), "other:abc")
    assert await place.look() == ["fired hooks_failing"]
    assert (await last(place, "hooks_failing"))["names"] == ["other"]


async def test_a_lane_that_is_being_delivered_is_not_looked_at(place: Looking) -> None:
    keys, now = place.world.runtime.queue.keys, place.world.clock.now()
    await place.world.raw("HSET", keys.lane_state("app:abc"), "failures", "8")
    await place.world.raw("ZADD", keys.outbox, str(now + 130_000), "app:abc")
    assert await place.look() == []


async def test_events_that_were_given_up_are_told_by_the_hour(place: Looking) -> None:
    stats = place.world.runtime.queue.keys.stats
    await place.world.raw("HSET", stats, "undelivered", "100")
    assert await place.look() == []
    await place.world.raw("HSET", stats, "undelivered", "108")
    assert await place.look() == ["fired hooks_failing"]
    assert (await last(place, "hooks_failing"))["text"] == "8 events were given up in the last hour."


async def test_jobs_that_had_to_be_put_back_are_told(place: Looking) -> None:
    stats = place.world.runtime.queue.keys.stats
    assert await place.look() == []
    await place.world.raw("HSET", stats, "rescued", "1", "rehomed", "1", "lanes_restored", "1")
    assert await place.look() == ["fired slots_healed"]
    await place.world.raw("HSET", stats, "rescued", "0", "rehomed", "0", "lanes_restored", "0")
    assert await place.look(61) == []
    assert await place.look(11) == ["recovered slots_healed"]


@pytest.mark.parametrize(("code", "told"), [("provider_down", ["fired failure_rate"]), ("content_policy", [])])
async def test_a_model_whose_jobs_fail_often_is_told_unless_users_are_at_fault(code: str, told: list[str]) -> None:
    changes: dict[str, Any] = {"statistics": True, "circuit_failures": 0, "max_user_tasks": 50}
    async with looking(**changes, max_concurrent_tasks=50, alert_thresholds="dead_letters:off") as place:
        for number in range(20):
            model = "acme/bad" if number % 2 else "acme/good"
            job = await place.world.enqueue(start=True, model=model)
            if number % 2:
                await place.world.runtime.queue.fail(job, 1, "p", code=code, detail="", retryable=False)
            else:
                await place.world.runtime.queue.finish(job, 1, "p", "completed", {})
        assert await place.look() == told
        if told:
            stands = await last(place, "failure_rate")
            assert stands["names"] == ["acme/bad"] and stands["figures"] == {"percent": 100, "models": 1}
            assert str(stands["text"]).startswith("In the last hour 10 of 10 jobs of a model failed")


async def test_a_few_failures_are_no_rate() -> None:
    async with looking(statistics=True, circuit_failures=0, max_user_tasks=50, max_concurrent_tasks=50) as place:
        for _ in range(9):
            job = await place.world.enqueue(start=True)
            await place.world.runtime.queue.fail(job, 1, "p", code="timeout", detail="", retryable=False)
        assert await place.look() == []


async def test_a_quota_of_commands_that_is_nearly_used_up_is_told() -> None:
    async with looking(count_commands=True, commands_quota=1_000_000) as place:
        month = place.world.runtime.queue.keys.commands(f"{datetime.fromtimestamp(1_800_000_000, UTC):%Y-%m}")
        await place.world.raw("HSET", month, "01:claim", "700000")
        assert await place.look() == []
        await place.world.raw("HSET", month, "01:claim", "850000")
        assert await place.look() == ["fired commands_near_end"]
        text = str((await last(place, "commands_near_end"))["text"])
        # By chance the sample counts some commands of the look itself.
        assert re.fullmatch(r"8500\d\d commands were counted this month, 85 % of COMMANDS_QUOTA\.", text)


async def test_a_slow_store_is_told_after_three_looks(place: Looking) -> None:
    place.latency = 1.5
    assert [await place.look() for _ in range(3)] == [[], [], ["fired store_slow"]]
    assert (await last(place, "store_slow"))["text"] == "A call of the store took 1500 ms."


async def test_a_threshold_may_be_changed_and_an_alert_switched_off() -> None:
    async with looking(alert_thresholds="submissions_unknown:10, webhooks_refused:off") as place:
        lost = place.world.runtime.queue.keys.lost
        await place.world.raw("ZADD", lost, str(place.world.clock.now()), "|job_1:1:")
        await place.world.runtime.controls.note_refused_webhook()
        assert await place.look() == ["fired submissions_unknown"]


async def test_a_figure_next_to_its_threshold_does_not_flap(place: Looking) -> None:
    told = []
    for latency in [1.5] * 4 + ([0.9] * 8 + [1.1] * 4) * 3 + [0.5] * 10:
        place.latency = latency
        told += await place.look()
    assert told == ["fired store_slow", "recovered store_slow"]
