"""An erasure is complete only when nothing of the user lives or can come back."""

from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock, iso
from shared.jobqueue.replies import Trimmed
from shared.jobs import erasure
from shared.outbox.storing import FIELDS
from shared.providers.base import Prediction
from shared.storage import layout
from tests.buckets import pieces
from tests.costs import COSTS
from tests.http.calls import problem
from tests.http.erasure.jobs import counts, ended, erase, kept, stored
from tests.receiver import Receiver
from tests.world import AUTH, World, http_client, make_world

BATCH: dict[str, Any] = {"user_id": "ada", "model": "acme/video", "jobs": [{"input": {}}] * 3}


async def left_of(world: World, user: str = "ada") -> list[str]:
    """The keys, and the members of the index, that name the user, and the keys of jobs and batches."""
    keys = world.runtime.queue.keys
    found = [key for key in await world.raw("KEYS", "*") if f":{user}" in key or key.startswith((keys.jobs, "test:b:"))]
    return found + [row for row in await world.raw("ZRANGE", keys.index, "0", "-1") if f":{user}|" in row]


async def test_live_jobs_are_canceled_if_asked_for_and_none_starts_in_their_place(
    valkey: RunningServer, clock: ManualClock
) -> None:
    changes = {"max_user_tasks": 2, "max_user_queued": 9}
    async with make_world(valkey, clock, **changes) as world, http_client(**AUTH) as client:
        for _ in range(5):
            await client.post("/api/submit", json={"model": "acme/video", "input": {}, "user_id": "ada"})
        await client.post("/api/batches", json=BATCH)
        await world.runtime.controls.limit_user("app", "ada", 2)
        other = await world.enqueue("bob")
        report = await erase(client)
        assert counts(report) == (0, 0, 8) and not report["is_complete"] and world.provider.canceled == []
        report = await erase(client, cancel="true")
        assert counts(report) == (8, 0, 0) and report["is_complete"] and report["repeat_at"] is None
        assert sorted(world.provider.canceled) == ["p1", "p2"]
        assert {submission.job_id for submission in world.provider.created[2:]} <= {other}
        keys = world.runtime.queue.keys
        user = keys.user("app", "ada")
        assert sorted(await left_of(world)) == [keys.job(other), user]
        assert await world.raw("ZRANGE", user, "0", "-1") == ["="]  # the operator's limit


async def test_an_erasure_waits_for_runs_that_their_provider_does_not_end(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock) as world, http_client(**AUTH) as client:
        job_id = await world.enqueue(start=True)
        await world.runtime.queue.record(job_id, 1, "p1")
        world.provider.is_silent = True
        for _ in range(2):
            report = await erase(client, cancel="true")
            assert counts(report) == (0, 0, 1) and not report["is_complete"]
        await world.runtime.queue.finish(job_id, 1, "p1", "canceled", {})
        report = await erase(client, cancel="true")
        assert counts(report) == (1, 0, 0) and report["is_complete"]


async def test_jobs_behind_the_history_are_erased_too(any_store: RunningServer | None, clock: ManualClock) -> None:
    async with make_world(any_store, clock, max_user_tasks=9) as world, http_client(**AUTH) as client:
        world.runtime.history.max_listed = 2
        jobs = []
        for number in range(6):
            jobs.append(await world.enqueue("ada|x" if number % 2 else "bob"))
            clock.advance(1)
        for job_id in jobs[:4]:
            await world.runtime.queue.cancel(job_id, "app")
        assert await world.runtime.history.trim() == Trimmed(0, 4)
        assert await world.runtime.history.trim() == Trimmed(0, 0)
        # One of two that moved into the archive lives again under its id; another one has expired.
        await world.raw("DEL", world.runtime.queue.keys.job(jobs[3]))
        report = await erase(client, "ada|x")
        assert counts(report) == (1, 0, 1) and not report["is_complete"]
        report = await erase(client, "ada|x", cancel="true")
        assert counts(report) == (1, 0, 0) and report["is_complete"]
        assert {(await client.get(f"/api/status/{job_id}")).status_code for job_id in jobs[1::2]} == {404}
        assert {(await client.get(f"/api/status/{job_id}")).status_code for job_id in jobs[0::2]} == {200}
        archive = world.runtime.queue.keys.archive("app", "ada|x")
        assert await world.raw("EXISTS", archive) == 0
        assert await world.raw("ZCARD", world.runtime.queue.keys.archive("app", "bob")) == 2


async def test_an_archive_lasts_as_long_as_its_jobs_are_kept(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock) as world:
        history, archive = world.runtime.history, world.runtime.queue.keys.archive("app", "ada")
        history.max_listed = 0
        old = await world.enqueue()
        await history.trim()
        assert await world.raw("ZRANGE", archive, "0", "-1") == [old]
        assert await world.raw("TTL", archive) >= world.runtime.settings.task_ttl
        clock.advance(12 * 86_400)  # a week, a day of waiting, four runs, and a day more
        young = await world.enqueue()
        assert await history.trim() == Trimmed(0, 1)
        assert await world.raw("ZRANGE", archive, "0", "-1") == [young]


async def test_an_upload_url_from_before_keeps_an_erasure_open_until_it_ends(
    world: World, client: httpx.AsyncClient
) -> None:
    asked = {"user_id": "ada", "content_type": "image/png", "size": 1}
    upload = (await client.post("/api/uploads", json=asked)).json()
    lasts = world.runtime.settings.storage_url_ttl + round(world.runtime.settings.lease)
    until = world.clock.now() + lasts * 1000
    world.manual.advance(60)
    report = await erase(client)
    assert counts(report) == (0, 0, 0) and not report["is_complete"]
    assert report["repeat_at"] == iso(until + 60_000)
    put = await client.put(upload["upload_url"], content=b"x", headers=upload["headers"] | AUTH)
    assert put.status_code == 200 and len(await kept(world)) == 1
    report = await erase(client)
    assert counts(report) == (0, 1, 0) and not report["is_complete"] and report["repeat_at"] == iso(until + 60_000)
    world.manual.advance(lasts)
    for _ in range(2):
        report = await erase(client)
        assert counts(report) == (0, 0, 0) and report["is_complete"] and report["repeat_at"] is None


async def test_a_copy_under_way_keeps_an_erasure_open_until_its_function_is_dead(
    world: World, client: httpx.AsyncClient, source: Receiver
) -> None:
    await erase(client)
    world.manual.advance(2 * world.runtime.settings.storage_url_ttl)
    job_id = await ended(world, source.url("/a"))
    (row,) = world.follow_ups()
    frozen = await world.runtime.outbox.read(job_id, ("completed",), FIELDS)
    report = await erase(client)
    assert counts(report) == (1, 0, 0) and not report["is_complete"]
    assert report["repeat_at"] == iso(world.clock.now() + round(world.runtime.settings.lease * 1000))
    # The function stores the file, and dies before it learns that its note is refused.
    key = f"{layout.job_folder(int(frozen['ended_at']), 'app', 'ada', job_id)}/0.mp4"
    await world.runtime.bucket.save(key, pieces(b"film"), "video/mp4")
    assert counts(await erase(client)) == (0, 1, 0) and row.id == job_id
    world.manual.advance(world.runtime.settings.lease)
    assert (await erase(client))["is_complete"] and await kept(world) == []


@pytest.mark.parametrize("limit", [None, 0])
async def test_a_complete_erasure_forgets_the_users_tag_and_lifts_no_limit(
    any_store: RunningServer | None, clock: ManualClock, limit: int | None
) -> None:
    """The application may call it, and only the operator may end a pause of a user."""
    changes: dict[str, Any] = {"priority_policy": "fair", "dispatch_on_submit": False}
    async with make_world(any_store, clock, **changes) as world, http_client(**AUTH) as client:
        user, held = world.runtime.queue.keys.user("app", "ada"), [] if limit is None else ["="]
        if limit is not None:
            await world.runtime.controls.limit_user("app", "ada", limit)
        job_id = await world.enqueue()
        await erase(client)
        assert await world.raw("ZSCORE", user, "~") is not None
        await world.runtime.queue.cancel(job_id, "app")
        assert (await erase(client))["is_complete"] and await world.raw("ZRANGE", user, "0", "-1") == held
        await world.enqueue()
        assert len((await world.runtime.queue.claim(1)).started) == (limit is None)


async def test_entries_and_batches_whose_jobs_have_expired_are_erased(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock) as world, http_client(**AUTH) as client:
        batch = (await client.post("/api/batches", json=BATCH)).json()["id"]
        await client.post(f"/api/batches/{batch}/cancel")
        keys = world.runtime.queue.keys
        assert (await world.raw("HGET", keys.batch(batch), "ended_at")) is not None
        await world.raw("DEL", *(keys.job(f"{batch}_{number}") for number in range(3)))
        report = await erase(client)
        assert counts(report) == (0, 0, 0) and report["is_complete"]
        problem(await client.get(f"/api/batches/{batch}"), 404, "batch_not_found")
        rows = await world.raw("ZRANGE", keys.index, "0", "-1")
        assert not any("ada" in row for row in rows)


async def test_live_jobs_that_the_history_or_the_users_set_has_lost_are_canceled_and_erased(
    any_store: RunningServer | None, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "PAGE", 1)
    async with make_world(any_store, clock) as world, http_client(**AUTH) as client:
        keys = world.runtime.queue.keys
        for _ in range(2):
            await world.raw("ZREM", keys.index, f"@app:ada|{await world.enqueue()}")
        await world.raw("ZREM", keys.user("app", "ada"), await world.enqueue())
        assert counts(await erase(client)) == (0, 0, 3)
        report = await erase(client, cancel="true")
        assert counts(report) == (3, 0, 0) and report["is_complete"]
        assert await left_of(world) == []


async def test_a_canceled_submission_of_unknown_outcome_keeps_an_erasure_open(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    """It has left its user's set, and its provider may be at work on it."""
    async with make_world(any_store, clock) as world, http_client(**AUTH) as client:
        job_id = await world.enqueue(start=True)
        clock.advance(2 * world.runtime.settings.lease)
        await world.runtime.queue.rescue(job_id, 1)
        await world.runtime.queue.cancel(job_id, "app")
        assert await world.raw("ZSCORE", world.runtime.queue.keys.user("app", "ada"), job_id) is None
        for cancel in ("", "true"):
            report = await erase(client, cancel=cancel)
            assert counts(report) == (0, 0, 1) and not report["is_complete"]


async def test_an_erasure_costs_what_the_table_says(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock) as world, http_client(**AUTH) as client:
        await world.runtime.queue.cancel(await world.enqueue(), "app")
        valkey.reset_bill()
        assert (await erase(client))["is_complete"]
        assert (valkey.bill().calls, valkey.bill().billed) == COSTS["erasure of a user with one ended job"]
        for user in ("ada", "bob"):
            await world.enqueue(user)
        world.runtime.history.max_listed = 0
        valkey.reset_bill()
        assert (await world.runtime.history.trim()).archived == 2
        assert (valkey.bill().calls, valkey.bill().billed) == COSTS["trim that archives the entries of two users"]


async def test_an_erasure_without_time_to_cancel_says_so(any_store: RunningServer | None, clock: ManualClock) -> None:
    async with make_world(any_store, clock) as world:
        await world.runtime.queue.record(await world.enqueue(start=True), 1, "p1")
        report = await world.runtime.erasure.erase_user("app", "ada", Budget(29), cancel=True)
        assert counts(report) == (0, 0, 1) and not report["is_complete"] and world.provider.canceled == []


async def test_results_of_a_job_that_ends_meanwhile_are_not_taken_for_complete(
    world: World, client: httpx.AsyncClient, source: Receiver
) -> None:
    await erase(client)
    world.manual.advance(2 * world.runtime.settings.storage_url_ttl)
    live = await world.enqueue(start=True)
    await world.runtime.queue.record(live, 1, "p1")
    await stored(world, source.url("/b"))
    report = await erase(client)
    assert counts(report) == (1, 1, 1) and not report["is_complete"]
    await world.runtime.reconciler.apply(live, 1, "replicate", Prediction("p1", "completed", source.url("/a")))
    await world.follow_up()
    report = await erase(client)
    # Another call may have stored a file before the end, and be slow to notice that it came too late.
    assert counts(report) == (1, 1, 0) and not report["is_complete"] and await kept(world) == []
    world.manual.advance(world.runtime.settings.lease)
    assert (await erase(client))["is_complete"]
