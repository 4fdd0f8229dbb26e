"""How often an API key and its users may submit, over HTTP on each store."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from upstash_ratelimit import TokenBucket

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.rates.errors import RateLimited
from tests.access.issuing import user_of
from tests.costs import COSTS
from tests.http.calls import BODY, problem
from tests.world import AUTH, OTHER_AUTH, World, http_client, make_world

ROOM: dict[str, Any] = {"max_user_tasks": 100, "max_user_queued": 1000, "dispatch_on_submit": False}


async def submit(client: httpx.AsyncClient, user: str = "ada", **headers: str) -> httpx.Response:
    return await client.post("/api/submit", json=BODY | {"user_id": user}, headers=headers)


async def submit_batch(client: httpx.AsyncClient, jobs: int, user: str = "ada") -> httpx.Response:
    body = {"user_id": user, "model": "acme/video", "jobs": [{"input": {}}] * jobs}
    return await client.post("/api/batches", json=body)


@pytest.fixture
async def world(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    rates = {"submit_rate_per_user": "3/minute", "submit_rate_per_key": "5/hour"}
    async with make_world(any_store, clock, **ROOM, **rates) as made:
        yield made


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**AUTH) as made:
        yield made


async def test_a_user_is_refused_beyond_the_rate_until_its_window_ends(world: World, client: httpx.AsyncClient) -> None:
    for left in (2, 1, 0):
        answer = await submit(client)
        assert answer.status_code == 202
        assert answer.headers["ratelimit-policy"] == '"user";q=3;w=60, "key";q=5;w=3600'
        assert answer.headers["ratelimit"] == f'"user";r={left};t=60, "key";r={left + 2};t=3600'
        assert "retry-after" not in answer.headers
    world.manual.advance(20)
    for _ in range(3):
        refused = await submit(client)
        document = problem(refused, 429, "rate_limited")
        assert (document["retryable"], document["field"]) == (True, "user_id")
        assert document["detail"] == "This user may submit 3 jobs each minute."
        assert refused.headers["retry-after"] == "40"
        assert refused.headers["ratelimit"] == '"user";r=0;t=40'
        assert refused.headers["ratelimit-policy"] == '"user";q=3;w=60'
    world.manual.advance(40)
    assert (await submit(client)).status_code == 202


async def test_a_users_refusals_take_nothing_of_the_key_and_of_other_users(
    world: World, client: httpx.AsyncClient
) -> None:
    for _ in range(20):
        last = await submit(client)
        world.another_process()  # which knows of no refusal
    problem(last, 429, "rate_limited")
    assert [(await submit(client, "ben")).status_code for _ in range(2)] == [202, 202]
    async with http_client(**OTHER_AUTH) as other:
        assert (await submit(other)).status_code == 202, "a user belongs to their API key"


async def test_a_key_is_refused_beyond_its_rate_and_its_users_keep_theirs(
    world: World, client: httpx.AsyncClient
) -> None:
    for user in ("ada", "ada", "ben", "ben", "cy"):
        assert (await submit(client, user)).status_code == 202
    for _ in range(9):
        refused = await submit(client, "dan")
        assert problem(refused, 429, "rate_limited")["detail"] == "This API key may submit 5 jobs each hour."
        assert refused.headers["ratelimit"] == '"key";r=0;t=3600'
    key = world.runtime.queue.keys.rates("user") + ":app:dan"
    assert await world.raw("HGET", key, "tokens") == "2", "one try was needed to know"
    async with http_client(**OTHER_AUTH) as other:
        assert (await submit(other)).status_code == 202


async def test_a_token_of_a_user_has_the_rate_of_its_user(world: World, client: httpx.AsyncClient) -> None:
    token = await user_of(client)
    for left in (2, 1, 0):
        answer = await client.post("/api/submit", json=BODY | {"user_id": "ada"}, headers=token if left % 2 else AUTH)
        assert answer.headers["ratelimit"].startswith(f'"user";r={left};')
    problem(await submit(client, **token), 429, "rate_limited")


async def test_each_job_of_a_batch_counts_and_a_batch_is_taken_whole_or_not_at_all(
    world: World, client: httpx.AsyncClient
) -> None:
    assert (await submit_batch(client, 2)).headers["ratelimit"] == '"user";r=1;t=60, "key";r=3;t=3600'
    problem(await submit_batch(client, 2), 429, "rate_limited")
    assert (await submit(client)).status_code == 202, "one job still fits"
    problem(await submit(client), 429, "rate_limited")
    problem(await submit_batch(client, 2), 429, "rate_limited")
    document = problem(await submit_batch(client, 4, "ben"), 422, "invalid_request")
    assert document["field"] == "jobs" and "At most 3 jobs" in document["detail"]


async def test_a_request_that_is_not_valid_does_not_count_and_a_repeat_does(
    world: World, client: httpx.AsyncClient
) -> None:
    for _ in range(9):
        problem(await client.post("/api/submit", json={"user_id": "ada"}), 422, "invalid_request")
    key = {"Idempotency-Key": "one"}
    ids = {(await submit(client, **key)).json()["id"] for _ in range(3)}
    assert len(ids) == 1
    problem(await submit(client, **key), 429, "rate_limited")


async def test_the_windows_key_is_gone_when_the_bucket_is_full_again(world: World, client: httpx.AsyncClient) -> None:
    await submit(client)
    key = world.runtime.queue.keys.rates("user") + ":app:ada"
    assert 0 < await world.raw("PTTL", key) <= 60_000


async def test_a_rate_holds_in_concurrent_submits_of_three_processes(valkey: RunningServer, clock: ManualClock) -> None:
    """See test_processes.py for 200 over HTTP."""
    async with make_world(valkey, clock, submit_rate_per_key="20/day", submit_rate_per_user="8/day") as world:
        processes = [world.runtime.rates, *(world.another_process().rates for _ in range(2))]

        async def is_let_in(number: int) -> bool:
            try:
                await processes[number % 3].submit("app", "ada" if number % 2 else f"user{number % 5}")
            except RateLimited:
                return False
            return True

        answers = await asyncio.gather(*(is_let_in(number) for number in range(90)))
    assert sum(answers) == 20 and sum(answers[1::2]) <= 8


async def test_a_store_that_cannot_be_reached_admits_nothing(clock: ManualClock, breakable: RunningServer) -> None:
    async with make_world(breakable, clock, submit_rate_per_user="3/minute") as world, http_client(**AUTH) as client:
        breakable.inject("drop_before", times=-1)
        problem(await submit(client), 503, "store_uncertain")
        breakable.clear_faults()
        assert await world.indexed() == 0


async def test_a_check_costs_what_the_table_says_and_a_known_refusal_nothing(
    valkey: RunningServer, clock: ManualClock
) -> None:
    rates = {"submit_rate_per_user": "2/minute", "submit_rate_per_key": "3/minute"}
    valkey.ask("SCRIPT", "LOAD", TokenBucket.SCRIPT)
    async with make_world(valkey, clock, **ROOM, **rates), http_client(**AUTH) as client:
        counted = {}

        async def count(name: str, user: str) -> None:
            valkey.reset_bill()
            await submit(client, user)
            bill = valkey.bill()
            counted[name] = (bill.calls, bill.billed)

        await count("submit, queued, with a rate of the user and one of the key", "ada")
        await submit(client)
        await count("refuse a user beyond their rate", "ada")
        await count("refuse the user again in the same process", "ada")
        await submit(client, "ben")
        await count("refuse a key beyond its rate", "ben")
        assert counted == {name: COSTS[name] for name in counted}


async def test_a_refusal_that_the_process_knows_needs_no_call_of_the_store(
    valkey: RunningServer, clock: ManualClock
) -> None:
    async with make_world(valkey, clock, submit_rate_per_user="1/minute"), http_client(**AUTH) as client:
        for _ in range(2):
            await submit(client)
        valkey.reset_bill()
        problem(await submit(client), 429, "rate_limited")
        problem(await submit_batch(client, 1), 429, "rate_limited")
        assert valkey.bill().calls == 0


async def test_without_a_rate_a_submit_costs_nothing_more_and_has_no_such_header(
    valkey: RunningServer, clock: ManualClock
) -> None:
    async with make_world(valkey, clock, **ROOM), http_client(**AUTH) as client:
        valkey.reset_bill()
        answer = await submit(client)
        bill = valkey.bill()
        assert (bill.calls, bill.billed) == COSTS["submit, queued"]
        assert not {"ratelimit", "ratelimit-policy"} & set(answer.headers)
