"""What was refused while the provider accepted others makes no innocent job wait for more than a create."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.providers.base import Throttled
from tests.queue.providers import FORBIDDEN, PAUSE, ChoosyProvider, finish_all, gates, run, started, state, ticks
from tests.world import World, make_world


@pytest.fixture
async def world(any_store: RunningServer | None, clock: ManualClock, choosy: ChoosyProvider) -> AsyncIterator[World]:
    async with make_world(any_store, clock, {"replicate": choosy}, max_user_tasks=200) as made:
        yield made


async def test_a_refusal_that_others_have_disproved_stops_them_no_more(world: World, choosy: ChoosyProvider) -> None:
    """Another job probes at once, and not after a pause."""
    await world.enqueue("ada", model=FORBIDDEN)
    await run(world)
    await world.enqueue("bob")
    await ticks(world, 2)
    for n in range(5):
        await world.enqueue(f"user{n}", model=FORBIDDEN, priority=5)
        innocent = await world.enqueue(f"innocent{n}")
        await run(world)
        assert await state(world, innocent) == "running"
        await finish_all(world)


async def test_a_refusal_of_a_job_that_nothing_speaks_against_pauses_the_provider_all_the_same(
    world: World, choosy: ChoosyProvider
) -> None:
    await world.enqueue("ada", model=FORBIDDEN)
    await run(world)
    await world.enqueue("bob")
    await ticks(world, 2)
    choosy.refuses |= {"acme/video": Throttled("provider_auth", PAUSE, 401)}
    sent = len(choosy.created)
    for n in range(5):
        await world.enqueue(f"user{n}", model=FORBIDDEN if n % 2 else "acme/video")
        await run(world)
    assert len(choosy.created) <= sent + 2
    assert (await gates(world))["~p0"] > world.manual.true_now


@pytest.mark.parametrize("seconds", [5, 60])
async def test_an_innocent_job_among_many_of_suspects_is_found_though_none_of_them_is_sent(
    world: World, choosy: ChoosyProvider, seconds: int
) -> None:
    """Each claim looked at the same page of 50 jobs, since only a refusal turned it: the job waited for 7 minutes."""
    await world.enqueue("ada", model=FORBIDDEN)
    await run(world)
    await world.enqueue("bob")
    await ticks(world, 2)
    for n in range(170):
        await world.enqueue(f"user{n}", model=FORBIDDEN, priority=5)
    innocent = await world.enqueue("innocent", priority=4)
    for n in range(100):
        await world.enqueue(f"later{n}", model=FORBIDDEN, priority=3)
    claims = 0
    while await state(world, innocent) != "running" and claims < 40:
        await run(world)
        world.manual.advance(seconds)
        claims += 1
    assert claims <= 10, "five pages"


NO_CREDIT = Throttled("billing", PAUSE, 402)
BAD = {"input": {"prompt": "bad"}}
GUILTY: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "one user": [("eve", {"model": FORBIDDEN})] * 2,
    "two users": [("eve", {"model": FORBIDDEN}), ("mallory", {"model": FORBIDDEN})],
    "one user, other models": [("eve", {**BAD, "model": "acme/one"}), ("eve", {**BAD, "model": "acme/two"})],
    "one user, the model of all": [("eve", BAD)] * 2,
}


@pytest.mark.parametrize("guilty", GUILTY)
async def test_what_others_have_disproved_makes_no_innocent_job_wait_for_more_than_a_create(
    world: World, choosy: ChoosyProvider, guilty: str
) -> None:
    """A user with two such jobs made each job of others wait for more than a minute, without end."""
    choosy.refuses["bad"] = choosy.refuses[FORBIDDEN]
    for user, changes in GUILTY[guilty]:
        await world.enqueue(user, **changes)
    await run(world)
    await world.enqueue("bob")
    await ticks(world, 2)
    for n in range(6):
        await finish_all(world)
        mine = [await world.enqueue(user, **changes) for user, changes in GUILTY[guilty]]
        await run(world)
        innocent = await world.enqueue(f"bob{n}")
        await run(world)
        assert await state(world, innocent) == "running"
        for job in mine:
            await world.runtime.queue.cancel(job, "app")


@pytest.mark.parametrize("lifts", ["acme/still", "acme/video"])
async def test_an_account_without_credit_gets_one_create_a_pause_though_its_users_were_refused_before(
    world: World, choosy: ChoosyProvider, lifts: str
) -> None:
    """All users are suspects, and in one of two cases their only model too."""
    users = [f"user{n}" for n in range(5)]
    await make_suspects(world, choosy, users, lifts)
    choosy.refuses, sent = {"acme/video": NO_CREDIT}, len(choosy.created)
    for user in users * 4:
        await world.enqueue(user)
    await run(world)
    at_once = len(choosy.created) - sent
    assert at_once <= world.runtime.settings.max_concurrent_tasks
    await ticks(world, 20)
    assert 10 <= len(choosy.created) - sent - at_once <= 20
    choosy.refuses = {}
    await ticks(world, 5)
    assert (await world.runtime.records.stats()).counters["completed"] > 5


async def test_a_suspect_that_was_not_refused_in_this_pause_waits_all_the_same(
    world: World, choosy: ChoosyProvider
) -> None:
    """In an outage each suspect would be one create more."""
    users = [f"user{n}" for n in range(5)]
    await make_suspects(world, choosy, users, "acme/video")
    choosy.refuses, sent = {"acme/video": NO_CREDIT}, len(choosy.created)
    for user in users:
        await world.enqueue(user)
        await run(world)
    assert len(choosy.created) == sent + 1
    choosy.refuses = {}
    innocent = await world.enqueue("zoe")
    await run(world)
    assert await state(world, innocent) == "running"


async def test_too_many_submissions_make_no_user_a_suspect(world: World, choosy: ChoosyProvider) -> None:
    """One 429, and for hours the user's jobs waited for a minute after each refusal of a suspect."""
    choosy.outcomes = [Throttled("rate_limited", 30, 429)]
    limited = await world.enqueue("ada")
    await run(world)
    await world.runtime.queue.cancel(limited, "app")
    await world.enqueue("bob")
    await ticks(world, 2)
    await make_suspects(world, choosy, ["eve"], "acme/still")
    choosy.refuses = {FORBIDDEN: NO_CREDIT}
    for _ in range(2):
        await world.enqueue("eve", model=FORBIDDEN, priority=5)
        innocent = await world.enqueue("ada", model="acme/still")
        await run(world)
        assert await state(world, innocent) == "running"
        await finish_all(world)


@pytest.mark.parametrize("codes", [("rate_limited", "billing"), ("billing", "rate_limited")])
async def test_a_user_who_is_refused_for_another_reason_than_a_429_is_a_suspect(
    world: World, codes: tuple[str, str]
) -> None:
    queue = world.runtime.queue
    for code in codes:
        await world.enqueue("ada")
        world.manual.advance(1.25 * PAUSE + 1)
        (row,) = (await queue.claim(1)).started
        await queue.snooze(row.id, row.attempt, delay=60, code=code, status=402, pause=True)
    share = str(await world.raw("HGET", queue.keys.job(row.id), "share"))
    since, noted = await world.raw("HMGET", queue.keys.refusals(0), "since", f"user:{share}")
    assert noted == since


async def test_refused_jobs_that_are_accepted_after_all_free_their_users_and_their_model(
    world: World, choosy: ChoosyProvider
) -> None:
    choosy.refuses = {"acme/video": NO_CREDIT}
    for user in ("ada", "bob", "eve"):
        await world.enqueue(user)
    await run(world)
    refusals = world.runtime.queue.keys.refusals(0)
    assert len(await suspects(world)) == 4 and await world.raw("EXISTS", refusals)
    choosy.refuses = {}
    await ticks(world, 3)
    assert not await suspects(world) and await world.raw("EXISTS", refusals)


async def test_many_refused_users_are_forgotten_and_the_pause_that_was_lifted_is_not(world: World) -> None:
    """Without it no refusal of a job would count as disproved."""
    await world.enqueue("ada", model=FORBIDDEN)
    await run(world)
    await world.enqueue("bob")
    await ticks(world, 2)
    refusals = world.runtime.queue.keys.refusals(0)
    lifted = await world.raw("HGET", refusals, "lifted")
    await world.raw("HSET", refusals, *[part for n in range(201) for part in (f"user:{n}", "1")])
    await world.enqueue("eve", model=FORBIDDEN)
    world.manual.advance(1.25 * PAUSE + 1)
    await run(world)
    assert len(await suspects(world)) <= 3 and await world.raw("HGET", refusals, "lifted") == lifted


async def test_once_the_refusals_are_forgotten_a_claim_reads_one_job_for_a_probe(valkey_world: World) -> None:
    """Each job counted as refused in this pause, so a claim read all of them."""
    jobs = [await valkey_world.enqueue(f"user{n}") for n in range(9)]
    await valkey_world.runtime.controls.set_gates({"~p0": valkey_world.manual.true_now})
    before = await reads(valkey_world)
    assert await started(valkey_world) == jobs[:1]
    assert await reads(valkey_world) <= before + 2


async def reads(world: World) -> int:
    """How many reads of a hash's fields the engine has counted."""
    found = re.search(r"cmdstat_hmget:calls=(\d+)", str(await world.raw("INFO", "commandstats")))
    return int(found[1]) if found else 0


async def suspects(world: World) -> list[str]:
    """The names of models and users that were refused."""
    names = await world.raw("HKEYS", world.runtime.queue.keys.refusals(0))
    return [name for name in names if name.startswith(("model:", "user:"))]


async def make_suspects(world: World, choosy: ChoosyProvider, users: list[str], lifts: str) -> None:
    """Jobs of these users are refused; then one of another user and of a model is accepted."""
    choosy.refuses = {"acme/video": NO_CREDIT}
    before = [await world.enqueue(user) for user in users]
    await run(world)
    for job in before:
        await world.runtime.queue.cancel(job, "app")
    choosy.refuses = {}
    await world.enqueue("bob", model=lifts)
    await ticks(world, 2)
