"""The outbox's verbs: what is owed, to whom it is handed, what is noted, and what of it nobody else may undo.

What owners receive is in test_deliveries, what becomes of files in test_storing; the last tests here are about what
neither must lose when the code between the verbs and the wire changes.
"""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.budget import Budget
from shared.clock import ManualClock
from shared.errors import JobNotFound, NoSuchEvent
from shared.hooks.delivery import LADDER
from shared.jobqueue import FollowUp, Lane, Tried
from tests.receiver import Receiver, receiver
from tests.world import World, make_world

URL = "https://example.com/hook"
ALL = ["job.processing", "job.completed", "job.failed", "job.canceled"]
LEASE = 120.0  # s; of what is claimed
TWO_SECRETS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + "QUFB" * 11)
WELL, LATER = Tried("delivered", 0, '{"at":1}'), Tried("retry", 1, '{"at":2}')


async def ended(world: World, user: str = "ada", *, files: str = "", **changes: Any) -> str:
    """A job that has run to its end."""
    job = await world.enqueue(user, start=True, **({"hook_url": URL} | changes))
    await world.runtime.queue.record(job, 1, f"p-{job}")
    fields = {"output": '"done"'} | ({"files": files} if files else {})
    assert (await world.runtime.queue.finish(job, 1, f"p-{job}", "completed", fields)).word == "finished"
    return job


def told(world: World) -> list[FollowUp]:
    """What the scripts have told this process to do since it was last asked."""
    return world.runtime.queue.follow_ups.take()[0]


async def lane_of(world: World, job: str) -> str:
    return str(await world.raw("HGET", world.runtime.queue.keys.job(job), "hook_lane"))


async def field(world: World, job: str, name: str) -> Any:
    return await world.raw("HGET", world.runtime.queue.keys.job(job), name)


async def claimed(world: World, rows: int = 20) -> list[Lane]:
    return (await world.runtime.outbox.claim(9, 9, rows))[1]


async def due_at(world: World, name: str) -> int | None:
    """When somebody looks at a job's files, or at a lane; None if nobody will."""
    score = await world.raw("ZSCORE", world.runtime.queue.keys.outbox, name)
    return None if score is None else int(float(score)) % 20_000_000_000_000


async def note(world: World, job: str, tried: Tried, tries: int = 0, *, event: str = "completed", **row: Any) -> bool:
    lane, tag = await field(world, job, "hook_lane"), await field(world, job, "hook_tag")
    return await world.runtime.outbox.note(FollowUp("tell", job, event, **row), lane, tag, tries, tried)


# Written by the script that ends a job


async def test_an_end_leases_its_event_to_whoever_made_it_and_nobody_else_gets_it(world: World) -> None:
    job = await ended(world)
    (row,) = told(world)
    assert (row.what, row.id, row.event, row.is_probe) == ("tell", job, "completed", False)
    assert await claimed(world) == []
    world.manual.advance(31)
    (lane,) = await claimed(world)
    assert [(row.id, row.event) for row in lane.rows] == [(job, "completed")]


async def test_only_what_was_asked_for_is_told(world: World) -> None:
    failures = await ended(world, hook_events=["job.failed"])
    nobody = await ended(world, hook_url=None)
    assert told(world) == []
    for job in (failures, nobody):
        assert await field(world, job, "s:completed") is None
    assert await world.raw("EXISTS", world.runtime.queue.keys.outbox) == 0


async def test_the_first_run_is_told_once_and_no_later_attempt(world: World) -> None:
    queue = world.runtime.queue
    job = await world.enqueue(start=True, hook_url=URL, hook_events=ALL)
    await queue.record(job, 1, "p1")
    assert [(row.id, row.event) for row in told(world)] == [(job, "processing")]
    assert await note(world, job, WELL, event="processing")
    await queue.fail(job, 1, "p1", code="unknown", detail="", retryable=True)
    world.manual.advance(100)
    await queue.claim(1)
    await queue.record(job, 2, "p2")
    assert told(world) == []
    assert await field(world, job, "s:processing") == "delivered"


async def test_a_later_event_does_not_put_off_an_earlier_one_of_its_lane(world: World) -> None:
    job = await ended(world)
    lane = await lane_of(world, job)
    before = await due_at(world, lane)
    world.manual.advance(10)
    await ended(world, "bob")
    assert await due_at(world, lane) == before


async def test_a_job_is_known_for_as_long_as_it_may_be_told_of(clock: ManualClock) -> None:
    async with make_world(None, clock, task_ttl=86_400) as world:
        key = world.runtime.queue.keys.job
        with_hook, without = await ended(world), await ended(world, "bob", hook_url=None)
        assert await world.raw("TTL", key(with_hook)) > sum(LADDER) * 1.1
        assert await world.raw("TTL", key(without)) <= 86_400


async def test_an_owner_is_told_when_the_files_are_kept_and_not_before(world: World) -> None:
    job = await ended(world, files="[]")
    assert [(row.what, row.id) for row in told(world)] == [("store", job)]
    assert await field(world, job, "s:completed") is None
    assert await world.runtime.outbox.keep(job, 1, "[1]", stored=1)
    assert [(row.what, row.event) for row in told(world)] == [("tell", "completed")]
    assert (await field(world, job, "files"), await field(world, job, "storing")) == ("[1]", "0")
    assert (await world.runtime.records.stats()).counters["files_stored"] == 1


@pytest.mark.parametrize("word", ["fail", "cancel"])
async def test_whoever_fails_or_cancels_a_job_is_told_to_tell_that_too(world: World, word: str) -> None:
    job = await world.enqueue(start=word == "fail", hook_url=URL)
    if word == "cancel":
        await world.runtime.queue.cancel(job, "app")
    else:
        await world.runtime.queue.fail(job, 1, "", code="x", detail="", retryable=False)
    assert [row.event for row in told(world)] == ["failed" if word == "fail" else "canceled"]


async def test_a_repeated_failure_is_answered_as_the_first_time(world: World) -> None:
    """A client whose answer was lost sends the script once more; so does a provider its webhook."""
    job = await world.enqueue(start=True)
    await world.runtime.queue.record(job, 1, "p1")
    for _ in range(2):
        ended = await world.runtime.queue.fail(job, 1, "p1", code="x", detail="", retryable=False)
        assert (ended.word, ended.outcome) == ("finished", "failed")


# Handed out


async def test_what_is_handed_out_is_handed_to_one_until_its_lease_is_over(world: World) -> None:
    jobs = [await ended(world, f"user{n}") for n in range(3)]
    world.manual.advance(31)
    (lane,) = await claimed(world, rows=2)
    assert [row.id for row in lane.rows] == jobs[:2]
    assert await claimed(world) == [], "nobody takes of a lane before one of its rows has been noted"
    await note(world, jobs[0], WELL)
    (rest,) = await claimed(world)
    assert [row.id for row in rest.rows] == jobs[2:]
    world.manual.advance(LEASE + 1)
    (again,) = await claimed(world)
    assert sorted(row.id for row in again.rows) == jobs[1:]


async def test_of_a_host_that_fails_one_row_is_handed_out_as_a_probe(world: World) -> None:
    jobs = [await ended(world, f"user{n}") for n in range(3)]
    told(world)
    await note(world, jobs[0], Tried("retry", world.clock.now() + 5000, "{}", pause=0))
    late = await ended(world, "late")
    assert told(world) == [], "its host is left alone"
    world.manual.advance(LEASE)
    (lane,) = await claimed(world)
    assert [row.is_probe for row in lane.rows] == [True]
    (probe,) = lane.rows
    tries = int(await field(world, probe.id, "n:completed") or "0")
    await note(world, probe.id, WELL, tries, is_probe=True)
    (rest,) = await claimed(world)
    assert {probe.id, *(row.id for row in rest.rows)} == {*jobs, late}
    assert not any(row.is_probe for row in rest.rows)


async def test_each_holder_of_a_jobs_files_has_a_turn_of_his_own(world: World) -> None:
    outbox = world.runtime.outbox
    job = await ended(world, files="[]")
    assert (await outbox.claim(9, 9, 9))[0] == [], "leased to whoever ended it"
    world.manual.advance(LEASE + 1)
    (row,) = (await outbox.claim(9, 9, 9))[0]
    assert (row.id, row.turn) == (job, 2)
    assert (await outbox.claim(9, 9, 9))[0] == []
    assert not await outbox.keep(job, 1, "[1]"), "somebody else's turn"
    assert await field(world, job, "files") == "[]"
    assert await outbox.keep(job, 2, "[2]", retry_at=world.clock.now() + 5000)
    world.manual.advance(6)
    (row,) = (await outbox.claim(9, 9, 9))[0]
    assert row.turn == 3
    assert await outbox.keep(job, 3, "[3]", given_up=1)
    assert await due_at(world, job) is None
    assert not await outbox.keep(job, 2, "[2]")
    assert await field(world, job, "files") == "[3]"


async def test_a_repeated_keep_is_not_taken_for_refused(world: World) -> None:
    """Whoever is refused removes what he has made: the only copies."""
    job = await ended(world, files="[]")
    for _ in range(2):
        assert await world.runtime.outbox.keep(job, 1, "[1]", stored=1)
    assert (await world.runtime.records.stats()).counters["files_stored"] == 1


async def test_files_of_a_job_that_is_gone_are_forgotten(world: World) -> None:
    job = await ended(world, files="[]")
    await world.raw("DEL", world.runtime.queue.keys.job(job))
    world.manual.advance(LEASE + 1)
    assert (await world.runtime.outbox.claim(9, 9, 9))[0] == []
    assert await due_at(world, job) is None


# Noted


async def test_a_success_counts_whoever_brings_it_and_a_failure_only_from_who_knows_of_all_tries(world: World) -> None:
    job = await ended(world)
    assert await note(world, job, LATER)
    assert not await note(world, job, LATER), "his try was noted, or somebody else's"
    assert (await field(world, job, "n:completed"), await field(world, job, "l:completed")) == ("1", LATER.entry)
    assert await note(world, job, WELL)
    assert await field(world, job, "s:completed") == "delivered"
    assert await field(world, job, "l:completed") == f"{LATER.entry}\n{WELL.entry}"


async def test_what_was_delivered_stays_delivered(world: World) -> None:
    job = await ended(world)
    lane = await lane_of(world, job)
    assert await note(world, job, WELL)
    assert await due_at(world, lane) is None
    for tried in (WELL, LATER, Tried("failed", 0, "{}")):
        assert not await note(world, job, tried, 1)
    assert await field(world, job, "n:completed") == "1"
    world.manual.advance(LEASE + 1)
    assert await claimed(world) == []
    assert await world.raw("EXISTS", world.runtime.queue.keys.lane_rows(lane)) == 0


async def test_a_host_that_fails_again_is_left_alone_for_twice_as_long(world: World) -> None:
    job = await ended(world)
    lane = await lane_of(world, job)
    pauses = []
    for tries in range(4):
        await note(world, job, Tried("retry", world.clock.now(), "{}", pause=0), tries)
        pauses.append((await due_at(world, lane) or 0) - world.clock.now())
    for number, pause in enumerate(pauses):
        assert 5000 * 2**number <= pause <= 7500 * 2**number
    await note(world, job, Tried("retry", world.clock.now(), "{}", pause=3_600_000), 4)
    assert await due_at(world, lane) == world.clock.now() + 3_600_000, "as long as it asks"


async def test_a_url_that_is_gone_is_told_nothing_more_and_others_of_its_host_are(world: World) -> None:
    job = await ended(world)
    await note(world, job, Tried("disabled", 0, "{}"))
    told(world)
    same, other = await ended(world, "bob"), await ended(world, "eve", hook_url=f"{URL}/other")
    assert [row.id for row in told(world)] == [other]
    assert await field(world, same, "s:completed") == "disabled"
    await world.runtime.outbox.redeliver(same, "completed", "app")
    told(world)
    await ended(world, "dan")
    assert len(told(world)) == 1, "redelivered, it is tried again"


async def test_what_is_given_up_is_listed_until_it_is_delivered_after_all(world: World) -> None:
    outbox, job = world.runtime.outbox, await ended(world)
    assert await note(world, job, Tried("failed", 0, "{}"))
    assert await due_at(world, await lane_of(world, job)) is None
    later = world.clock.now() + 1
    assert await outbox.undelivered(later) == [("completed", job, world.clock.now())]
    assert (await world.runtime.records.stats()).counters["undelivered"] == 1
    assert await note(world, job, WELL), "a late success of whoever was at it too"
    assert await outbox.undelivered(later) == []


async def test_a_redelivery_begins_the_ladder_anew_and_is_leased_to_who_asked(world: World) -> None:
    outbox, job = world.runtime.outbox, await ended(world)
    await note(world, job, LATER)
    await note(world, job, Tried("failed", 0, "{}"), 1)
    told(world)
    await outbox.redeliver(job, "completed", "app")
    assert [(row.id, row.is_probe) for row in told(world)] == [(job, True)]
    assert await outbox.undelivered(world.clock.now() + 1) == []
    assert (await field(world, job, "s:completed"), await field(world, job, "n:completed")) == ("pending", "0")
    assert await claimed(world) == []
    world.manual.advance(31)
    assert [row.id for lane in await claimed(world) for row in lane.rows] == [job]


async def test_nobody_redelivers_what_is_not_his_or_has_not_happened(world: World) -> None:
    job = await ended(world)
    assert await note(world, job, WELL)
    with pytest.raises(JobNotFound):
        await world.runtime.outbox.redeliver(job, "completed", "other")
    with pytest.raises(NoSuchEvent):
        await world.runtime.outbox.redeliver(job, "failed", "app")
    assert await field(world, job, "s:completed") == "delivered"


async def test_of_a_deleted_job_nothing_is_left(world: World) -> None:
    keys, jobs = (
        world.runtime.queue.keys,
        [await ended(world), await ended(world, "bob"), await ended(world, files="[]")],
    )
    await note(world, jobs[1], Tried("failed", 0, "{}"))
    lane = await lane_of(world, jobs[0])
    for job in jobs:
        await world.runtime.history.delete(job, "app")
    world.manual.advance(LEASE + 1)
    assert await world.runtime.outbox.claim(9, 9, 9) == ([], [])
    for key in (keys.outbox, keys.lane_rows(lane), keys.undelivered):
        assert await world.raw("EXISTS", key) == 0


# Batches


async def batch_of(world: World, count: int, policy: str = "best_effort", **common: str) -> list[str]:
    """A batch whose own end is told, and whose jobs are running."""
    lane = {"hook_url": URL, "hook_lane": "app:lane", "hook_tag": "tag"}
    now = world.clock.now()
    fields = {
        "owner": "app", "user": "ada", "queue": "video", "lane": "0", "provider": "replicate", "model": "acme/video",
        "input": "{}", "priority": "3", "deadline": "600", "adoption": "60000", "max_attempts": "3", "retry_delay": "1",
        "created_at": str(now), "expire_at": str(now + 900_000), "metadata": "{}", "policy": policy, **common,
    }  # fmt: skip
    batch = {"owner": "app", "user": "ada", "policy": policy, "expected": str(count), "created_at": str(now)}
    jobs: list[tuple[int, dict[str, str]]] = [(now + n, {}) for n in range(count)]
    await world.runtime.batch_queue.create("bat_1", "f", batch | lane | {"hook_events": "batch"}, fields, jobs, "")
    return [await running_of(world, job.id, job.attempt) for job in (await world.runtime.queue.claim(9)).started]


async def running_of(world: World, job: str, attempt: int) -> str:
    await world.runtime.queue.record(job, attempt, f"p-{job}")
    return job


async def test_a_batch_is_told_of_once_each_time_it_ends(world: World) -> None:
    queue, batches = world.runtime.queue, world.runtime.batch_queue
    first, second = await batch_of(world, 2)
    await queue.finish(first, 1, f"p-{first}", "completed", {})
    assert told(world) == []
    await queue.fail(second, 1, f"p-{second}", code="x", detail="", retryable=False)
    assert [(row.id, row.event) for row in told(world)] == [("bat_1", "batch")]
    assert await batches.retry("bat_1", "app", "ada", canceled_too=False, cost="") == 1
    (again,) = (await queue.claim(9)).started
    await queue.finish(again.id, 1, "p9", "completed", {})
    assert [(row.id, row.event) for row in told(world)] == [("bat_1", "batch1")]
    rows = await world.raw("ZRANGE", queue.keys.lane_rows("app:lane"), "0", "-1")
    assert sorted(rows) == ["batch1|bat_1", "batch|bat_1"]


async def test_a_batch_that_a_failure_ends_is_told_of_once(world: World) -> None:
    queue = world.runtime.queue
    jobs = await batch_of(world, 1, "all_or_nothing")
    await queue.fail(jobs[0], 1, f"p-{jobs[0]}", code="x", detail="", retryable=False)
    assert [row.event for row in told(world)] == ["batch"]
    assert (await world.runtime.records.stats()).counters["batches"] == 1


async def test_only_the_first_of_several_events_is_leased_to_who_caused_them(world: World) -> None:
    """He may not get to the others in time; they are due for whoever comes first, which may be he."""
    hook = {"hook_url": URL, "hook_lane": "app:lane", "hook_tag": "tag", "hook_events": "completed,failed,canceled"}
    await world.runtime.controls.set_gates({"=s": 0})
    await batch_of(world, 3, **hook)
    await world.runtime.batch_queue.cancel("bat_1", "app")
    rows, is_more = world.runtime.queue.follow_ups.take()
    assert (len(rows), is_more) == (1, True)
    (lane,) = await claimed(world)
    assert len(lane.rows) == 3 and rows[0].id not in {row.id for row in lane.rows}
    assert {row.event for row in lane.rows} == {"canceled", "batch"}


async def test_a_batch_that_ends_within_a_cancellation_is_told_of_once(world: World) -> None:
    """One failure cancels those that wait: the last of these ends the batch before the failed one is through."""
    queue = world.runtime.queue
    await world.runtime.controls.limit_user("app", "ada", 1)
    (job,) = await batch_of(world, 3, "all_or_nothing")
    await queue.fail(job, 1, f"p-{job}", code="x", detail="", retryable=False)
    rows, is_more = queue.follow_ups.take()
    assert ([row.event for row in rows], is_more) == (["batch"], False)
    assert (await world.runtime.records.stats()).counters["batches"] == 1


# On the wire


@pytest.fixture
async def endpoint() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        yield made


@pytest.fixture
async def wired() -> AsyncIterator[World]:
    """Memory mode, by the machine's time: the verifiers of others look at it."""
    clock, hooks = ManualClock(time.time_ns() // 1_000_000), {"app": {"secrets": TWO_SECRETS}}
    async with make_world(None, clock, allow_loopback=True, hooks=hooks, hook_timeout=1.0, api_keys="app:k") as made:
        yield made


async def drain(world: World) -> None:
    await world.runtime.outbox_worker.drain(Budget(50))


async def test_both_secrets_sign_what_is_sent(wired: World, endpoint: Receiver) -> None:
    job = await ended(wired, hook_url=endpoint.url())
    await drain(wired)
    for secret in TWO_SECRETS:
        assert endpoint.received[0].verified(secret)["data"]["id"] == job


async def test_ten_tries_and_the_waits_between_them_are_the_ladder(wired: World, endpoint: Receiver) -> None:
    endpoint.answers = lambda _: (404, {}, b"")
    job = await ended(wired, hook_url=endpoint.url())
    (row,) = told(wired)
    lane, waits = await lane_of(wired, job), []
    while await field(wired, job, "s:completed") == "pending":
        await wired.runtime.deliveries.deliver(row)
        due = await wired.raw("ZSCORE", wired.runtime.queue.keys.lane_rows(lane), f"completed|{job}")
        waits.append((int(due) - wired.clock.now()) / 1000 if due else 0.0)
    assert len(waits) == len(endpoint.received) == 10 and waits.pop() == 0
    for wait, step in zip(waits, [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400], strict=True):
        assert step <= wait <= step * 1.1


async def test_a_redirect_is_no_success_and_is_not_followed(wired: World, endpoint: Receiver) -> None:
    endpoint.answers = lambda _: (302, {"Location": endpoint.url("/other")}, b"")
    job = await ended(wired, hook_url=endpoint.url())
    await drain(wired)
    assert [request.path for request in endpoint.received] == ["/hook"]
    assert await field(wired, job, "s:completed") == "pending"


async def test_a_host_that_asks_for_an_hour_gets_it(wired: World, endpoint: Receiver) -> None:
    endpoint.answers = lambda _: (429, {"Retry-After": "3600"}, b"")
    job = await ended(wired, hook_url=endpoint.url())
    began = wired.clock.now()
    await drain(wired)
    lane = await lane_of(wired, job)
    assert await due_at(wired, lane) == began + 3_600_000
    row = await wired.raw("ZSCORE", wired.runtime.queue.keys.lane_rows(lane), f"completed|{job}")
    assert int(row) == began + 3_600_000


async def test_an_address_is_checked_when_it_is_called_and_not_only_at_submit(
    clock: ManualClock, endpoint: Receiver
) -> None:
    """Between the two its name may have come to lead into our own network."""
    async with make_world(None, clock) as world:
        job = await ended(world, hook_url=endpoint.url())
        await drain(world)
        assert endpoint.received == []
        assert json.loads(await field(world, job, "l:completed"))["error"] == "address_refused"


async def test_who_comes_to_it_late_leaves_what_he_was_told_to_others(wired: World, endpoint: Receiver) -> None:
    await ended(wired, hook_url=endpoint.url())
    wired.manual.advance(29)
    await drain(wired)
    assert endpoint.received == []
    wired.manual.advance(2)
    assert await wired.runtime.outbox_worker.run(Budget(50)) == 1
    assert len(endpoint.received) == 1
