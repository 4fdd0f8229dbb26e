"""The operator cancels and purges many jobs: by filter or by id, in bounded steps that can be repeated."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock, iso
from shared.errors import JobNotFound, StoreUncertain
from shared.jobs import bulk
from shared.jobs.bulk import CancelOrder
from shared.storage.bucket import StorageError
from tests.http.calls import problem
from tests.http.history import end, fill
from tests.world import OPERATOR, World, http_client, make_world

CANCEL, PURGE = "/api/operate/cancel", "/api/operate/purge"
CHANGES: dict[str, Any] = {"dispatch_on_submit": False, "max_user_tasks": 2, "max_user_queued": 9}


@pytest.fixture
async def world(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    async with make_world(any_store, clock, **CHANGES) as made:
        yield made


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**OPERATOR) as made:
        yield made


async def order(client: httpx.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def states(world: World, *ids: str) -> list[str]:
    return [(await world.runtime.records.read(job_id)).status for job_id in ids]


async def started(world: World, user: str, **changes: Any) -> str:
    """A job that runs at the provider."""
    job_id = await world.enqueue(user, start=True, **changes)
    prediction = f"p-{job_id}"
    await world.runtime.queue.record(job_id, 1, prediction)
    return job_id


async def test_a_dry_run_counts_and_shows_some_and_changes_nothing(world: World, client: httpx.AsyncClient) -> None:
    running = await started(world, "ada")
    waiting = [await world.enqueue(f"user{number}") for number in range(12)]
    await fill(world, "j1")
    report = await order(client, CANCEL, all=True, dry_run=True, limit=1)
    assert report | {"sample": None} == {
        "counts": {"pending": 12, "processing": 1}, "sample": None, "skipped": [], "stopped_by": None,
        "next_cursor": None, "dry_run": True,
    }  # fmt: skip
    assert len(report["sample"]) == 10 and {job["key"] for job in report["sample"]} == {"app"}
    assert set(await states(world, running, *waiting)) == {"processing", "pending"}
    report = await order(client, PURGE, all=True, dry_run=True)
    assert (report["counts"], [job["id"] for job in report["sample"]]) == ({"completed": 1}, ["j1"])
    assert await states(world, "j1") == ["completed"]


async def test_a_filter_cancels_what_it_names_and_nothing_else(world: World, client: httpx.AsyncClient) -> None:
    mine = [await world.enqueue("ada") for _ in range(3)]
    others, of_key = await world.enqueue("bob"), await world.enqueue("ada", owner="other")
    report = await order(client, CANCEL, filter={"key": "app", "user_id": "ada"})
    assert (report["counts"], report["next_cursor"]) == ({"canceled": 3}, None)
    assert await states(world, *mine) == ["canceled"] * 3
    assert "canceled" not in await states(world, others, of_key)
    again = await order(client, CANCEL, filter={"key": "app", "user_id": "ada"})
    assert (again["counts"], again["skipped"]) == ({}, [])


async def test_a_running_job_is_asked_to_end_and_its_provider_too(world: World, client: httpx.AsyncClient) -> None:
    running, waiting = await started(world, "ada"), await world.enqueue("ada")
    report = await order(client, CANCEL, filter={"status": "processing"})
    assert report["counts"] == {"cancel_requested": 1}
    assert world.provider.canceled == [f"p-{running}"]
    assert (await world.runtime.records.read(running)).status == "canceled"
    assert (await world.runtime.records.read(waiting)).status == "processing"  # it has got the slot


async def test_what_waits_is_cancelled_before_what_runs_so_that_no_job_starts_in_its_place(
    world: World, client: httpx.AsyncClient
) -> None:
    running = await started(world, "ada")
    waiting = [await world.enqueue("ada") for _ in range(4)]
    for body in ({"all": True}, {"filter": {"key": "app", "user_id": "ada"}}):
        seen = await order(client, CANCEL, dry_run=True, **body)
        assert seen["sample"][-1]["id"] == running
    cursor, calls = None, 0
    while calls == 0 or cursor is not None:
        report = await order(client, CANCEL, all=True, limit=2, cursor=cursor)
        cursor, calls = report["next_cursor"], calls + 1
    assert calls == 3 and world.provider.created == []
    assert set(await states(world, running, *waiting)) == {"canceled"}


async def test_a_purge_deletes_old_ended_jobs_in_steps(world: World, client: httpx.AsyncClient) -> None:
    await fill(world, *(f"old{number}" for number in range(7)), gap=1)
    limit, live = iso(world.clock.now()), await world.enqueue("ada")
    world.manual.advance(1)
    await fill(world, "new")
    cursor = None
    deleted: list[int] = []
    while not deleted or cursor is not None:
        report = await order(client, PURGE, filter={"created_before": limit}, limit=3, cursor=cursor)
        deleted.append(report["counts"].get("deleted", 0))
        cursor = report["next_cursor"]
    assert deleted[:3] == [3, 3, 1] and sum(deleted) == 7
    assert await states(world, live, "new") == ["pending", "completed"]
    assert (await order(client, PURGE, filter={"created_before": limit}))["counts"] == {}


async def test_given_ids_are_done_once_and_the_others_are_reported(world: World, client: httpx.AsyncClient) -> None:
    running, live = await started(world, "bob", owner="other"), await world.enqueue("ada")
    await fill(world, "done", "part")
    keys = world.runtime.queue.keys
    await world.raw("HSET", keys.job("part"), "batch", "bat_1")
    await world.raw("HSET", keys.batch("bat_1"), "owner", "app")
    ids = [live, running, "done", "unknown"]
    assert (await order(client, CANCEL, ids=ids, dry_run=True))["counts"] == {"pending": 1, "processing": 1}
    report = await order(client, CANCEL, ids=ids)
    assert report["counts"] == {"canceled": 1, "cancel_requested": 1} and report["next_cursor"] is None
    skipped = sorted((entry["id"], entry["code"]) for entry in report["skipped"])
    assert skipped == [("done", "already_terminal"), ("unknown", "job_not_found")]
    ids = ["done", "part", "unknown", await world.enqueue("eve")]
    for dry_run in (True, False):
        report = await order(client, PURGE, ids=ids, dry_run=dry_run)
        assert report["counts"] == ({"completed": 1} if dry_run else {"deleted": 1})
        assert sorted((entry["id"], entry["code"]) for entry in report["skipped"]) == [
            (ids[3], "not_terminal"), ("part", "belongs_to_batch"), ("unknown", "job_not_found"),
        ]  # fmt: skip


async def test_a_call_whose_time_is_over_says_so_and_another_one_goes_on(world: World) -> None:
    for number in range(30):
        await world.enqueue(f"user{number}")
    report = await world.runtime.bulk.cancel(CancelOrder(all=True), Budget(1))
    assert (report["counts"], report["stopped_by"]) == ({}, "out_of_time")
    again = CancelOrder(all=True, cursor=report["next_cursor"])
    assert (await world.runtime.bulk.cancel(again, Budget(60)))["counts"] == {"canceled": 30}


async def test_an_answer_that_is_lost_is_made_good_by_the_same_call(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [await world.enqueue(f"user{number}") for number in range(3)]
    cancel = world.runtime.queue.cancel
    calls: list[str] = []

    async def lossy(job_id: str, owner: str) -> Any:
        calls.append(job_id)
        canceled = await cancel(job_id, owner)
        if calls.count(jobs[1]) == 1 and job_id == jobs[1]:
            raise StoreUncertain
        return canceled

    monkeypatch.setattr(world.runtime.queue, "cancel", lossy)
    problem(await client.post(CANCEL, json={"all": True}), 503, "store_uncertain")
    await order(client, CANCEL, all=True)
    assert await states(world, *jobs) == ["canceled"] * 3


async def test_a_purge_stops_at_a_storage_that_does_not_answer_and_keeps_the_job(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_world(None, clock, storage_url=f"memory://{uuid4().hex}", **CHANGES) as world:
        await fill(world, "j1", "j2")
        for job_id in ("j1", "j2"):
            await world.raw("HSET", world.runtime.queue.keys.job(job_id), "files", "[]")

        def broken(folder: str) -> Any:
            raise StorageError("list")

        async with http_client(**OPERATOR) as client:
            with monkeypatch.context() as patched:
                patched.setattr(world.runtime.bucket, "pages", broken)
                report = await order(client, PURGE, all=True)
            assert (report["counts"], report["stopped_by"]) == ({}, "storage_unavailable")
            assert report["next_cursor"] is not None
            assert await states(world, "j1", "j2") == ["completed"] * 2
            again = await order(client, PURGE, all=True, cursor=report["next_cursor"])
            assert (again["counts"], again["next_cursor"]) == ({"deleted": 2}, None)


async def test_one_call_reads_a_bounded_number_of_pages(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MAX_PAGES", 2)
    await fill(world, *(f"j{number:03}" for number in range(250)))
    first = await order(client, PURGE, all=True, dry_run=True)
    rest = await order(client, PURGE, all=True, dry_run=True, cursor=first["next_cursor"])
    assert (first["counts"], rest["counts"]) == ({"completed": 200}, {"completed": 50})
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("path", [CANCEL, PURGE])
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, None), ({"all": True, "ids": ["a"]}, None), ({"filter": {}}, None), ({"ids": []}, "ids"),
        ({"ids": ["a"], "cursor": "x"}, None), ({"all": True, "cursor": "x"}, "cursor"), ({"all": 1}, "all"),
        ({"filter": {"key": "nobody"}}, "filter"), ({"filter": {"owner": "app"}}, "filter"),
        ({"filter": {"status": "lost"}}, "filter.status"), ({"all": True, "limit": 101}, "limit"),
        ({"ids": ["job_1"], "limit": 1}, None),
        ({"filter": {"created_before": "soon"}}, "filter.created_before"),
    ],
)  # fmt: skip
async def test_an_order_that_cannot_be_is_refused_by_name(path: str, body: dict[str, Any], field: str | None) -> None:
    async with make_world(None, ManualClock()) as world, http_client(**OPERATOR) as client:
        job_id = await world.enqueue("ada")
        document = problem(await client.post(path, json=body), 422, "invalid_request")
        assert document.get("field") == field and "nobody" not in document["detail"]
        assert await states(world, job_id) == ["pending"]


@pytest.mark.parametrize(("path", "status"), [(CANCEL, "failed"), (CANCEL, "ended"), (PURGE, "pending")])
async def test_only_live_jobs_are_cancelled_and_only_ended_ones_purged(path: str, status: str) -> None:
    async with make_world(None, ManualClock()), http_client(**OPERATOR) as client:
        answer = await client.post(path, json={"filter": {"status": status}})
        assert problem(answer, 422, "invalid_request")["field"] == "filter.status"


async def test_a_bulk_call_costs_its_pages_and_what_each_job_costs_alone(valkey_world: World) -> None:
    world = valkey_world
    assert world.server is not None
    for number in range(3):
        await world.enqueue(f"user{number}")
    async with http_client(**OPERATOR) as client:
        for path, body, calls, billed in (
            (CANCEL, {"dry_run": True}, 1, 5),
            (CANCEL, {}, 5, 28),
            (PURGE, {}, 4, 20),
        ):
            world.server.reset_bill()
            await order(client, path, all=True, **body)
            bill = world.server.bill()
            assert (bill.calls, bill.billed) == (calls, billed), path


async def test_an_ended_job_is_no_longer_shown_from_the_cache(world: World, client: httpx.AsyncClient) -> None:
    job_id = await started(world, "ada")
    await world.runtime.statuses.view("app", job_id)
    await end(world, job_id)
    await order(client, PURGE, ids=[job_id])
    with pytest.raises(JobNotFound):
        await world.runtime.statuses.view("app", job_id)
