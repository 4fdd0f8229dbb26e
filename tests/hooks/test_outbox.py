"""The outbox's verbs: an end adds follow-ups, a claim leases them, a result is noted once.

test_deliveries shows what owners receive, test_storing what becomes of files, test_outbox_wire the requests.
"""

import pytest

from shared.clock import ManualClock
from shared.errors import JobNotFound, NoSuchEvent
from shared.hooks.delivery import LADDER
from shared.jobqueue import Tried
from shared.jobqueue.reads import GivenUp
from tests.hooks.outbox import ALL, LATER, LATEST, LEASE, URL, WELL, claimed, due_at, ended, field, lane_of, note
from tests.world import World, make_world

# Written by the script that ends a job


async def test_an_end_leases_its_event_to_the_call_that_ended_the_job_and_to_no_other(world: World) -> None:
    job = await ended(world)
    (row,) = world.follow_ups()
    assert (row.what, row.id, row.event, row.is_probe) == ("tell", job, "completed", False)
    assert await claimed(world) == []
    world.manual.advance(31)
    (lane,) = await claimed(world)
    assert [(row.id, row.event) for row in lane.rows] == [(job, "completed")]


async def test_only_requested_events_reach_the_outbox(world: World) -> None:
    failures = await ended(world, hook_events=["job.failed"])
    without_hook = await ended(world, hook_url=None)
    assert world.follow_ups() == []
    for job in (failures, without_hook):
        assert await field(world, job, "s:completed") is None
    assert await world.raw("EXISTS", world.runtime.queue.keys.outbox) == 0


async def test_the_first_run_sends_one_event_and_later_attempts_send_none(world: World) -> None:
    queue = world.runtime.queue
    job = await world.enqueue(start=True, hook_url=URL, hook_events=ALL)
    await queue.record(job, 1, "p1")
    assert [(row.id, row.event) for row in world.follow_ups()] == [(job, "processing")]
    assert await note(world, job, WELL, event="processing")
    await queue.fail(job, 1, "p1", code="unknown", detail="", retryable=True)
    world.manual.advance(100)
    await queue.claim(1)
    await queue.record(job, 2, "p2")
    assert world.follow_ups() == []
    assert await field(world, job, "s:processing") == "delivered"


async def test_a_later_event_does_not_put_off_an_earlier_one_of_its_lane(world: World) -> None:
    job = await ended(world)
    lane = await lane_of(world, job)
    before = await due_at(world, lane)
    world.manual.advance(10)
    await ended(world, "bob")
    assert await due_at(world, lane) == before


async def test_a_job_is_kept_for_as_long_as_its_events_may_be_retried(clock: ManualClock) -> None:
    async with make_world(None, clock, task_ttl=86_400) as world:
        key = world.runtime.queue.keys.job
        with_hook, without = await ended(world), await ended(world, "bob", hook_url=None)
        assert await world.raw("TTL", key(with_hook)) > sum(LADDER) * 1.1
        assert await world.raw("TTL", key(without)) <= 86_400


async def test_the_event_follows_only_once_the_files_are_kept(world: World) -> None:
    job = await ended(world, files="[]")
    assert [(row.what, row.id) for row in world.follow_ups()] == [("store", job)]
    assert await field(world, job, "s:completed") is None
    assert await world.runtime.outbox.keep(job, 1, "[1]", stored=1)
    assert [(row.what, row.event) for row in world.follow_ups()] == [("tell", "completed")]
    assert (await field(world, job, "files"), await field(world, job, "storing")) == ("[1]", "0")
    assert (await world.runtime.records.stats()).counters["files_stored"] == 1


async def test_an_owner_is_notified_while_a_file_is_still_tried_and_of_that_one_later(world: World) -> None:
    job = await ended(world, files="[]", hook_events=["job.completed", "job.files"])
    world.follow_ups()
    outbox, retry_at = world.runtime.outbox, world.clock.now() + 5000
    assert await outbox.keep(job, 1, "[1]", retry_at=retry_at)
    assert world.follow_ups() == [] and await field(world, job, "s:completed") is None
    assert await outbox.keep(job, 1, "[2]", retry_at=retry_at, is_news=True)
    assert [(row.what, row.event) for row in world.follow_ups()] == [("tell", "completed")]
    assert await note(world, job, WELL, event="completed")
    for _ in range(2):  # a repeat, and a later turn's note
        assert await outbox.keep(job, 1, "[3]", retry_at=retry_at, is_news=True)
        assert world.follow_ups() == [] and await field(world, job, "s:completed") == "delivered"
    assert (await field(world, job, "storing"), await field(world, job, "files")) == ("1", "[3]")
    for _ in range(2):
        assert await outbox.keep(job, 1, "[4]", given_up=1)
        assert (await field(world, job, "s:completed"), await field(world, job, "s:files")) == ("delivered", "pending")
    assert [(row.what, row.event) for row in world.follow_ups()] == [("tell", "files")]
    lane = await lane_of(world, job)
    assert await world.runtime.history.delete(job, "app") is None
    assert await world.raw("EXISTS", world.runtime.queue.keys.lane_rows(lane)) == 0


async def test_without_a_subscription_the_rest_of_the_files_is_no_event(world: World) -> None:
    job = await ended(world, files="[]", hook_events=["job.completed"])
    world.follow_ups()
    assert await world.runtime.outbox.keep(job, 1, "[]", retry_at=world.clock.now() + 1, is_news=True)
    assert [row.event for row in world.follow_ups()] == ["completed"]
    assert await world.runtime.outbox.keep(job, 1, "[]")
    assert world.follow_ups() == [] and await field(world, job, "s:files") is None


@pytest.mark.parametrize("word", ["fail", "cancel"])
async def test_a_failure_or_a_cancellation_sends_its_event_too(world: World, word: str) -> None:
    job = await world.enqueue(start=word == "fail", hook_url=URL)
    if word == "cancel":
        await world.runtime.queue.cancel(job, "app")
    else:
        await world.runtime.queue.fail(job, 1, "", code="x", detail="", retryable=False)
    assert [row.event for row in world.follow_ups()] == ["failed" if word == "fail" else "canceled"]


async def test_a_repeated_failure_is_answered_as_the_first_time(world: World) -> None:
    """The store client repeats a script whose answer was lost; a provider repeats its webhook."""
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
    assert await claimed(world) == [], "no claim takes from a lane until one of its rows has been noted"
    await note(world, jobs[0], WELL)
    (rest,) = await claimed(world)
    assert [row.id for row in rest.rows] == jobs[2:]
    world.manual.advance(LEASE + 1)
    (again,) = await claimed(world)
    assert sorted(row.id for row in again.rows) == jobs[1:]


async def test_one_row_of_a_failing_host_is_handed_out_as_a_probe(world: World) -> None:
    jobs = [await ended(world, f"user{n}") for n in range(3)]
    world.follow_ups()
    await note(world, jobs[0], Tried("retry", world.clock.now() + 5000, "{}", pause=0))
    late = await ended(world, "late")
    assert world.follow_ups() == [], "its host is left alone"
    world.manual.advance(LEASE)
    (lane,) = await claimed(world)
    assert [row.is_probe for row in lane.rows] == [True]
    (probe,) = lane.rows
    tries = int(await field(world, probe.id, "n:completed") or "0")
    await note(world, probe.id, WELL, tries, is_probe=True)
    (rest,) = await claimed(world)
    assert {probe.id, *(row.id for row in rest.rows)} == {*jobs, late}
    assert not any(row.is_probe for row in rest.rows)


async def test_each_holder_of_a_jobs_files_has_its_own_turn(world: World) -> None:
    outbox = world.runtime.outbox
    job = await ended(world, files="[]")
    assert (await outbox.claim(9, 9, 9))[0] == [], "leased to the call that ended it"
    world.manual.advance(LEASE + 1)
    (row,) = (await outbox.claim(9, 9, 9))[0]
    assert (row.id, row.turn) == (job, 2)
    assert (await outbox.claim(9, 9, 9))[0] == []
    assert not await outbox.keep(job, 1, "[1]"), "another holder's turn"
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
    """A refused holder deletes the copies it made, which would be the only ones."""
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


async def test_a_success_always_counts_and_a_failure_only_from_a_caller_that_knows_all_tries(world: World) -> None:
    job = await ended(world)
    assert await note(world, job, LATER)
    assert not await note(world, job, LATER), "this try was noted already, or another's"
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
    await note(world, job, Tried("retry", world.clock.now(), "{}", pause=900_000), 4)
    assert await due_at(world, lane) == world.clock.now() + 900_000, "as long as it asks"
    await note(world, job, Tried("retry", world.clock.now(), "{}", pause=900_001), 5)
    assert 160_000 <= (await due_at(world, lane) or 0) - world.clock.now() <= 240_000, "asked for long: the URL waits"


async def test_a_url_that_is_gone_gets_no_more_events_and_others_of_its_host_do(world: World) -> None:
    job = await ended(world)
    await note(world, job, Tried("disabled", 0, "{}"))
    world.follow_ups()
    same, other = await ended(world, "bob"), await ended(world, "eve", hook_url=f"{URL}/other")
    assert [row.id for row in world.follow_ups()] == [other]
    assert await field(world, same, "s:completed") == "disabled"
    await world.runtime.outbox.redeliver(same, "completed", "app")
    world.follow_ups()
    await ended(world, "dan")
    assert len(world.follow_ups()) == 1, "redelivered, it is tried again"


async def test_what_is_given_up_is_listed_until_it_is_delivered_after_all(world: World) -> None:
    outbox, job = world.runtime.outbox, await ended(world)
    assert await note(world, job, Tried("failed", 0, "{}"))
    assert await due_at(world, await lane_of(world, job)) is None
    given_up = GivenUp(f"completed|{job}", world.clock.now(), True, "")
    assert await outbox.undelivered(LATEST) == ((given_up,), None)
    assert (await world.runtime.records.stats()).counters["undelivered"] == 1
    assert await note(world, job, WELL), "a late success counts too"
    assert await outbox.undelivered(LATEST) == ((), None)


async def test_a_redelivery_restarts_the_ladder_and_is_leased_to_its_caller(world: World) -> None:
    outbox, job = world.runtime.outbox, await ended(world)
    await note(world, job, LATER)
    await note(world, job, Tried("failed", 0, "{}"), 1)
    world.follow_ups()
    await outbox.redeliver(job, "completed", "app")
    assert [(row.id, row.is_probe) for row in world.follow_ups()] == [(job, True)]
    assert await outbox.undelivered(LATEST) == ((), None)
    assert (await field(world, job, "s:completed"), await field(world, job, "n:completed")) == ("pending", "0")
    assert await claimed(world) == []
    world.manual.advance(31)
    assert [row.id for lane in await claimed(world) for row in lane.rows] == [job]


async def test_only_the_owner_redelivers_and_only_events_that_happened(world: World) -> None:
    job = await ended(world)
    assert await note(world, job, WELL)
    with pytest.raises(JobNotFound):
        await world.runtime.outbox.redeliver(job, "completed", "other")
    with pytest.raises(NoSuchEvent):
        await world.runtime.outbox.redeliver(job, "failed", "app")
    assert await field(world, job, "s:completed") == "delivered"


async def test_nothing_is_left_of_a_deleted_job(world: World) -> None:
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
