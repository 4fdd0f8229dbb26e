"""The bugs that the model has found, each in as few steps as possible."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from shared.clock import ManualClock
from shared.runtime import Runtime
from tests.world import World, make_world, settings_for


@asynccontextmanager
async def world_of(clock: ManualClock, **changes: Any) -> AsyncIterator[World]:
    """On memory mode alone: the scripts are the same everywhere."""
    async with make_world(None, clock, **changes) as made:
        yield made


async def states(world: World) -> dict[str, str]:
    """Of all jobs that were submitted as job_0, job_1, ..."""
    key = world.runtime.queue.keys.job
    known = {f"job_{n}": await world.raw("HGET", key(f"job_{n}"), "state") for n in range(world.submitted)}
    return {name: state for name, state in known.items() if state}


async def test_a_lost_job_is_not_made_anew_when_its_user_is_reseated(clock: ManualClock) -> None:
    """A hash without a TTL that holds nothing but `heirs` would stay for ever, and keep the place it had."""
    async with world_of(clock) as world:
        keys = world.runtime.queue.keys
        for _ in range(2):
            await world.enqueue()
        await world.raw("DEL", keys.job("job_1"))
        await world.runtime.controls.limit_user("app", "ada", 1)
        assert await world.raw("EXISTS", keys.job("job_1")) == 0


async def test_a_lost_job_is_not_made_anew_when_another_waits_behind_it(clock: ManualClock) -> None:
    async with world_of(clock) as world:
        keys = world.runtime.queue.keys
        await world.runtime.controls.limit_user("app", "ada", 1)
        await world.enqueue()
        await world.raw("DEL", keys.job("job_0"))
        await world.enqueue()
        assert await world.raw("EXISTS", keys.job("job_0")) == 0


async def test_a_user_whose_limit_is_lowered_by_far_keeps_no_more_jobs_ready(clock: ManualClock) -> None:
    """More jobs are admitted than the deployment's limit suggests."""
    async with world_of(clock, max_user_tasks=1, max_user_queued=12) as world:
        await world.runtime.controls.limit_user("app", "ada", 10)
        for _ in range(10):
            await world.enqueue()
        await world.runtime.controls.limit_user("app", "ada", 1)
        assert sorted((await states(world)).values()) == ["backlog"] * 9 + ["queued"]


async def test_a_job_in_the_backlog_whose_users_set_was_lost_is_ready_some_time(clock: ManualClock) -> None:
    """Found: rehome looked only at the index, so this job was never promoted."""
    async with world_of(clock, max_user_tasks=1, max_user_queued=2) as world:
        queue = world.runtime.queue
        for _ in range(2):
            await world.enqueue()
        await world.raw("DEL", queue.keys.user("app", "ada"))
        await queue.cancel("job_0", "app")
        await queue.rehome(queue.keys.user("app", "ada"), ["job_1"])
        assert await states(world) == {"job_0": "done", "job_1": "queued"}


async def test_a_retry_keeps_its_place_before_a_job_that_is_not_better(clock: ManualClock) -> None:
    """fail lowers the job's score in its hash, and leaves the one of its seat as it was."""
    async with world_of(clock, max_user_tasks=1, max_user_queued=2, queue_retry_delay=0) as world:
        queue = world.runtime.queue
        await world.enqueue(start=True)
        await queue.record("job_0", 1, "p1")
        await queue.fail("job_0", 1, "p1", code="unknown", detail="", retryable=True)
        await world.runtime.controls.set_gates({"=s": 1})
        await world.enqueue("bob", start=True, priority=5)
        await queue.claim(1)
        assert (await states(world))["job_0"] == "queued"
        # By 5 s better than the job was, and by 5 s worse than it is: a retry is worth 10 points
        clock.skew = -5000
        await world.enqueue()
        assert (await states(world))["job_2"] == "backlog"


async def test_a_better_job_takes_the_seat_of_a_ready_one_although_a_worse_one_waits_for_its_retry(
    clock: ManualClock,
) -> None:
    """enqueue looks at the worst alone, which keeps its seat."""
    async with world_of(clock, max_user_tasks=2, max_user_queued=3) as world:
        queue = world.runtime.queue
        await world.enqueue(start=True, priority=1)
        await queue.record("job_0", 1, "p1")
        await queue.fail("job_0", 1, "p1", code="unknown", detail="", retryable=True)
        await world.enqueue(priority=2)
        await world.enqueue(priority=5)
        assert await states(world) == {"job_0": "delayed", "job_1": "backlog", "job_2": "queued"}


async def test_a_deployment_that_begins_to_let_users_queue_promotes_behind_older_jobs(clock: ManualClock) -> None:
    """Older jobs have no `heirs`; the walk or a poll promotes in their place."""
    async with world_of(clock, max_user_tasks=1) as world:
        await world.enqueue()
        later = settings_for(None, max_user_tasks=1, max_user_queued=5)
        world.runtime = Runtime(later, world.runtime.store, clock)
        await world.enqueue()
        await world.runtime.queue.cancel("job_0", "app")
        await world.runtime.queue.rehome(world.runtime.queue.keys.user("app", "ada"), ["job_1"], whole=False)
        assert await states(world) == {"job_0": "done", "job_1": "queued"}


async def test_a_live_limit_above_the_configured_one_is_kept(clock: ManualClock) -> None:
    """A claim reads as many rows as the configured limit makes likely, and counts the slots in these."""
    async with world_of(clock, provider_rates="replicate:6000", max_queue_size=200) as world:
        await world.runtime.controls.set_gates({"=s": 80, "=q0": 80, "=p0": 80})
        for number in range(100):
            await world.enqueue(f"user{number}")
        for _ in range(30):
            await world.runtime.queue.claim(5)
            clock.advance(1)
        assert list((await states(world)).values()).count("submitting") == 80


async def test_old_circuits_do_not_hide_the_slots(clock: ManualClock) -> None:
    """Gates of unused circuits stay, and with live limits there are more than 64."""
    async with world_of(clock, circuit_failures=1) as world:
        queue = world.runtime.queue
        for number in range(70):
            job = await world.enqueue(f"user{number}")
            await queue.claim(1)
            await world.raw("HSET", queue.keys.job(job), "model", f"acme/{number}")
            await queue.record(job, 1, f"p{number}")
            await queue.fail(job, 1, f"p{number}", code="timeout", detail="", retryable=False)
            clock.advance(3600)
        await world.runtime.controls.set_gates({"=s": 5, "=q0": 5, "=q1": 5, "=p0": 5})
        for number in range(9):
            await world.enqueue(f"user{number}")
        for _ in range(9):
            await queue.claim(1)
        assert list((await states(world)).values()).count("submitting") == 5


async def test_a_lost_job_of_the_backlog_leaves_the_index_with_its_place(clock: ManualClock) -> None:
    """No claim meets it there, so it counts as waiting until its alarm goes off, a day later."""
    async with world_of(clock, max_user_tasks=1, max_user_queued=2) as world:
        queue = world.runtime.queue
        for _ in range(2):
            await world.enqueue()
        await world.raw("DEL", queue.keys.job("job_1"))
        await queue.rehome(queue.keys.user("app", "ada"))
        assert await world.raw("ZSCORE", queue.keys.index, "job_1") is None


async def test_a_job_that_waits_for_its_retry_keeps_its_seat(clock: ManualClock) -> None:
    async with world_of(clock, max_user_tasks=1, max_user_queued=2) as world:
        queue = world.runtime.queue
        await world.enqueue(start=True, priority=1)
        await queue.record("job_0", 1, "p1")
        await queue.fail("job_0", 1, "p1", code="unknown", detail="", retryable=True)
        await world.enqueue(priority=5)
        assert await states(world) == {"job_0": "delayed", "job_1": "backlog"}


async def test_a_job_put_back_twice_while_its_user_is_paused_gets_the_same_answer(clock: ManualClock) -> None:
    """The job goes to the backlog at once; the repeat must recognise it as put back by the first call."""
    async with world_of(clock, max_user_tasks=2) as world:
        queue = world.runtime.queue
        await world.enqueue(start=True)
        await world.runtime.controls.limit_user("app", "ada", 0)
        clock.advance(10_000)
        answers = [await queue.rescue("job_0", 1) for _ in range(2)]
        assert await states(world) == {"job_0": "backlog"}
        assert answers[0] == answers[1]


async def test_a_repeated_delete_takes_the_turn_of_a_copier_once(clock: ManualClock) -> None:
    """Found: the answer of a delete that waits for its files was lost, and each repeat counted one turn more."""
    async with world_of(clock, storage_url="memory://") as world:
        job = world.runtime.queue.keys.job(await world.enqueue())
        ended = ("state", "done", "storing", "1", "turn", "1", "files", "[]", "ended_at", str(clock.now()))
        await world.raw("HSET", job, *ended)
        for _ in range(2):
            await world.runtime.history.delete("job_0", "app", files_too=True)
            assert await world.raw("HGET", job, "turn") == "2"
        clock.advance(1)
        await world.runtime.history.delete("job_0", "app", files_too=True)
        assert await world.raw("HGET", job, "turn") == "3"
