"""Changing PRIORITY_POLICY starves no job that waits: each starts within a bound of starts, whatever else comes."""

from itertools import permutations
from typing import Any, get_args

import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock
from shared.config.order import Policy
from shared.jobs.batches import BatchJob, BatchRequest
from shared.providers.base import Prediction
from tests.queue.jobs import ids
from tests.world import World, make_world

SETTINGS: dict[str, Any] = {
    "max_concurrent_tasks": 2, "max_user_tasks": 2, "max_user_queued": 20, "max_queue_size": 500,
    "provider_rates": "replicate:60000", "first_check_after": 1800, "dispatch_on_submit": False,
}  # fmt: skip
STEP = 10  # s between two new jobs, of which one starts in the same time
# Under `offset`, the best new job goes before what has waited less: priority 5, tier pro and a long prompt, and before
# a job that had the least head start of all.
MAX_HEAD_START = 410 + 200  # s
POLICIES = get_args(Policy)


async def submit_old(world: World) -> list[str]:
    """Jobs of several users, priorities and tiers, with a seat and in the backlog, and a batch."""
    old = []
    for number in range(16):
        world.manual.advance(1)
        tier = ("free", "premium", "pro")[number % 3]
        user, queue = f"user{number % 3}", ("video", "storyboard")[number % 2]
        old.append(await world.enqueue(user, priority=1 + number % 5, tier=tier, queue=queue))
    request = BatchRequest(
        user_id="batcher", model="acme/video", priority=1, jobs=[BatchJob(input={"n": n}) for n in range(4)]
    )
    batch = await world.runtime.batches.create("app", request, None, Budget(50))
    old += [f"{batch['id']}_{number}" for number in range(4)]
    return [job for job in old if job not in {submission.job_id for submission in world.provider.created}]


async def start_one(world: World) -> list[str]:
    """Submits the best new job that there can be, ends the oldest run, and starts what may; returns what started."""
    world.manual.advance(STEP)
    await world.enqueue(f"new{world.submitted}", priority=5, tier="pro", input={"prompt": 1000 * "x"})
    provider, known = world.provider, len(world.provider.created)
    for number, submission in enumerate(provider.created, 1):
        if provider.states[f"p{number}"].status == "running":
            provider.states[f"p{number}"] = Prediction(f"p{number}", "completed", output="1")
            fields = {"output": '"1"'}
            await world.runtime.queue.finish(
                submission.job_id,
                submission.attempt,
                f"p{number}",
                "completed",
                fields,
                incarnation=await world.incarnation_of(submission.job_id),
            )
            break
    await world.runtime.dispatcher.run(Budget(50))
    return [submission.job_id for submission in provider.created[known:]]


async def starts_until_all(world: World, wanted: set[str], bound: int) -> int:
    """How many jobs start until the wanted ones have; fails beyond the bound."""
    count = 0
    while wanted and count <= bound:
        started = await start_one(world)
        count += len(started)
        wanted -= set(started)
    assert not wanted, f"{len(wanted)} jobs of before the change did not start within {count} starts"
    return count


@pytest.mark.parametrize(("old", "new"), list(permutations(POLICIES, 2)))
async def test_each_waiting_job_starts_within_a_bound_after_the_policy_has_changed(
    any_store: RunningServer | None, clock: ManualClock, old: Policy, new: Policy
) -> None:
    async with make_world(any_store, clock, priority_policy=old, **SETTINGS) as world:
        waiting = await submit_old(world)
        started = set(await start_one(world))
        world.another_process(priority_policy=new)
        # All that waited, what came with a better right while it waited, the slots, and one claim before it is seen.
        bound = len(waiting) + MAX_HEAD_START // STEP + 2 * SETTINGS["max_concurrent_tasks"]
        await starts_until_all(world, set(waiting) - started, bound)


@pytest.mark.parametrize("state", ["delayed", "running"])
@pytest.mark.parametrize("new", ["offset", "multiplicative"])
async def test_a_job_that_comes_back_after_the_change_starts_within_the_same_bound(
    any_store: RunningServer | None, clock: ManualClock, state: str, new: Policy
) -> None:
    async with make_world(any_store, clock, priority_policy="fair", **SETTINGS) as world:
        queue = world.runtime.queue
        job_id = await world.enqueue("ada", start=True, priority=1)
        await queue.record(job_id, 1, "p-ada")
        if state == "delayed":
            await queue.fail(job_id, 1, "p-ada", code="timeout", detail="", retryable=True)
        world.another_process(priority_policy=new)
        for _ in range(2):
            await start_one(world)
        if state == "running":
            await world.runtime.queue.fail(job_id, 1, "p-ada", code="timeout", detail="", retryable=True)
        delay = 90 // STEP  # before the retry is due, with the most that chance adds
        await starts_until_all(world, {job_id}, delay + MAX_HEAD_START // STEP + 2 * SETTINGS["max_concurrent_tasks"])


async def test_the_sweep_gives_each_live_job_a_score_of_the_present_policy(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, priority_policy="fair", **SETTINGS) as world:
        submitted_at = clock.now()
        jobs = [await world.enqueue("ada") for _ in range(4)]
        await world.runtime.queue.claim(1)
        sluice = world.another_process(priority_policy="offset")
        for _ in range(2):
            assert await sluice.queue.rehome(sluice.queue.keys.user("app", "ada")) == 0
        assert {await world.raw("HGET", sluice.queue.keys.job(job), "score") for job in jobs} == {str(submitted_at)}
        assert (await sluice.records.stats()).counters["rescored"] == 4
        assert ids(await sluice.queue.claim(2)) == [jobs[1]]


async def test_no_policy_takes_its_own_scores_for_those_of_another(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    for policy in POLICIES:
        async with make_world(any_store, clock, priority_policy=policy, **SETTINGS) as world:
            for priority in (1, 5):
                await world.enqueue("ada", priority=priority)
            user, index = world.runtime.queue.keys.user("app", "ada"), world.runtime.queue.keys.index
            before = await world.raw("ZRANGE", index, "0", "-1", "WITHSCORES")
            await world.runtime.queue.rehome(user)
            assert await world.raw("ZRANGE", index, "0", "-1", "WITHSCORES") == before


async def test_claims_look_for_scores_of_another_policy_for_two_days_only(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, priority_policy="fair", **SETTINGS) as world:
        index = world.runtime.queue.keys.index
        await world.runtime.queue.claim(1, tick=True)
        assert await world.raw("ZSCORE", index, "~sfair") is not None
        sluice = world.another_process(priority_policy="offset")
        await sluice.queue.claim(1, tick=True)
        world.manual.advance(2 * 86_400 - 1)
        await sluice.queue.claim(1, tick=True)
        assert await world.raw("ZSCORE", index, "~sfair") is not None
        world.manual.advance(2)
        await sluice.queue.claim(1, tick=True)
        assert await world.raw("ZSCORE", index, "~sfair") is None
        await world.another_process(priority_policy="fair").queue.claim(1)
        assert await world.raw("ZSCORE", index, "~sfair") is not None


async def test_a_held_job_gets_its_new_score_when_it_is_looked_at(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, priority_policy="fair", max_key_tasks=1, **SETTINGS) as world:
        submitted_at = clock.now()
        runs, held = await world.enqueue("ada"), await world.enqueue("eve")
        await world.runtime.queue.claim(2)
        await world.runtime.queue.record(runs, 1, "p-ada")
        sluice = world.another_process(priority_policy="offset")
        await sluice.queue.claim(2)
        world.manual.advance(901)
        await sluice.dispatcher.run(Budget(50), max_rounds=1)
        assert (await sluice.records.read(held)).state == "delayed"
        assert float(await world.raw("ZSCORE", sluice.queue.keys.held("app"), held)) == submitted_at


async def test_a_user_whose_jobs_cannot_be_given_another_score_holds_up_no_other(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, priority_policy="fair", **SETTINGS) as world:
        slots = SETTINGS["max_concurrent_tasks"]
        for number in range(slots):
            await world.enqueue(f"user{number}")
        await world.runtime.queue.claim(slots)
        for user in ("ada", "bob"):
            await world.enqueue(user)
        sluice = world.another_process(priority_policy="offset")
        broken = sluice.queue.keys.user("app", "ada")
        await world.raw("DEL", broken)
        await world.raw("SET", broken, "no set")
        assert (await sluice.dispatcher.run(Budget(50), max_rounds=1)).failed == 1
        assert (await sluice.records.stats()).counters["rescored"] == 1
