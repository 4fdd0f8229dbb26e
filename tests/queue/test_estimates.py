"""An estimate is within a factor of two of the truth, whichever limit holds the job up."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.jobs.explanation import explain
from tests.world import World, make_world

RUN = 20.0  # s
FACTOR = 2.0


@dataclass
class Provider:
    """Runs what is claimed, each job for as long as its queue's jobs take."""

    world: World
    runs: dict[str, float] = field(default_factory=lambda: {"video": RUN, "storyboard": RUN})
    ends: dict[str, tuple[float, int]] = field(default_factory=dict)  # of each running job: s, and its attempt

    async def step(self, seconds: float = 1.0) -> None:
        """Starts what may start, and ends what is due after so long."""
        queue, now = self.world.runtime.queue, self.world.clock.now() / 1000
        for claimed in (await queue.claim(20)).started:
            await queue.record(claimed.id, claimed.attempt, f"p-{claimed.id}")
            self.ends[claimed.id] = now + self.runs[claimed.queue], claimed.attempt
        self.world.manual.advance(seconds)
        for job_id, (end, attempt) in list(self.ends.items()):
            if end <= self.world.clock.now() / 1000:
                del self.ends[job_id]
                await queue.finish(job_id, attempt, f"p-{job_id}", "completed", {"output": "1"})

    async def until_ended(self, job_id: str) -> float:
        """Returns the s until the job has ended."""
        began = self.world.clock.now()
        for _ in range(5000):
            if (await self.world.runtime.records.read(job_id)).status == "completed":
                return (self.world.clock.now() - began) / 1000
            await self.step()
        raise AssertionError("it does not end")


async def enqueue(world: World, *users: str) -> list[str]:
    """Submits a job for each of these users, one after the other."""
    jobs = []
    for user in users:
        jobs.append(await world.enqueue(user))
        world.manual.advance(0.001)
    return jobs


async def learn(world: World, provider: Provider) -> None:
    """Lets the model run a few times, so that it is known how long it takes."""
    for number in range(3):
        job_id = await world.enqueue(f"teacher{number}")
        await provider.until_ended(job_id)
        world.manual.advance(60)


async def eta(world: World, job_id: str) -> float:
    job, outlook = await world.runtime.records.explain(job_id)
    estimate = explain(job, outlook, world.runtime.settings, world.clock.now())["eta_seconds"]
    assert estimate is not None
    return float(estimate)


async def judge(world: World, provider: Provider, *job_ids: str) -> None:
    """Compares what each job's status says now with what happens."""
    began = world.clock.now() / 1000
    estimates = [await eta(world, job_id) for job_id in job_ids]
    for job_id, estimate in zip(job_ids, estimates, strict=True):
        await provider.until_ended(job_id)
        truth = world.clock.now() / 1000 - began
        assert truth / FACTOR <= estimate <= truth * FACTOR, f"{job_id}: {estimate} s said, {truth} s true"


@pytest.fixture
def users() -> Iterator[str]:
    return (f"user{number}" for number in range(1000))


async def test_behind_a_providers_rate(clock: ManualClock, users: Iterator[str]) -> None:
    async with make_world(None, clock, provider_rates="replicate:6") as world:
        provider = Provider(world)
        await learn(world, provider)
        jobs = await enqueue(world, *(next(users) for _ in range(30)))
        await provider.step()
        await judge(world, provider, jobs[1], jobs[10], jobs[29])


async def test_behind_the_jobs_of_another_queue_that_share_the_system(clock: ManualClock, users: Iterator[str]) -> None:
    limits = {"max_concurrent_tasks": 5, "queue_concurrency": 5, "storyboard_concurrency": 5}
    async with make_world(None, clock, **limits) as world:
        provider = Provider(world)
        await learn(world, provider)
        jobs = []
        for number in range(40):
            queue = "storyboard" if number % 4 else "video"
            jobs.append(await world.enqueue(next(users), queue=queue))
            world.manual.advance(0.001)
        await provider.step()
        await judge(world, provider, jobs[12], jobs[36])


async def test_in_a_backlog_behind_the_jobs_of_all_users(clock: ManualClock, users: Iterator[str]) -> None:
    async with make_world(None, clock, max_user_tasks=3, max_user_queued=20, max_concurrent_tasks=5) as world:
        provider = Provider(world)
        await learn(world, provider)
        jobs = await enqueue(world, *[next(users) for _ in range(6)] * 9)
        await provider.step()
        await judge(world, provider, jobs[18], jobs[35], jobs[53])


async def test_in_a_backlog_while_the_system_is_idle(any_store: RunningServer | None, clock: ManualClock) -> None:
    async with make_world(any_store, clock, max_user_tasks=2, max_user_queued=20) as world:
        provider = Provider(world)
        await learn(world, provider)
        jobs = await enqueue(world, *["ada"] * 10)
        await provider.step()
        await judge(world, provider, jobs[2], jobs[5], jobs[9])


async def test_with_free_slots_it_starts_at_once(clock: ManualClock, users: Iterator[str]) -> None:
    async with make_world(None, clock) as world:
        provider = Provider(world)
        await learn(world, provider)
        jobs = await enqueue(world, *(next(users) for _ in range(5)))
        assert {await eta(world, job_id) for job_id in jobs} == {RUN}
        await judge(world, provider, *jobs)
