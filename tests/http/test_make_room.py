"""A full database: what still works, and how the operator makes room with plain commands alone."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from local.rest_server.running import RunningServer
from tests.http.calls import BODY, problem, status_of
from tests.world import AUTH, OPERATOR, PROCESSOR, World, http_client

PATH = "/api/operate/make-room"


@pytest.fixture
async def client(valkey_world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**OPERATOR) as made:
        yield made


@pytest.fixture
def full(valkey: RunningServer) -> Iterator[RunningServer]:
    """A server that the test can fill; afterwards it has room again."""
    yield valkey
    valkey.clear_faults()
    valkey.ask("CONFIG", "SET", "maxmemory", "0")


async def end(world: World, user: str, outcome: str = "completed") -> str:
    job_id = await world.enqueue(user, start=True)
    await world.runtime.queue.record(job_id, 1, f"p-{job_id}")
    await world.runtime.queue.finish(job_id, 1, f"p-{job_id}", outcome, {"output": '"x"'})
    return job_id


async def exists(world: World, job_id: str) -> bool:
    return bool(await world.raw("EXISTS", world.runtime.queue.keys.job(job_id)))


async def test_a_database_that_refuses_scripts_still_shows_jobs_and_deletes_ended_ones(
    valkey_world: World, client: httpx.AsyncClient, full: RunningServer
) -> None:
    world = valkey_world
    old = await end(world, "ada")
    world.manual.advance(7200)
    recent, live = await end(world, "bob"), await world.enqueue("eve")
    full.inject("capacity", times=-1)
    problem(await client.post("/api/submit", json=BODY, headers=AUTH), 503, "store_refused")
    problem(await client.post("/api/process-queue", headers=PROCESSOR), 503, "store_refused")
    assert (await status_of(client, recent))["status"] == "completed"
    assert (await client.post(PATH, json={})).json() == {"deleted": 1, "next_cursor": None}
    assert [await exists(world, job_id) for job_id in (old, recent, live)] == [False, True, True]
    assert (await client.post(PATH, json={"ended_for": 60})).json() == {"deleted": 0, "next_cursor": None}
    full.clear_faults()
    # What still names the deleted job is dropped, and the live one runs.
    assert (await client.post("/api/process-queue", headers=PROCESSOR)).status_code == 200
    assert (await world.runtime.records.read(live)).state == "running"
    problem(await client.get(f"/api/status/{old}", headers=AUTH), 404, "job_not_found")
    assert old not in [job["id"] for job in (await client.get("/api/jobs?user_id=ada", headers=AUTH)).json()["jobs"]]


async def test_a_store_without_memory_takes_no_job_until_room_is_made(
    valkey_world: World, client: httpx.AsyncClient, full: RunningServer
) -> None:
    world = valkey_world
    job_id = await end(world, "ada")
    world.manual.advance(7200)
    full.ask("CONFIG", "SET", "maxmemory", "1")
    problem(await client.post("/api/submit", json=BODY, headers=AUTH), 503, "store_refused")
    assert (await client.post(PATH, json={})).json()["deleted"] == 1
    assert not await exists(world, job_id)


async def test_jobs_that_anything_waits_for_stay(valkey_world: World, client: httpx.AsyncClient) -> None:
    world = valkey_world
    storing, pending, of_batch = [await end(world, user) for user in ("ada", "bob", "eve")]
    job = world.runtime.queue.keys.job
    await world.raw("HSET", job(storing), "storing", "1")
    await world.raw("HSET", job(pending), "s:completed", "pending")
    await world.raw("HSET", job(of_batch), "batch", "bat_1")
    world.manual.advance(7200)
    assert (await client.post(PATH, json={})).json()["deleted"] == 0
    await world.raw("HSET", world.runtime.queue.keys.batch("bat_1"), "ended_at", "1")
    assert (await client.post(PATH, json={})).json()["deleted"] == 1
    assert not await exists(world, of_batch)


async def test_a_limit_ends_the_call_and_the_cursor_goes_on(valkey_world: World, client: httpx.AsyncClient) -> None:
    world = valkey_world
    flat = ("state", "done", "ended_at", "1")
    for number in range(300):
        await world.raw("HSET", world.runtime.queue.keys.job(f"job_{number}"), *flat)
    deleted, cursor, calls = 0, "0", 0
    while cursor is not None:
        answer = (await client.post(PATH, json={"limit": 1, "cursor": cursor})).json()
        deleted, cursor, calls = deleted + answer["deleted"], answer["next_cursor"], calls + 1
    assert deleted == 300 and calls > 1


async def test_over_its_request_quota_a_database_does_nothing_at_all(
    valkey_world: World, client: httpx.AsyncClient, full: RunningServer
) -> None:
    full.inject("quota", times=-1)
    problem(await client.post(PATH, json={}), 503, "store_refused")


@pytest.mark.parametrize("body", [{"ended_for": 1}, {"limit": 0}, {"cursor": "x"}, {"jobs": []}])
async def test_an_order_that_is_not_understood_is_422(client: httpx.AsyncClient, body: dict[str, object]) -> None:
    assert problem(await client.post(PATH, json=body), 422, "invalid_request")["field"] == next(iter(body))


async def test_only_an_operator_makes_room(valkey_world: World) -> None:
    async with http_client(**AUTH) as application:
        problem(await application.post(PATH, json={}), 401, "unauthenticated")
