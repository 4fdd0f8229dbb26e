"""The operator lists the users' own limits, and unsets them."""

from collections.abc import AsyncIterator

import httpx
import pytest

from shared.jobqueue import overview
from shared.jobs import limits
from tests.world import OPERATOR, World, http_client

PATH, LIMITS = "/api/operate/user-limits", "/api/operate/limits"


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**OPERATOR) as made:
        yield made


async def set_limit(client: httpx.AsyncClient, key: str, user: str, concurrency: int | None) -> None:
    change = {"users": [{"key": key, "user_id": user, "concurrency": concurrency}]}
    assert (await client.patch(LIMITS, json=change)).status_code == 200


async def limits_of(client: httpx.AsyncClient) -> dict[tuple[str, str], int]:
    """The users' own limits on all pages."""
    cursor = "0"
    found: dict[tuple[str, str], int] = {}
    for _ in range(1000):
        page = (await client.get(PATH, params={"cursor": cursor})).json()
        found |= {(user["key"], user["user_id"]): user["concurrency"] for user in page["users"]}
        if page["next_cursor"] is None:
            return found
        cursor = page["next_cursor"]
    raise AssertionError("the pages come to no end")


async def test_own_limits_are_listed_and_gone_once_they_are_unset(world: World, client: httpx.AsyncClient) -> None:
    assert await limits_of(client) == {}
    await world.enqueue("eve")
    for key, user, concurrency in (("app", "ada", 5), ("other", "a:b|c", 0), ("app", "世界", 1000), ("app", "eve", 2)):
        await set_limit(client, key, user, concurrency)
    every = {("app", "ada"): 5, ("other", "a:b|c"): 0, ("app", "世界"): 1000, ("app", "eve"): 2}
    assert await limits_of(client) == every
    await set_limit(client, "other", "a:b|c", None)
    await set_limit(client, "app", "eve", None)
    assert await limits_of(client) == {("app", "ada"): 5, ("app", "世界"): 1000}
    page = (await client.get(PATH)).json()
    assert page["configured"] == world.runtime.settings.max_user_tasks


async def test_a_call_walks_past_a_bounded_part_of_the_store(
    valkey_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = valkey_world
    assert world.server is not None
    async with http_client(**OPERATOR) as client:
        world.server.reset_bill()
        assert (await client.get(PATH)).json()["users"] == []
        assert (world.server.bill().calls, world.server.bill().billed) == (1, 1)
        await set_limit(client, "app", "ada", 5)
        await world.enqueue("bob")
        world.server.reset_bill()
        assert len((await client.get(PATH)).json()["users"]) == 1
        assert (world.server.bill().calls, world.server.bill().billed) == (2, 4)  # a scan; a script and two users
        for number in range(500):
            await world.raw("SET", f"{world.runtime.queue.keys.jobs}filler{number}", "x")
        monkeypatch.setattr(overview, "SCANNED", 10)
        monkeypatch.setattr(limits, "MAX_STEPS", 3)
        world.server.reset_bill()
        await client.get(PATH)
        assert world.server.bill().calls <= 4
        assert await limits_of(client) == {("app", "ada"): 5}
