"""The call that ends a job hands the next ones to its caller, and is as safe to repeat and to lose as the two alone."""

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock
from shared.errors import StoreError, StoreScriptError, StoreUncertain
from shared.jobqueue import Claim, Ended
from shared.jobqueue.attempts import Ticket
from shared.providers.base import Prediction
from tests.http.calls import webhook_url
from tests.queue.copies import LATE, Wire
from tests.queue.jobs import ids, run_one
from tests.world import World, http_client, make_world

DONE = {"output": "1"}


@pytest.fixture
async def world(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    """One slot, and one seat for each user."""
    async with make_world(any_store, clock, max_concurrent_tasks=1, max_user_tasks=1, max_user_queued=5) as made:
        yield made


def started(ended: Ended) -> list[tuple[str, int]]:
    return [(job.id, job.attempt) for job in ended.claimed.started] if ended.claimed else []


async def test_an_end_starts_the_next_job_of_all_and_of_its_user(world: World) -> None:
    queue, first = world.runtime.queue, await run_one(world)
    jobs = [await world.enqueue("ada") for _ in range(2)]
    assert (await world.runtime.records.read(jobs[0])).state == "backlog"
    ended = await queue.finish_and_claim(first, 1, "p1", "completed", DONE, want=2)
    assert (ended.word, ended.makes_room, started(ended)) == ("finished", True, [(jobs[0], 1)])
    await queue.record(jobs[0], 1, "p2")
    ended = await queue.finish_and_claim(jobs[0], 1, "p2", "completed", DONE, want=2)
    assert started(ended) == [(jobs[1], 1)]
    claimed = (ended.claimed and ended.claimed.started[0]) or None
    assert claimed is not None and claimed.claimed_at == world.clock.now()


async def test_an_end_claims_nothing_where_nothing_waits(world: World) -> None:
    job = await run_one(world)
    ended = await world.runtime.queue.finish_and_claim(job, 1, "p1", "completed", DONE, want=1)
    assert (ended.word, ended.claimed, ended.makes_room) == ("finished", None, False)


async def test_what_is_no_end_of_the_job_claims_nothing(world: World) -> None:
    job = await run_one(world)
    await world.enqueue("bob")
    for attempt, prediction in ((2, "p1"), (1, "p2")):
        ended = await world.runtime.queue.finish_and_claim(job, attempt, prediction, "completed", DONE, want=1)
        assert (ended.word, ended.claimed) == ("stale", None)


async def test_a_caller_that_wants_no_job_learns_that_one_waits(world: World) -> None:
    job = await run_one(world)
    await world.enqueue("bob")
    ended = await world.runtime.queue.finish(job, 1, "p1", "completed", DONE)
    assert (ended.claimed, ended.makes_room) == (None, True)


@pytest.mark.parametrize("others", [0, 1])
async def test_a_repeat_answers_the_same_jobs_and_takes_no_more(world: World, others: int) -> None:
    queue, job = world.runtime.queue, await run_one(world)
    second, *rest = [await world.enqueue(f"user{number}") for number in range(1 + others)]
    ticket: dict[str, Any] = {"ticket": Ticket("token", 7, world.clock.now()), "want": 1}
    for word in ("finished", "already", "already"):
        ended = await queue.finish(job, 1, "p1", "completed", DONE, **ticket)
        assert (ended.word, started(ended)) == (word, [(second, 1)])
    assert [(await world.runtime.records.read(other)).state for other in rest] == ["queued"] * others


async def test_jobs_of_an_answer_that_was_lost_go_to_the_next_claim(valkey_world: World) -> None:
    world, queue = valkey_world, valkey_world.runtime.queue
    assert world.server is not None
    job, second = await run_one(world), await world.enqueue("bob")
    world.server.inject("apply_then_drop", times=2, match="EVAL")
    with pytest.raises(StoreUncertain):
        await queue.finish_and_claim(job, 1, "p1", "completed", DONE, want=1)
    assert ids(await queue.claim(1)) == [second]


async def test_a_copy_that_comes_late_takes_no_job(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wire, job = Wire(world, monkeypatch), await run_one(world)
    await world.runtime.queue.finish_and_claim(job, 1, "p1", "completed", DONE, want=1)
    waiting = await world.enqueue("bob")
    world.manual.advance(LATE)
    answer = await wire.apply_late("finish")
    assert (answer[0], answer[2], answer[-1]) == ("already", "1", [])
    assert (await world.runtime.records.read(waiting)).state == "queued"


async def test_a_clock_that_is_behind_loses_no_job(world: World) -> None:
    job, waiting = await run_one(world), await world.enqueue("bob")
    world.manual.skew = -3_600_000
    ended = await world.runtime.queue.finish_and_claim(job, 1, "p1", "completed", DONE, want=1)
    assert ended.makes_room
    taken = ids(await world.runtime.queue.claim(1)) if ended.claimed is None else [name for name, _ in started(ended)]
    assert taken == [waiting]


async def test_a_webhook_starts_the_next_job_in_one_call_less(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock, queue_concurrency=1) as world, http_client() as client:
        job, waiting = await run_one(world), await world.enqueue("bob")
        world.provider.states["p1"] = Prediction("p1", "completed", output="1")
        url = await webhook_url(world, job)
        valkey.reset_bill()
        assert (await client.post(url, content=b"p1")).status_code == 200
        assert valkey.bill().calls == 2  # the end with its claim, and the record
        assert [one.job_id for one in world.provider.created] == [waiting]
        assert (await world.runtime.records.read(waiting)).state == "running"


async def test_a_poll_that_ends_a_job_starts_the_next_one(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock, queue_concurrency=1) as world:
        job, waiting = await run_one(world), await world.enqueue("bob")
        world.provider.states["p1"] = Prediction("p1", "completed", output="1")
        world.manual.advance(world.runtime.settings.first_check_after + 1)
        valkey.reset_bill()
        await world.runtime.statuses.view("app", job)
        assert valkey.bill().calls == 5  # explain, check, the end with its claim, the record, and a read
        assert (await world.runtime.records.read(waiting)).state == "running"


async def test_an_end_brings_the_jobs_of_an_answer_that_was_lost(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock, max_concurrent_tasks=2) as world:
        queue, jobs = world.runtime.queue, [await world.enqueue(user, start=True) for user in ("ada", "bob")]
        for number, job in enumerate(jobs):
            await queue.record(job, 1, f"p{number}")
        lost, last = [await world.enqueue(user) for user in ("eve", "joe")]
        valkey.inject("apply_then_drop", times=2, match="EVAL")
        with pytest.raises(StoreUncertain):
            await queue.finish_and_claim(jobs[0], 1, "p0", "completed", DONE, want=1)
        stale = await queue.finish_and_claim(jobs[1], 2, "p1", "completed", DONE, want=1)
        assert (stale.word, stale.claimed) == ("stale", None)
        ended = await queue.finish_and_claim(jobs[1], 1, "p1", "completed", DONE, want=1)
        assert (ended.word, started(ended)) == ("finished", [(lost, 1)])
        assert ids(await queue.claim(1)) == [last]


async def test_an_end_brings_lost_jobs_though_no_other_waits(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock, max_concurrent_tasks=2) as world:
        queue, jobs = world.runtime.queue, [await world.enqueue(user, start=True) for user in ("ada", "bob")]
        for number, job in enumerate(jobs):
            await queue.record(job, 1, f"p{number}")
        lost = await world.enqueue("eve")
        valkey.inject("apply_then_drop", times=2, match="EVAL")
        with pytest.raises(StoreUncertain):
            await queue.finish_and_claim(jobs[0], 1, "p0", "completed", DONE, want=1)
        ended = await queue.finish_and_claim(jobs[1], 1, "p1", "completed", DONE, want=1)
        assert started(ended) == [(lost, 1)]


@pytest.mark.parametrize("pause", [0, 60, 95])
@pytest.mark.parametrize("by", ["claim", "end"])
async def test_jobs_of_a_lost_answer_are_found_as_long_as_they_can_be_submitted(
    valkey: RunningServer, clock: ManualClock, pause: int, by: str
) -> None:
    async with make_world(valkey, clock, max_concurrent_tasks=2) as world:
        queue, job, lost = world.runtime.queue, await run_one(world), await world.enqueue("bob")
        valkey.inject("apply_then_drop", times=2, match="EVAL")
        with pytest.raises(StoreUncertain):
            await queue.claim(1)
        world.manual.advance(pause)
        if by == "claim":
            assert ids(await queue.claim(1)) == [lost]
        else:
            assert started(await queue.finish_and_claim(job, 1, "p1", "completed", DONE, want=1)) == [(lost, 1)]


@pytest.mark.parametrize("fault", ["quota", "script"])
@pytest.mark.parametrize("by", ["claim", "end"])
async def test_jobs_of_a_lost_answer_outlast_a_repeat_that_fails(
    valkey: RunningServer, clock: ManualClock, fault: str, by: str
) -> None:
    async with make_world(valkey, clock, max_concurrent_tasks=2) as world:
        queue, job, lost = world.runtime.queue, await run_one(world), await world.enqueue("bob")
        valkey.inject("apply_then_drop", times=2, match="EVAL")
        with pytest.raises(StoreUncertain):
            await queue.claim(1)
        with failing(world, fault), pytest.raises(StoreError):
            if by == "claim":
                await queue.claim(1)
            else:
                await queue.finish_and_claim(job, 1, "p1", "completed", DONE, want=1)
        assert ids(await queue.claim(1)) == [lost]


@pytest.mark.parametrize("by", ["claim", "end"])
async def test_jobs_of_a_cancelled_call_are_taken_by_the_next_claim(
    world: World, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    queue, store = world.runtime.queue, world.runtime.store
    job = await run_one(world) if by == "end" else ""
    waiting = await world.enqueue("bob")
    execute = store.execute

    async def cancelled(*command: str) -> Any:
        await execute(*command)
        raise asyncio.CancelledError

    with monkeypatch.context() as patch, pytest.raises(asyncio.CancelledError):
        patch.setattr(store, "execute", cancelled)
        if by == "claim":
            await queue.claim(1)
        else:
            await queue.finish_and_claim(job, 1, "p1", "completed", DONE, want=1)
    assert ids(await queue.claim(1)) == [waiting]


@contextmanager
def failing(world: World, fault: str) -> Iterator[None]:
    """The next script is refused, or ends with an error."""
    server, index = world.server, world.runtime.queue.keys.index
    assert server is not None
    if fault == "quota":
        server.inject("quota", match="EVAL")
        yield
        return
    server.ask("RENAME", index, "kept")
    server.ask("SET", index, "no index")
    yield
    server.ask("RENAME", "kept", index)


async def test_an_end_stands_although_its_claim_fails(world: World) -> None:
    queue, job = world.runtime.queue, await run_one(world)
    unreadable = queue.keys.job(await world.enqueue("bob"))
    await world.raw("DEL", unreadable)
    await world.raw("SET", unreadable, "no hash")
    for word in ("finished", "already"):
        ended = await queue.finish_and_claim(job, 1, "p1", "completed", DONE, want=1)
        assert (ended.word, ended.outcome, ended.claimed, ended.makes_room) == (word, "completed", None, True)
    with pytest.raises(StoreScriptError):
        await queue.claim(1)


async def test_a_budget_that_has_run_out_by_the_end_claims_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, job, waiting = world.runtime, await run_one(world), await world.enqueue("bob")
    budget = Budget(60)
    said = Prediction("p1", "completed", output="1")

    async def answer_late(prediction: str, timeout: float) -> Prediction:
        monkeypatch.setattr(Budget, "left", 1.0)
        return said

    monkeypatch.setattr(world.provider, "get", answer_late)
    world.manual.advance(runtime.settings.first_check_after + 1)
    overdue = await runtime.queue.check(job)
    assert overdue is not None
    assert runtime.dispatcher.want(budget)
    ended = await runtime.reconciler.ask(overdue, 5, functools.partial(runtime.dispatcher.want, budget))
    assert (ended.word, ended.claimed) == ("finished", None)
    assert (await runtime.records.read(waiting)).state == "queued"


async def test_claimed_jobs_do_not_wait_for_a_slow_cancellation(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other prediction is cancelled all the same, once the first job has been submitted."""
    runtime, waiting = world.runtime, await world.enqueue("bob")
    (claimed,) = (await runtime.queue.claim(1)).started
    calls: list[str] = []
    create, cancel = world.provider.create, world.provider.cancel
    is_created = asyncio.Event()

    async def create_one(*given: Any) -> Any:
        outcome = await create(*given)
        calls.append("create")
        is_created.set()
        return outcome

    async def cancel_slowly(*given: Any) -> Any:
        await asyncio.wait_for(is_created.wait(), 5)
        calls.append("cancel")
        return await cancel(*given)

    monkeypatch.setattr(world.provider, "create", create_one)
    monkeypatch.setattr(world.provider, "cancel", cancel_slowly)
    ended = Ended("finished", "completed", waiting=False, other="p9", claimed=Claim((claimed,), (), 0))
    await runtime.dispatcher.follow(ended, Budget(60), provider="replicate", job_id="other")
    assert calls == ["create", "cancel"]
    assert (await runtime.records.read(waiting)).state == "running"
