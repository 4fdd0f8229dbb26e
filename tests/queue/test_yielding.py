"""Jobs that cannot start at the moment do not take the seats of the same user's jobs that can."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock
from shared.jobs.batches import BatchJob, BatchRequest
from shared.jobs.status import FULL_PATIENCE
from shared.signing.shares import share_of
from tests.queue.providers import started
from tests.world import ObedientProvider, World, make_world

CAP = 3


@pytest.fixture
async def mixed(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    """Two providers and two queues; a user may queue forty tasks and run three."""
    brings = {"wavespeed": ObedientProvider("wavespeed")}
    changes: dict[str, Any] = {"max_user_queued": 40, "max_concurrent_tasks": 10, "dispatch_on_submit": False}
    changes |= {"provider_rates": "wavespeed:600", "provider_concurrency": "wavespeed:10"}
    async with make_world(any_store, clock, brings, providers="replicate,wavespeed", **changes) as made:
        yield made


async def enqueue(world: World, count: int = 1, **changes: Any) -> list[str]:
    jobs = []
    for _ in range(count):
        jobs.append(await world.enqueue("ada", **changes))
        world.manual.advance(0.001)
    return jobs


async def states(world: World, *jobs: str) -> list[str]:
    return [(await world.runtime.records.read(job)).state for job in jobs]


async def claim(world: World) -> list[str]:
    started = (await world.runtime.queue.claim(10)).started
    for job in started:
        await world.runtime.queue.record(job.id, job.attempt, f"p-{job.id}", incarnation=job.incarnation)
    return [job.id for job in started]


async def finish(world: World, job: str) -> None:
    record = await world.runtime.records.read(job)
    said, incarnation = (record.attempt, record.prediction, "completed", {"output": "1"}), record.incarnation
    assert (await world.runtime.queue.finish(job, *said, incarnation=incarnation)).word == "finished"


async def pause(world: World, how: str) -> None:
    """Pauses what the idle jobs of a test need: queue `video`, at Replicate, with the model acme/video."""
    match how:
        case "queue":
            await world.runtime.controls.set_gates({"=q0": 0})
        case "provider":
            await world.runtime.controls.set_gates({"=p0": 0})
        case "refused":
            await world.runtime.controls.set_gates({"~p0": world.clock.now() + 60_000})
        case "circuit":
            await world.runtime.controls.set_gates({"~o0:acme/video": world.clock.now() + 60_000})
        case "own circuit":
            gate = f"~o0:acme/video|{share_of(world.runtime.settings.signing_key, 'app', 'ada')}"
            await world.runtime.controls.set_gates({gate: world.clock.now() + 60_000})


OPEN: dict[str, Any] = {"queue": "storyboard", "provider": "wavespeed", "model": "acme/image"}
HOWS = ("queue", "provider", "refused", "circuit", "own circuit")


@pytest.mark.parametrize("how", HOWS)
async def test_the_fourth_job_starts_if_the_three_with_seats_cannot(mixed: World, how: str) -> None:
    await pause(mixed, how)
    idle = await enqueue(mixed, CAP)
    admitted = await mixed.admit("job_open", **OPEN)
    assert (admitted.word, admitted.attention) == ("queued", True)
    assert await states(mixed, *idle) == ["queued", "queued", "backlog"]
    assert await claim(mixed) == ["job_open"]


async def test_a_job_that_cannot_start_takes_no_seat_of_another(mixed: World) -> None:
    await pause(mixed, "queue")
    jobs = await enqueue(mixed, CAP + 1)
    assert await states(mixed, *jobs) == ["queued"] * CAP + ["backlog"]


async def test_a_better_job_that_cannot_start_takes_no_seat_of_one_that_can(mixed: World) -> None:
    await pause(mixed, "queue")
    able = await enqueue(mixed, CAP, **OPEN)
    [best] = await enqueue(mixed, 1, priority=5)
    assert await states(mixed, *able, best) == ["queued"] * CAP + ["backlog"]


async def test_of_jobs_that_cannot_start_the_better_has_the_seat(mixed: World) -> None:
    await pause(mixed, "queue")
    [able] = await enqueue(mixed, 1, **OPEN)
    jobs = await enqueue(mixed, CAP - 1)
    [best] = await enqueue(mixed, 1, priority=5)
    assert await states(mixed, able, *jobs, best) == ["queued", "queued", "backlog", "queued"]


async def test_an_idle_job_is_not_counted_before_the_job_that_takes_its_seat(mixed: World) -> None:
    await pause(mixed, "provider")
    await enqueue(mixed, CAP)
    admitted = await mixed.admit("job_open", **(OPEN | {"queue": "video"}))
    assert (admitted.word, admitted.position) == ("queued", CAP)


async def test_a_job_behind_many_that_cannot_start_is_found_in_time(mixed: World) -> None:
    """A look goes through twenty of the user's waiting tasks, and through others at another moment."""
    await enqueue(mixed, CAP + 20)
    [able] = await enqueue(mixed, 1, **OPEN)
    await pause(mixed, "queue")
    for _ in range(2):
        await mixed.runtime.queue.rehome(mixed.runtime.queue.keys.user("app", "ada"), whole=False)
        mixed.manual.advance(0.001)
    assert await claim(mixed) == [able]


async def test_an_idle_job_gets_its_seat_back_where_no_user_has_more_jobs_than_seats(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    brings = {"wavespeed": ObedientProvider("wavespeed")}
    async with make_world(any_store, clock, brings, providers="replicate,wavespeed") as world:
        await world.runtime.controls.limit_user("app", "ada", 1)
        await pause(world, "queue")
        [idle] = await enqueue(world)
        [able] = await enqueue(world, 1, **OPEN)
        assert await claim(world) == [able]
        await finish(world, able)
        assert await states(world, idle) == ["queued"]


async def test_a_job_that_runs_or_could_start_keeps_its_seat(mixed: World) -> None:
    running = await enqueue(mixed, CAP)
    await claim(mixed)
    await pause(mixed, "queue")
    [later] = await enqueue(mixed, **OPEN)
    assert await states(mixed, *running, later) == ["running"] * CAP + ["backlog"]


async def test_a_seat_that_is_free_goes_to_a_job_that_can_start_before_better_ones_that_cannot(mixed: World) -> None:
    await pause(mixed, "queue")
    idle = await enqueue(mixed, CAP + 2)
    able = await enqueue(mixed, CAP + 1, **OPEN)
    assert await claim(mixed) == able[:CAP]
    assert await states(mixed, *idle) == ["backlog"] * (CAP + 2)
    await finish(mixed, able[0])
    assert await claim(mixed) == [able[CAP]]
    # None is left that could start, so the others get the seats, and start when their queue is open again.
    await finish(mixed, able[1])
    assert await states(mixed, *idle) == ["queued", *["backlog"] * (CAP + 1)]
    await mixed.runtime.controls.set_gates({"=q0": None})
    assert await claim(mixed) == [idle[0]]


@pytest.mark.parametrize("how", HOWS)
async def test_a_tick_finds_the_users_whose_seats_a_later_pause_has_locked(mixed: World, how: str) -> None:
    idle = await enqueue(mixed, CAP)
    able = await enqueue(mixed, 1, **OPEN)
    await pause(mixed, how)
    assert await states(mixed, *idle, *able) == ["queued"] * CAP + ["backlog"]
    await mixed.runtime.dispatcher.run(Budget(60), tick=True)
    assert await states(mixed, *able) == ["running"]


async def stuck_in_two_ticks(world: World) -> set[str]:
    """Each tick looks at one lane of those that are shut: the queue's at either provider."""
    found: set[str] = set()
    for _ in range(2):
        found |= set((await world.runtime.queue.claim(10, tick=True)).stuck)
        world.manual.advance(0.001)
    return found


async def test_a_tick_asks_for_no_seat_where_no_job_waits_for_one(mixed: World) -> None:
    await enqueue(mixed, CAP)
    await pause(mixed, "queue")
    assert await stuck_in_two_ticks(mixed) == set()
    await enqueue(mixed)
    assert await stuck_in_two_ticks(mixed) == {"app:ada"}


async def test_a_poll_of_the_waiting_job_finds_it_a_seat(mixed: World) -> None:
    await enqueue(mixed, CAP)
    [able] = await enqueue(mixed, 1, **OPEN)
    await pause(mixed, "queue")
    mixed.manual.advance(FULL_PATIENCE * mixed.runtime.settings.waiting_check_interval + 1)
    mixed.runtime.statuses.forget(able)
    await mixed.runtime.statuses.view("app", able)
    assert await states(mixed, able) == ["running"]


async def test_a_refusal_that_pauses_the_provider_gives_its_users_seats_to_others(mixed: World) -> None:
    idle = await enqueue(mixed, CAP)
    able = await enqueue(mixed, 2, **OPEN)
    [first, *_] = (await mixed.runtime.queue.claim(1)).started
    await mixed.runtime.queue.snooze(
        first.id, 1, delay=60, code="rate_limited", pause=True, incarnation=first.incarnation
    )
    assert await states(mixed, *able) == ["queued"] * 2
    assert sorted(await states(mixed, *idle)) == ["backlog", "backlog", "delayed"]


async def test_a_job_that_waits_for_its_retry_keeps_its_seat(mixed: World) -> None:
    jobs = await enqueue(mixed, CAP)
    await claim(mixed)
    await mixed.runtime.queue.fail(jobs[0], 1, f"p-{jobs[0]}", code="timeout", detail="", retryable=True)
    await pause(mixed, "queue")
    await enqueue(mixed, 1, **OPEN)
    assert await states(mixed, jobs[0]) == ["delayed"]


async def test_batches_whose_queue_is_paused_make_way_and_come_back(mixed: World) -> None:
    await mixed.runtime.controls.set_gates({"=q1": 0})
    request = BatchRequest(user_id="ada", model="acme/video", jobs=[BatchJob(input={})] * 5)
    await mixed.runtime.batches.create("app", request, None, Budget(60))
    able = await enqueue(mixed, CAP)
    assert await claim(mixed) == able
    assert (await mixed.runtime.records.stats()).backlog == 5
    for job in able:
        await finish(mixed, job)
    await mixed.runtime.controls.set_gates({"=q1": None})
    assert len(await claim(mixed)) == CAP


async def test_a_batch_that_can_start_takes_as_many_seats_as_it_has_jobs(mixed: World) -> None:
    await enqueue(mixed, CAP)
    request = BatchRequest(user_id="ada", model="acme/image", provider="wavespeed", jobs=[BatchJob(input={})] * 2)
    await mixed.runtime.batches.create("app", request, None, Budget(60))
    await pause(mixed, "provider")
    await mixed.runtime.queue.rehome(mixed.runtime.queue.keys.user("app", "ada"))
    assert len(await claim(mixed)) == 2


async def test_a_job_of_a_batch_that_makes_way_for_another_of_its_batch_starts_later(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    """Its batch took it for one that has a seat. So it waited for a sweep."""
    async with make_world(any_store, clock, max_user_tasks=1, max_user_queued=40, dispatch_on_submit=False) as world:
        jobs = [BatchJob(input={}), BatchJob(input={}, model="acme/image")]
        request = BatchRequest(user_id="ada", model="acme/video", jobs=jobs)
        await world.runtime.batches.create("app", request, None, Budget(60))
        [queue] = await world.raw("KEYS", "*:q:*")
        batch = queue.partition(":q:")[2]
        idle, able = f"{batch}_0", f"{batch}_1"
        await world.runtime.controls.set_gates({"~o0:acme/video": world.clock.now() + 60_000})
        await world.runtime.queue.rehome(world.runtime.queue.keys.user("app", "ada"), whole=False)
        assert await states(world, idle, able) == ["backlog", "queued"]
        assert float(await world.raw("ZSCORE", queue, idle)) >= 0 > float(await world.raw("ZSCORE", queue, able))
        await claim(world)
        world.manual.advance(61)
        await finish(world, able)
        assert await claim(world) == [idle]


async def test_a_seat_that_changes_hands_costs_what_the_table_says(valkey: RunningServer, clock: ManualClock) -> None:
    brings = {"wavespeed": ObedientProvider("wavespeed")}
    changes: dict[str, Any] = {"max_user_queued": 40, "dispatch_on_submit": False}
    async with make_world(valkey, clock, brings, providers="replicate,wavespeed", **changes) as world:
        costs = []
        for _ in range(CAP + 2):
            valkey.reset_bill()
            await enqueue(world)
            costs.append(valkey.bill().billed)
        ready, waiting = costs[CAP - 1], costs[CAP + 1]
        await pause(world, "queue")
        valkey.reset_bill()
        await enqueue(world)
        assert valkey.bill().billed == waiting  # what cannot start looks for no seat
        valkey.reset_bill()
        await enqueue(world, 1, **OPEN)
        assert valkey.bill().billed - ready == CAP + 3
        valkey.reset_bill()
        await world.runtime.queue.claim(10)
        usual = valkey.bill().billed
        valkey.reset_bill()
        await world.runtime.queue.claim(10, tick=True)
        # Two find the page, two look at each job that cannot start, and a tick has two of its own.
        assert valkey.bill().billed - usual <= 2 + 2 * CAP + 2


async def test_a_user_whose_jobs_cannot_be_read_holds_up_no_other_and_ends_no_tick(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    changes: dict[str, Any] = {"max_user_tasks": 1, "max_user_queued": 5, "dispatch_on_submit": False}
    async with make_world(any_store, clock, **changes) as world:
        jobs = [
            await world.enqueue(user, queue=queue)
            for user in ("ada", "bob")
            for queue in ("video", "storyboard")
        ]  # fmt: skip
        await pause(world, "queue")
        broken = world.runtime.queue.keys.job(jobs[1])
        await world.raw("DEL", broken)
        await world.raw("SET", broken, "no job")
        report = await world.runtime.tick.run()
        assert report.failed == 1 and report.rounds == 2
        assert await states(world, *jobs[2:]) == ["backlog", "running"]


async def test_a_slot_goes_to_a_held_job_behind_many_that_were_cancelled(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    """An end passes ten held jobs. Those that were cancelled counted, and the slot was idle for two minutes."""
    changes: dict[str, Any] = {"max_key_tasks": 1, "max_user_tasks": 40, "dispatch_on_submit": False}
    async with make_world(any_store, clock, **changes) as world:
        queue, jobs = world.runtime.queue, [await world.enqueue() for _ in range(15)]
        for _ in range(5):
            await started(world, 15)
        for job in jobs[1:13]:
            await queue.cancel(job, "app")
        assert await world.raw("ZCARD", queue.keys.held("app")) == 2
        await queue.record(jobs[0], 1, "p1")
        await queue.finish(jobs[0], 1, "p1", "completed", {})
        assert await started(world) == [jobs[13]]
