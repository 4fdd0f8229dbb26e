"""How often a client address may fail to prove who it is; and that this binds no one with right credentials."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.rates.rates import MAX_COUNTING
from tests.access.issuing import bearer, minted
from tests.contract import CheckedTransport
from tests.costs import COSTS
from tests.http.calls import problem
from tests.world import AUTH, OPERATOR, World, make_world

GUILTY, INNOCENT = "93.184.215.14", "93.184.215.15"
WRONG = {"Authorization": "Bearer wrong"}


def client_at(address: str) -> httpx.AsyncClient:
    from functions.index import app

    transport = CheckedTransport(app=app, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://sluice.test")


async def call(address: str, headers: dict[str, str], path: str = "/api/jobs") -> httpx.Response:
    async with client_at(address) as client:
        return await client.get(path, headers=headers)


@pytest.fixture
async def world(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    async with make_world(any_store, clock, failed_auth_rate="3/minute") as made:
        yield made


async def test_an_address_that_fails_too_often_is_told_to_wait(world: World) -> None:
    for path in ("/api/jobs", "/api/operate/limits", "/api/jobs"):
        problem(await call(GUILTY, WRONG, path), 401, "unauthenticated")
    for headers in (WRONG, {}, AUTH | WRONG):
        refused = await call(GUILTY, headers)
        assert "field" not in problem(refused, 429, "rate_limited")
        assert refused.headers["retry-after"] == "60"
        assert refused.headers["ratelimit"] == '"client";r=0;t=60'
    world.manual.advance(60)
    problem(await call(GUILTY, WRONG), 401, "unauthenticated")


async def test_right_credentials_are_never_refused_for_the_failures_of_others(world: World) -> None:
    for _ in range(9):
        last = await call(GUILTY, WRONG)
    problem(last, 429, "rate_limited")
    assert (await call(GUILTY, AUTH)).status_code == 200, "others share the address: an office, a platform's functions"
    assert (await call(GUILTY, OPERATOR, "/api/operate/limits")).status_code == 200
    problem(await call(GUILTY, AUTH, "/api/status/job_1"), 404, "job_not_found")
    problem(await call(INNOCENT, WRONG), 401, "unauthenticated")


async def test_an_expired_token_is_no_guess_and_is_told_so(world: World) -> None:
    async with client_at(INNOCENT) as client:
        token = await minted(client, minutes=1)
    world.manual.advance(60)
    for _ in range(9):
        assert problem(await call(GUILTY, bearer(token)), 401, "invalid_token")["detail"] == "The token has expired."
    for _ in range(3):
        problem(await call(GUILTY, bearer(f"{token}x")), 401, "invalid_token")
    problem(await call(GUILTY, bearer(f"{token}x")), 429, "rate_limited")
    problem(await call(GUILTY, bearer(token)), 401, "invalid_token")


async def test_a_caller_has_all_addresses_of_their_network(world: World) -> None:
    for number in range(3):
        await call(f"2a00:1450:4001:82f::{number + 1}", WRONG)
    problem(await call("2a00:1450:4001:82f::9", WRONG), 429, "rate_limited")
    problem(await call("2a00:1450:4001:830::9", WRONG), 401, "unauthenticated")


async def test_the_store_holds_no_address(world: World) -> None:
    await call(GUILTY, WRONG)
    keys = await world.raw("KEYS", "*")
    assert len(keys) == 1 and GUILTY not in keys[0]


async def test_without_the_store_the_answer_is_as_without_a_limit(clock: ManualClock, breakable: RunningServer) -> None:
    async with make_world(breakable, clock, failed_auth_rate="1/minute"):
        breakable.inject("drop_before", times=-1)
        for _ in range(3):
            problem(await call(GUILTY, WRONG), 401, "unauthenticated")


async def test_a_failure_costs_what_the_table_says(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock, failed_auth_rate="2/minute"):
        await call(INNOCENT, WRONG)  # the store knows the script from now on
        counted = {}
        for name in ("count a failed authentication", "", "refuse an address beyond its rate", "refuse it again"):
            valkey.reset_bill()
            await call(GUILTY, WRONG)
            bill = valkey.bill()
            counted[name] = (bill.calls, bill.billed)
        del counted[""]
        assert counted.pop("refuse it again") == (0, 0)
        assert counted == {name: COSTS[name] for name in counted}
    async with make_world(valkey, clock):
        valkey.reset_bill()
        for _ in range(9):
            problem(await call(GUILTY, WRONG), 401, "unauthenticated")
        assert valkey.bill().calls == 0, "without a limit, a failure costs nothing"


async def test_a_flood_of_failures_leaves_the_store_to_others(clock: ManualClock) -> None:
    async with make_world(None, clock, failed_auth_rate="1000/minute") as world:
        store, began, go_on = world.runtime.store, 0, asyncio.Event()

        class Slow:
            async def execute(self, *command: str) -> object:
                nonlocal began
                began += 1
                await go_on.wait()
                return await store.execute(*command)

            async def close(self) -> None:
                """Closes nothing."""

        world.runtime.store = Slow()
        calls = [asyncio.create_task(call(f"93.184.215.{number}", WRONG)) for number in range(40)]
        _, pending = await asyncio.wait(calls, timeout=0.5)
        assert (began, len(pending)) == (MAX_COUNTING, MAX_COUNTING)
        go_on.set()
        answers = await asyncio.gather(*calls)
        assert {answer.status_code for answer in answers} == {401}
