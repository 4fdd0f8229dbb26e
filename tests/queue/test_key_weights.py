"""Under the fair policy, KEY_WEIGHTS gives each API key its share of grants, whatever number of users it has."""

from collections import Counter
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from tests.world import World, make_world

FAIR: dict[str, Any] = {
    "priority_policy": "fair", "max_user_tasks": 4, "max_user_queued": 40, "max_concurrent_tasks": 4,
    "max_queue_size": 2000, "max_key_tasks": 4, "provider_rates": "replicate:60000", "dispatch_on_submit": False,
}  # fmt: skip
SETTLED = 60  # grants until each user's jobs were admitted beside those of all others


async def submit(world: World, owner: str, user: str, **changes: Any) -> str:
    job = f"job_{world.submitted}"
    world.submitted += 1
    world.manual.advance(0.01)
    await world.admit(job, user, owner=owner, **changes)
    return job


async def serve(world: World, grants: int) -> Counter[tuple[str, str]]:
    """Grants so many starts, one after the other; who has got one submits the next job at once."""
    granted: Counter[tuple[str, str]] = Counter()
    for number in range(SETTLED + grants):
        [job] = (await world.runtime.queue.claim(1)).started
        record = await world.runtime.records.read(job.id)
        await world.runtime.queue.record(job.id, 1, f"p-{job.id}", incarnation=job.incarnation)
        await world.runtime.queue.finish(
            job.id, 1, f"p-{job.id}", "completed", {"output": "1"}, incarnation=job.incarnation
        )
        await submit(world, job.owner, job.user, tier=record.tier)
        granted[job.owner, job.user] += number >= SETTLED
    return granted


def of_keys(granted: Counter[tuple[str, str]]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for (owner, _), count in granted.items():
        totals[owner] += count
    return totals


@pytest.mark.parametrize(("weights", "expected"), [("app:1", 0.5), ("app:1,other:3", 0.25)])
async def test_a_key_of_one_user_and_one_of_many_share_by_weight(
    clock: ManualClock, weights: str, expected: float
) -> None:
    async with make_world(None, clock, **FAIR, key_weights=weights) as world:
        for _ in range(4):
            await submit(world, "other", "ada")
            for user in range(20):
                await submit(world, "app", f"user{user}")
        granted = await serve(world, 240)
    assert of_keys(granted)["app"] / 240 == pytest.approx(expected, abs=0.03)


async def test_a_tier_weighs_among_the_users_of_its_key_alone(clock: ManualClock) -> None:
    """A key whose users are all `pro` would have four times its share."""
    async with make_world(None, clock, **FAIR, key_weights="app:1") as world:
        for _ in range(4):
            await submit(world, "other", "ada")
            for user in ("eve", "dan"):
                await submit(world, "app", user, tier="pro")
            await submit(world, "app", "bob")
        granted = await serve(world, 180)
    assert of_keys(granted)["app"] / 180 == pytest.approx(0.5, abs=0.03)
    assert granted["app", "eve"] / granted["app", "bob"] == pytest.approx(4, rel=0.2)


async def test_without_weights_users_share_and_not_keys(clock: ManualClock) -> None:
    async with make_world(None, clock, **FAIR) as world:
        for _ in range(4):
            for owner, user in (("other", "ada"), ("app", "eve"), ("app", "dan"), ("app", "bob")):
                await submit(world, owner, user)
        granted = await serve(world, 120)
        assert of_keys(granted)["app"] / 120 == pytest.approx(0.75, abs=0.03)
        assert not [key for key in await world.raw("KEYS", "*") if ":w:" in key]


async def test_a_user_whose_jobs_are_cancelled_takes_no_part_of_the_keys_share(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, **FAIR, key_weights="app:1") as world:
        idle = [await submit(world, "app", "bob") for _ in range(10)]
        for job in idle:
            await world.runtime.queue.cancel(job, "app")
        await submit(world, "other", "ada")
        users = [("app", "eve"), ("other", "ada")] * 2
        jobs = [await submit(world, owner, user) for owner, user in users]
        costs = [await world.raw("HGET", world.runtime.queue.keys.job(job), "cost") for job in jobs]
        assert costs == ["10000"] * 4


async def test_a_user_is_active_until_virtual_time_has_reached_their_tag(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, **FAIR, key_weights="app:2") as world:
        keys = world.runtime.queue.keys
        costs = []
        for user in ("bob", "eve", "dan"):
            job = await submit(world, "app", user)
            costs.append(await world.raw("HGET", keys.job(job), "cost"))
        assert costs == ["5000", "10000", "15000"]
        await world.raw("ZADD", keys.index, str(10_000_000_050_000 - 20_000_000_000_000), "~v")
        late = await submit(world, "app", "zoe")
        assert await world.raw("HGET", keys.job(late), "cost") == "5000"


async def test_what_a_weighed_key_costs_is_in_the_table(valkey: RunningServer, clock: ManualClock) -> None:
    billed = []
    for weights in ("", "app:2"):
        async with make_world(valkey, clock, **FAIR, key_weights=weights) as world:
            await submit(world, "app", "bob")
            valkey.reset_bill()
            await submit(world, "app", "eve")
            billed.append(valkey.bill().billed)
            await world.raw("FLUSHALL")
    assert billed[1] - billed[0] == 4
