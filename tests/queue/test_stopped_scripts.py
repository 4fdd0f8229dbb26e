"""What a script that stopped half-way has left is never started, and comes to its end."""

import pytest

from shared.errors import StoreUncertain
from shared.jobqueue.constants import BAND, DELAYED, READY
from tests.queue.jobs import ids, run_one
from tests.world import World


async def set_fields(world: World, job_id: str, **fields: str) -> None:
    flat = [part for pair in fields.items() for part in pair]
    await world.raw("HSET", world.runtime.queue.keys.job(job_id), *flat)


async def score_of(world: World, job_id: str) -> float:
    return float(await world.raw("ZSCORE", world.runtime.queue.keys.index, job_id))


async def test_a_ready_job_that_is_over_is_not_started_and_leaves_the_index(world: World) -> None:
    job = await world.enqueue()
    await set_fields(world, job, state="done", outcome="canceled", ended_at="1")
    claim = await world.runtime.queue.claim(1)
    assert (ids(claim), claim.expired) == ([], (job,))
    assert (await world.runtime.queue.expire(job)).outcome == "canceled"
    assert await world.raw("ZSCORE", world.runtime.queue.keys.index, job) is None
    assert int(await world.raw("TTL", world.runtime.queue.keys.job(job))) > 0
    assert (await world.runtime.queue.claim(1)).expired == ()


async def test_a_retry_that_is_due_but_over_is_not_started(world: World) -> None:
    job = await run_one(world)
    await world.runtime.queue.fail(job, 1, "p1", code="unknown", detail="", retryable=True)
    await set_fields(world, job, state="done", outcome="canceled", ended_at="1")
    world.manual.advance(3600)
    claim = await world.runtime.queue.claim(1)
    assert (ids(claim), claim.expired) == ([], (job,))


async def test_a_slot_of_a_job_that_is_over_is_freed(world: World) -> None:
    job = await run_one(world)
    await set_fields(world, job, state="done", outcome="completed", ended_at="1")
    world.manual.advance(3600)
    claim = await world.runtime.queue.claim(1)
    assert (claim.overdue, claim.expired) == ((), (job,))
    await world.runtime.queue.expire(job)
    assert (await world.runtime.records.stats()).queues[0].running == 0


async def test_a_slot_of_a_job_that_waits_is_freed_and_the_job_is_where_its_record_says(world: World) -> None:
    queued, delayed = await run_one(world), await world.enqueue("bob", start=True)
    await set_fields(world, queued, state="queued")
    due_at = world.manual.now() + 7_200_000
    await set_fields(world, delayed, state="delayed", due_at=str(due_at))
    world.manual.advance(3600)
    claim = await world.runtime.queue.claim(2)
    assert claim.overdue == ()
    assert await score_of(world, delayed) == DELAYED * BAND + due_at
    assert await score_of(world, queued) // BAND == READY
    assert ids(await world.runtime.queue.claim(2)) == [queued]


async def test_a_running_job_among_the_ready_ones_is_asked_about_and_not_started(world: World) -> None:
    job = await world.enqueue()
    await set_fields(world, job, state="running", attempt="1", prediction="p1", overdue_at="1", submitted_at="1")
    assert ids(await world.runtime.queue.claim(1)) == []
    world.manual.advance(1)
    assert [overdue.id for overdue in (await world.runtime.queue.claim(1)).overdue] == [job]


async def test_a_cancelled_submission_among_the_ready_jobs_is_not_made_again(world: World) -> None:
    queue, job = world.runtime.queue, await world.enqueue()
    await set_fields(world, job, state="submitting", attempt="1", lease_until="1", adopt_until="1", submitted_at="1")
    assert (await queue.cancel(job, "app")).word == "cancel_requested"
    assert ids(await queue.claim(1)) == []
    world.manual.advance(1)
    assert [overdue.id for overdue in (await queue.claim(1)).overdue] == [job]
    assert (await queue.rescue(job, 1)).word == "finished"
    assert (await world.runtime.records.read(job)).outcome == "canceled"


async def test_a_repeated_claim_passes_over_what_was_cancelled_meanwhile(valkey_world: World) -> None:
    world, queue = valkey_world, valkey_world.runtime.queue
    assert world.server is not None
    canceled, other = await world.enqueue(), await world.enqueue("bob")
    world.server.inject("apply_then_drop", times=2, match="EVAL")
    with pytest.raises(StoreUncertain):
        await queue.claim(2)
    assert (await queue.cancel(canceled, "app")).word == "cancel_requested"
    assert ids(await queue.claim(2)) == [other]


async def test_a_repeated_end_makes_no_dead_letter_of_a_job_that_was_redriven(world: World) -> None:
    queue, job = world.runtime.queue, await world.enqueue(start=True)
    await queue.fail(job, 1, "p1", code="invalid_input", detail="", retryable=True)
    await set_fields(world, job, state="done", outcome="failed", ended_at="1", error_retryable="1")
    await world.runtime.history.note_redriven(job, "job_new")
    assert (await queue.expire(job)).outcome == "failed"
    assert await world.raw("ZCARD", queue.keys.dead) == 0
