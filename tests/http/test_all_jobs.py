"""The operator lists the jobs of all API keys by what they are and where they are."""

from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock, iso
from shared.jobqueue import JobFilter
from shared.jobqueue.constants import BAND, HISTORY
from shared.jobqueue.history import MAX_MOMENT
from tests.http import history
from tests.http.calls import problem
from tests.http.history import end, fill
from tests.world import OPERATOR, World, http_client, make_world

JOBS = "/api/operate/jobs"
CHANGES: dict[str, Any] = {
    "dispatch_on_submit": False, "max_user_tasks": 2, "max_user_queued": 9,
    "wavespeed_api_key": "wavespeed-key-in-tests",
    "providers": "replicate,wavespeed", "wavespeed_webhook_secret": "whsec_" + "A" * 32,
}  # fmt: skip


@pytest.fixture
async def world(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    """A deployment with two providers, in which a third job of a user waits in the backlog."""
    async with make_world(any_store, clock, **CHANGES) as made:
        yield made


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**OPERATOR) as made:
        yield made


def listed(client: httpx.AsyncClient, **query: Any) -> Awaitable[list[str]]:
    """The ids on all pages of the operator's list."""
    return history.listed(client, JOBS, **query)


async def put(world: World, user: str, **changes: Any) -> str:
    """A job that is the only one of its moment."""
    world.manual.advance(1)
    return await world.enqueue(user, **changes)


async def test_jobs_are_found_by_where_they_are_and_by_what_they_are(world: World, client: httpx.AsyncClient) -> None:
    start = world.clock.now()
    done = await put(world, "dora|x:y", start=True)
    await end(world, done)
    lost = await put(world, "bob", start=True, owner="other", queue="storyboard")
    await end(world, lost, "failed")
    delayed = await put(world, "carl", start=True)
    await world.runtime.queue.fail(delayed, 1, "", code="provider_down", detail="", retryable=True)
    running = await put(world, "ada", start=True)
    await world.runtime.queue.record(running, 1, "p1")
    submitting = await put(world, "bob", start=True, queue="storyboard", model="acme/other")
    ready = await put(world, "ada", owner="other", provider="wavespeed")
    shown = await put(world, "ada")
    backlog = await put(world, "ada")
    waiting = {ready, shown, backlog, delayed}
    live = waiting | {running, submitting}
    every = live | {done, lost}
    for query, expected in (
        ({}, every),
        ({"status": "processing"}, {running, submitting}),
        ({"status": "pending"}, waiting),
        ({"status": "live"}, live),
        ({"status": "ended"}, {done, lost}),
        ({"status": "completed"}, {done}),
        ({"status": "failed"}, {lost}),
        ({"key": "other"}, {ready, lost}),
        ({"key": "other", "status": "live"}, {ready}),
        ({"key": "other", "status": "processing"}, set()),
        ({"key": "app", "status": "processing"}, {running, submitting}),
        ({"key": "app", "user_id": "ada", "status": "pending"}, {shown, backlog}),
        ({"key": "app", "user_id": "ada", "status": "live"}, {running, shown, backlog}),
        ({"key": "app", "user_id": "ada", "status": "processing"}, {running}),
        ({"user_id": "ada"}, {running, ready, shown, backlog}),
        ({"user_id": "ada", "status": "live"}, {running, ready, shown, backlog}),
        ({"user_id": "dora|x:y"}, {done}),
        ({"queue": "storyboard"}, {submitting, lost}),
        ({"queue": "storyboard", "status": "live"}, {submitting}),
        ({"queue": "video", "status": "live"}, live - {submitting}),
        ({"queue": "gone", "status": "live"}, set()),
        ({"provider": "wavespeed"}, {ready}),
        ({"provider": "wavespeed", "status": "live"}, {ready}),
        ({"provider": "replicate", "status": "live"}, live - {ready}),
        ({"provider": "replicate", "queue": "storyboard", "status": "processing"}, {submitting}),
        ({"model": "acme/other", "status": "live"}, {submitting}),
        ({"created_after": iso(start + 8000)}, {backlog}),
        ({"created_before": iso(start + 4000), "status": "live"}, {delayed}),
        ({"created_after": iso(start + 6000), "status": "live", "key": "app"}, {shown, backlog}),
        ({"batch_id": "bat_1", "status": "live"}, set()),
    ):
        for limit in (1, 100):
            found = await listed(client, limit=limit, **query)
            assert (set(found), len(found)) == (expected, len(expected)), (query, limit)


async def test_a_line_names_the_key_and_shows_no_input(world: World, client: httpx.AsyncClient) -> None:
    job_id = await put(world, "ada", owner="other")
    (line,) = (await client.get(JOBS)).json()["jobs"]
    now = iso(world.clock.now())
    assert line | {"links": None} == {
        "id": job_id, "status": "pending", "stage": "queued", "queue": "video", "provider": "replicate",
        "model": "acme/video", "user_id": "ada", "priority": 3, "batch_id": None, "created_at": now, "ended_at": None,
        "error": None, "links": None, "key": "other",
    }  # fmt: skip


async def test_pages_of_running_jobs_show_each_once(world: World, client: httpx.AsyncClient) -> None:
    """They began in one moment, so they have one score, in which there is half a ms."""
    jobs = [await world.enqueue(f"user{number}", start=True) for number in range(4)]
    for job_id in jobs:
        await world.runtime.queue.record(job_id, 1, f"p-{job_id}")
    assert await listed(client, status="processing", limit=1) == sorted(jobs, reverse=True)


async def test_ended_jobs_come_newest_first_and_waiting_ones_before_those_that_run(
    world: World, client: httpx.AsyncClient
) -> None:
    await fill(world, "j1", "j2", "j3", gap=1)
    assert await listed(client, limit=2) == ["j3", "j2", "j1"]
    running = await put(world, "ada", start=True)
    waiting = [await put(world, "ada"), await put(world, "ada")]
    for query in ({}, {"key": "app"}, {"key": "app", "user_id": "ada"}):
        assert (await listed(client, status="live", limit=1, **query))[-1] == running
    assert set(await listed(client, status="pending")) == set(waiting)


async def test_a_page_walks_past_a_bounded_part_and_reads_only_what_may_fit(valkey_world: World) -> None:
    world, overview = valkey_world, valkey_world.runtime.overview
    assert world.server is not None
    keys, base = world.runtime.queue.keys, HISTORY * BAND + world.clock.now()
    crowd = [part for n in range(1200) for part in (str(base + n), f"@other:crowd|x{n:04}")]
    await world.raw("ZADD", keys.index, *crowd)
    await fill(world, *(f"j{number:03}" for number in range(130)))
    await fill(world, "s1", user="bob")
    for number in range(5):
        await world.enqueue(f"user{number}", start=number < 2)
    every = JobFilter("", "", "", "", "", "", "", 0, MAX_MOMENT + 1)
    cases: list[tuple[dict[str, Any], int, int]] = [
        ({"owner": "app", "user": "bob", "status": ""}, 0, 2),  # all of them are the crowd's
        ({"owner": "app", "user": "user3", "status": "live"}, 1, 3),
        ({"owner": "app", "status": "processing"}, 2, 4),
        ({"status": "processing"}, 2, 4),
        ({"status": "pending", "queue": "storyboard"}, 0, 2),
        ({"status": "processing", "provider": "wavespeed"}, 0, 2),
        ({"status": "failed", "before": world.clock.now() + 1}, 0, 102),
    ]
    for asked, shown, billed in cases:
        world.server.reset_bill()
        page = await overview.jobs(replace(every, **asked))
        bill = world.server.bill()
        assert (len(page.jobs), bill.calls, bill.billed) == (shown, 1, billed), asked


async def test_a_key_without_a_waiting_job_shows_what_runs_on_its_first_page(
    world: World, client: httpx.AsyncClient
) -> None:
    query = {"status": "live", "key": "app"}
    assert (await client.get(JOBS, params=query)).json() == {"jobs": [], "next_cursor": None}
    running = await put(world, "ada", start=True)
    page = (await client.get(JOBS, params=query)).json()
    assert ([job["id"] for job in page["jobs"]], page["next_cursor"]) == ([running], None)


async def test_a_walk_goes_on_although_the_job_at_its_end_is_gone(world: World, client: httpx.AsyncClient) -> None:
    ids = [await put(world, f"user{number}") for number in range(5)]
    page = (await client.get(JOBS, params={"status": "pending", "limit": 2})).json()
    assert [job["id"] for job in page["jobs"]] == ids[:2:-1]
    await world.runtime.queue.cancel(ids[3], "app")
    rest = await listed(client, status="pending", limit=2, cursor=page["next_cursor"])
    assert rest == ids[2::-1]


async def test_an_entry_without_its_job_and_an_ended_job_in_a_slot_are_not_live(
    world: World, client: httpx.AsyncClient
) -> None:
    gone, ended = await put(world, "ada", start=True), await put(world, "bob", start=True)
    await world.raw("DEL", world.runtime.queue.keys.job(gone))
    await world.raw("HSET", world.runtime.queue.keys.job(ended), "state", "done", "outcome", "completed")
    assert await listed(client, status="live") == []
    assert await listed(client) == [ended]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"key": "nobody"}, "key"), ({"key": "a:b"}, "key"), ({"status": "lost"}, "status"), ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"), ({"created_after": "soon"}, "created_after"), ({"cursor": "x"}, "cursor"),
        ({"owner": "app"}, "owner"), ({"user_id": ""}, "user_id"),
    ],
)  # fmt: skip
async def test_a_filter_that_cannot_be_is_refused_by_name(
    world: World, client: httpx.AsyncClient, query: dict[str, str], field: str
) -> None:
    document = problem(await client.get(JOBS, params=query), 422, "invalid_request")
    assert document["field"] == field and "nobody" not in document["detail"]


async def test_a_cursor_is_good_for_its_own_filter_alone(world: World, client: httpx.AsyncClient) -> None:
    for _ in range(2):
        await put(world, "ada")
    cursor = (await client.get(JOBS, params={"status": "live", "limit": 1})).json()["next_cursor"]
    for query in ({"status": "pending"}, {"status": "live", "key": "app"}):
        answer = await client.get(JOBS, params=query | {"cursor": cursor})
        assert problem(answer, 422, "invalid_request")["field"] == "cursor"
