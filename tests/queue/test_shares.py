"""What one API key, and one user, may take of the waiting room."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock
from shared.errors import KeyQueueFull, QueueFull, UserLimitReached, UserQueueFull
from shared.jobqueue.constants import ALARMS, BAND, HISTORY, SLOT_SHARES, WAITING_SHARES
from shared.jobs.batches import BatchJob, BatchRequest
from shared.signing.shares import key_number, share_of, shares_of_key
from tests.world import AUTH, OPERATOR, OTHER_AUTH, ObedientProvider, World, http_client, make_world, settings_for


@pytest.fixture
async def shared(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    """A deployment of two keys with the default limits."""
    async with make_world(any_store, clock, max_key_queued=None, dispatch_on_submit=False) as made:
        yield made


async def shares(world: World) -> dict[str, tuple[bool, int]]:
    """Each job's share, and whether it counts as being at a provider."""
    index, first = world.runtime.queue.keys.index, ALARMS * BAND + WAITING_SHARES
    members = await world.raw("ZRANGEBYSCORE", index, str(first), f"({HISTORY * BAND}")
    scores = await world.raw("ZMSCORE", index, *members) if members else []
    away = SLOT_SHARES - WAITING_SHARES
    numbers = {name.removeprefix("%"): int(float(score)) - first for name, score in zip(members, scores, strict=True)}
    return {job: (number >= away, number % away) for job, number in numbers.items()}


async def create(world: World, user: str, jobs: int, owner: str = "app") -> None:
    request = BatchRequest(user_id=user, model="acme/video", jobs=[BatchJob(input={})] * jobs)
    await world.runtime.batches.create(owner, request, None, Budget(60))


async def post_batch(client: httpx.AsyncClient, user: str, jobs: int = 200) -> httpx.Response:
    body = {"user_id": user, "model": "acme/video", "jobs": [{"input": {}}] * jobs}
    return await client.post("/api/batches", json=body, headers=AUTH)


async def submit(client: httpx.AsyncClient, headers: dict[str, str]) -> httpx.Response:
    body = {"model": "acme/video", "input": {"prompt": "a lighthouse"}, "user_id": "zoe"}
    return await client.post("/api/submit", json=body, headers=headers)


async def test_five_batches_of_two_users_leave_room_for_another_key(shared: World) -> None:
    async with http_client() as client:
        answers = [await post_batch(client, user) for user in ("ada", "bob", "ada", "bob", "ada")]
        assert [answer.status_code for answer in answers] == [202, 202, 429, 429, 429]
        refused = answers[2]
        assert (refused.json()["code"], refused.json()["field"]) == ("user_queue_full", "user_id")
        assert "MAX_USER_WAITING" in refused.json()["detail"] and int(refused.headers["Retry-After"]) > 0
        assert (await submit(client, OTHER_AUTH)).status_code == 202


async def test_a_key_that_fills_its_part_gets_429_and_the_other_key_is_admitted(shared: World) -> None:
    async with http_client() as client:
        for user in ("ada", "bob"):
            assert (await post_batch(client, user)).status_code == 202
        assert (await post_batch(client, "eve", 101)).status_code == 429
        assert (await post_batch(client, "eve", 100)).status_code == 202
        refused = await submit(client, AUTH)
        assert (refused.status_code, refused.json()["code"]) == (429, "key_queue_full")
        assert "500 may wait" in refused.json()["detail"] and int(refused.headers["Retry-After"]) > 0
        assert (await submit(client, OTHER_AUTH)).status_code == 202


async def test_one_key_may_fill_the_queue_and_then_all_of_it_is_full(any_store: Any, clock: ManualClock) -> None:
    changes = {"api_keys": "app:key-of-the-app-in-tests", "max_key_queued": None, "max_queue_size": 3}
    async with make_world(any_store, clock, max_user_tasks=9, **changes) as world:
        for _ in range(3):
            await world.enqueue()
        with pytest.raises(QueueFull):
            await world.enqueue()


async def test_a_users_limit_of_waiting_jobs_counts_single_jobs_and_those_of_batches(
    any_store: Any, clock: ManualClock
) -> None:
    changes = {"max_user_tasks": 3, "max_user_queued": 50, "max_user_waiting": 10, "dispatch_on_submit": False}
    async with make_world(any_store, clock, **changes) as world:
        await create(world, "ada", 8)
        for _ in range(2):
            await world.enqueue("ada")
        with pytest.raises(UserQueueFull) as refused:
            await world.enqueue("ada")
        assert "10 jobs of this user wait" in refused.value.detail
        with pytest.raises(UserQueueFull):
            await create(world, "ada", 1)
        await create(world, "bob", 10)
        # What runs no longer waits.
        assert any(job.user == "ada" for job in (await world.runtime.queue.claim(5)).started)
        await world.enqueue("ada")


async def test_a_users_limit_of_waiting_jobs_holds_without_batches_too(any_store: Any, clock: ManualClock) -> None:
    async with make_world(any_store, clock, max_user_queued=50, max_user_waiting=4) as world:
        for _ in range(4):
            await world.enqueue("ada")
        with pytest.raises(UserQueueFull):
            await world.enqueue("ada")
        await world.enqueue("bob")


async def test_a_retry_of_a_batch_counts_for_its_user_and_its_key(any_store: Any, clock: ManualClock) -> None:
    changes = {"max_key_queued": 6, "max_user_waiting": 5, "dispatch_on_submit": False, "queue_max_retries": 0}
    async with make_world(any_store, clock, **changes) as world:
        await create(world, "ada", 4)
        [batch] = [key.partition(":b:")[2] for key in await world.raw("KEYS", "*:b:*")]
        while started := (await world.runtime.queue.claim(5)).started:
            for job in started:
                said: Any = {"code": "invalid_input", "detail": "", "retryable": False}
                await world.runtime.queue.fail(job.id, 1, "", incarnation=job.incarnation, **said)
        await create(world, "ada", 2)
        with pytest.raises(UserQueueFull):
            await world.runtime.batches.retry("app", batch, Budget(60))
        await world.enqueue("bob")
        another = world.another_process(max_user_waiting=100)
        with pytest.raises(KeyQueueFull):
            await another.batches.retry("app", batch, Budget(60))
        another = world.another_process(max_key_queued=7)
        with pytest.raises(UserQueueFull):
            await another.batches.retry("app", batch, Budget(60))
        another = world.another_process(max_key_queued=7, max_user_waiting=6)
        assert await another.batches.retry("app", batch, Budget(60)) == 4


async def test_a_share_follows_its_job_from_the_submit_to_the_end(world: World) -> None:
    share = share_of(world.runtime.settings.signing_key, "app", "ada")
    assert share in shares_of_key("app") and share not in shares_of_key("other")
    queue, job = world.runtime.queue, await world.enqueue("ada")
    assert await shares(world) == {job: (False, share)}
    await queue.claim(1)
    assert await shares(world) == {job: (True, share)}
    await queue.snooze(job, 1, delay=5, code="provider_down")
    assert await shares(world) == {job: (False, share)}
    world.manual.advance(6)
    await queue.claim(1)
    await queue.record(job, 2, "p1")
    assert await shares(world) == {job: (True, share)}
    await queue.fail(job, 2, "p1", code="timeout", detail="", retryable=True)
    assert await shares(world) == {job: (False, share)}
    await queue.cancel(job, "app")
    assert await shares(world) == {}
    await world.enqueue("bob", start=True)
    assert [is_away for is_away, _ in (await shares(world)).values()] == [True]


async def test_a_lost_submission_that_is_put_back_waits_again(world: World) -> None:
    job = await world.enqueue("ada", start=True)
    world.manual.advance(10_000)
    assert (await world.runtime.queue.rescue(job, 1)).word == "requeued"
    assert [is_away for is_away, _ in (await shares(world)).values()] == [False]


@pytest.mark.parametrize("state", ["queued", "running"])
async def test_a_share_is_put_back_with_a_job_that_the_index_has_lost(world: World, state: str) -> None:
    job = await world.enqueue("ada", start=state == "running")
    before, keys = await shares(world), world.runtime.queue.keys
    await world.raw("DEL", keys.index)
    assert await world.runtime.queue.rehome(keys.user("app", "ada"), [job]) == 1
    assert await shares(world) == before


@pytest.mark.parametrize("finder", ["claim", "rehome", "expire", "enqueue"])
async def test_the_share_of_a_job_that_was_lost_with_its_hash_goes_too(world: World, finder: str) -> None:
    job, queue = await world.enqueue("ada"), world.runtime.queue
    await world.raw("DEL", queue.keys.job(job))
    match finder:
        case "claim":
            await queue.claim(1)
        case "rehome":
            await queue.rehome(queue.keys.user("app", "ada"))
        case "expire":
            await queue.expire(job)
        case "enqueue":
            for _ in range(3):
                await world.enqueue("ada")
    assert job not in await shares(world)


async def test_a_refused_job_leaves_no_share(world: World) -> None:
    for _ in range(3):
        await world.enqueue("ada")
    with pytest.raises(UserLimitReached):
        await world.enqueue("ada")
    assert len(await shares(world)) == 3


async def test_the_operator_sees_what_each_key_has(shared: World) -> None:
    for _ in range(3):
        await shared.enqueue("ada")
    await shared.enqueue("ada", owner="other")
    await shared.runtime.queue.claim(2)
    async with http_client(**OPERATOR) as client:
        keys = (await client.get("/api/process-queue")).json()["keys"]
        other = {"running": 0, "max_running": 5, "waiting": 1, "max_waiting": 500}
        assert keys == {"app": {"running": 2, "max_running": 5, "waiting": 1, "max_waiting": 500}, "other": other}
        shared.another_process(api_keys="app:key-of-the-app-in-tests")
        assert (await client.get("/api/process-queue")).json()["keys"] == {}


# Slots


@pytest.fixture
async def slots(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    """Four slots of which one key may have two; its users may have any number."""
    changes = {"max_concurrent_tasks": 4, "max_key_tasks": 2, "max_user_tasks": 20, "dispatch_on_submit": False}
    async with make_world(any_store, clock, **changes) as made:
        yield made


async def state(world: World, job: str) -> str:
    return (await world.runtime.records.read(job)).state


async def enqueue(world: World, count: int, owner: str = "app", **changes: Any) -> list[str]:
    jobs = []
    for _ in range(count):
        jobs.append(await world.enqueue(owner=owner, **changes))
        world.manual.advance(0.001)
    return jobs


async def claim(world: World, want: int = 10) -> list[str]:
    """The ids of what a claim has started, each recorded."""
    started = (await world.runtime.queue.claim(want)).started
    for job in started:
        await world.runtime.queue.record(job.id, job.attempt, f"p-{job.id}")
    return [job.id for job in started]


async def test_a_key_has_no_more_slots_than_it_may_and_the_others_start_behind_its_jobs(slots: World) -> None:
    mine = await enqueue(slots, 4)
    others = await enqueue(slots, 3, owner="other")
    assert await claim(slots) == [*mine[:2], *others[:2]]
    assert [await state(slots, job) for job in mine] == ["running", "running", "delayed", "delayed"]
    document = (await slots.runtime.statuses.view("app", mine[2])).value.body
    assert "API key limit of 2 jobs at once" in document.decode()


@pytest.mark.parametrize("end", ["finish", "fail", "retry", "snooze", "rescue", "cancel"])
async def test_a_slot_that_a_key_leaves_goes_to_its_best_held_job(slots: World, end: str) -> None:
    queue = slots.runtime.queue
    mine = [*await enqueue(slots, 2, priority=5), *await enqueue(slots, 1, priority=1), *await enqueue(slots, 1)]
    if end in ("snooze", "rescue"):
        assert len((await queue.claim(10)).started) == 2
    else:
        await claim(slots)
    job, prediction = mine[0], f"p-{mine[0]}"
    match end:
        case "finish":
            assert (await queue.finish(job, 1, prediction, "completed", {"output": "1"})).waiting
        case "fail":
            await queue.fail(job, 1, prediction, code="invalid_input", detail="", retryable=False)
        case "retry":
            await queue.fail(job, 1, prediction, code="timeout", detail="", retryable=True)
        case "snooze":
            await queue.snooze(job, 1, delay=500, code="provider_down")
        case "rescue":
            await queue.cancel(job, "app")
            slots.manual.advance(10_000)
            await queue.rescue(job, 1)
        case "cancel":
            await queue.cancel(job, "app")
            await queue.finish(job, 1, prediction, "canceled", {})
    assert [await state(slots, held) for held in mine[2:]] == ["delayed", "queued"]
    assert await claim(slots) == [mine[3]]


async def test_held_jobs_whose_list_is_lost_or_stale_start_all_the_same(slots: World) -> None:
    queue, mine = slots.runtime.queue, await enqueue(slots, 5)
    await claim(slots)
    await queue.cancel(mine[2], "app")
    await queue.finish(mine[0], 1, f"p-{mine[0]}", "completed", {"output": "1"})
    assert [await state(slots, job) for job in mine[3:]] == ["queued", "delayed"]
    await claim(slots)
    await slots.raw("DEL", queue.keys.held("app"))
    await queue.finish(mine[1], 1, f"p-{mine[1]}", "completed", {"output": "1"})
    assert await state(slots, mine[4]) == "delayed"
    slots.manual.advance(61)
    assert await claim(slots) == [mine[4]]


@pytest.mark.parametrize("how", ["cancel", "expiry", "circuit", "later circuit", "paused queue", "later pause"])
async def test_a_held_job_starts_when_a_better_one_of_its_key_cannot(
    any_store: RunningServer | None, clock: ManualClock, how: str
) -> None:
    """The free slot of the key was left empty for a quarter of an hour."""
    changes: dict[str, Any] = {"max_key_tasks": 1, "max_user_tasks": 5, "queue_ttl": 3600.0}
    async with make_world(any_store, clock, **changes, dispatch_on_submit=False) as world:
        queue, controls = world.runtime.queue, world.runtime.controls
        running = await world.enqueue("zoe", model="acme/still")
        assert await claim(world) == [running]
        better = await world.enqueue("eve", priority=5)
        other = await world.enqueue("bob", model="acme/still", queue="storyboard", priority=1)
        await claim(world)
        assert await state(world, better) == await state(world, other) == "delayed"
        stopped: dict[str, int | None] = {"~o0:acme/video": world.clock.now() + 600_000}
        if "circuit" not in how:
            stopped = {"=q0": 0}
        if how in ("circuit", "paused queue"):
            await controls.set_gates(stopped)
        await queue.finish(running, 1, f"p-{running}", "completed", {"output": "1"})
        if how == "cancel":
            await queue.cancel(better, "app")
        elif how == "expiry":
            await world.raw("HSET", queue.keys.job(better), "expire_at", str(world.manual.true_now))
            await queue.expire(better)
        elif how.startswith("later"):
            await controls.set_gates(stopped)
        await claim(world)
        world.manual.advance(61 if how == "later pause" else 1)
        await claim(world)
        assert await state(world, other) == "running"


async def test_a_refusal_hands_the_slot_of_a_key_to_a_held_job_of_another_provider(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    """The pause is set first: the best held job, of the paused provider, does not count as one that can start."""
    changes: dict[str, Any] = {"max_key_tasks": 1, "max_user_tasks": 5, "dispatch_on_submit": False}
    changes |= {"provider_rates": "wavespeed:600", "provider_concurrency": "wavespeed:10"}
    brings = {"wavespeed": ObedientProvider("wavespeed")}
    async with make_world(any_store, clock, brings, providers="replicate,wavespeed", **changes) as world:
        refused = await world.enqueue("zoe")
        (row,) = (await world.runtime.queue.claim(10)).started
        better = await world.enqueue("eve", priority=5)
        other = await world.enqueue("bob", provider="wavespeed", model="acme/image")
        await claim(world)
        assert await state(world, better) == await state(world, other) == "delayed"
        await world.runtime.queue.snooze(refused, row.attempt, delay=60, code="billing", status=402, pause=True)
        assert await claim(world) == [other]


async def test_of_many_held_jobs_some_are_looked_at_each_minute(slots: World) -> None:
    mine = await enqueue(slots, 14)
    for _ in range(8):
        await claim(slots)
    due = [(await slots.runtime.records.read(job)).due_at for job in mine[2:]]
    waits = [round((at or 0) - slots.manual.true_now, -3) // 1000 for at in due]
    assert waits == [60] * 6 + [70, 80, 90, 100, 110, 120]


async def test_a_submit_of_a_key_with_all_its_slots_waits(slots: World) -> None:
    for _ in range(2):
        await slots.enqueue(start=True)
    third = await slots.admit("job_third", start=True)
    assert (third.word, third.attention) == ("queued", False)
    assert (await slots.admit("job_other", owner="other", start=True)).attention
    assert await claim(slots) == ["job_other"]


@pytest.mark.parametrize(("keys", "slots_of_key"), [(1, None), (2, 4), (3, 3), (5, 1), (9, 1)])
def test_by_default_a_key_leaves_a_slot_to_each_other_key(keys: int, slots_of_key: int | None) -> None:
    names = ",".join(f"key{n}:{'k' * 40}{n}" for n in range(keys))
    assert settings_for(None, api_keys=names, max_key_tasks=None).key_tasks == slots_of_key


@pytest.mark.parametrize(
    ("keys", "size", "of_key", "of_user"),
    [
        (1, 1000, None, 250),
        (2, 1000, 500, 200),
        (4, 4000, 1000, 250),
        (2, 100, 50, 50),
        (5, 3, 1, 1),
        (1, 100, None, None),
    ],
)
def test_by_default_a_key_has_an_equal_part_of_the_queue(
    keys: int, size: int, of_key: int | None, of_user: int | None
) -> None:
    names = ",".join(f"key{n}:{'k' * 40}{n}" for n in range(keys))
    settings = settings_for(None, api_keys=names, max_key_queued=None, max_queue_size=size)
    assert (settings.key_queued, settings.user_waiting) == (of_key, of_user)


def test_two_keys_that_would_count_as_one_do_not_start() -> None:
    seen: dict[int, str] = {}
    for n in range(100_000):
        first = seen.setdefault(key_number(f"key{n}"), f"key{n}")
        if first != f"key{n}":
            break
    with pytest.raises(ValidationError, match="two names that count as one"):
        settings_for(None, api_keys=f"{first}:{'a' * 40},key{n}:{'b' * 40}")
