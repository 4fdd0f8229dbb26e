"""A deleted job is gone from store and storage, and nothing else is."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from shared.budget import Budget
from shared.jobqueue import Outbox
from shared.outbox.storing import FIELDS
from shared.storage.bucket import Bucket, StorageError
from tests.http.calls import problem
from tests.http.erasure.jobs import document, ended, kept, stored
from tests.receiver import Receiver
from tests.world import OTHER_AUTH, World


async def test_a_deleted_job_takes_its_files_with_it(world: World, client: httpx.AsyncClient, source: Receiver) -> None:
    other = await stored(world, source.url("/b"))
    job_id = await stored(world, [source.url("/a"), source.url("/b")])
    assert len(await kept(world)) == 3
    problem(await client.delete(f"/api/jobs/{job_id}", headers=OTHER_AUTH), 404, "job_not_found")
    assert len(await kept(world)) == 3
    assert (await client.delete(f"/api/jobs/{job_id}")).status_code == 204
    assert [key for key in await kept(world) if f"/{other}/" not in key] == [] and len(await kept(world)) == 1
    problem(await client.get(f"/api/status/{job_id}"), 404, "job_not_found")
    problem(await client.delete(f"/api/jobs/{job_id}"), 404, "job_not_found")


async def test_a_deletion_that_fails_half_way_leaves_a_job_that_can_be_deleted_again(
    world: World, client: httpx.AsyncClient, source: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await stored(world, [source.url("/a"), source.url("/b")])
    delete = Bucket.delete

    async def half(self: Bucket, keys: list[str]) -> None:
        await delete(self, keys[:1])
        raise StorageError("delete")

    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "delete", half)
        problem(await client.delete(f"/api/jobs/{job_id}"), 503, "storage_unavailable")
    assert len(await kept(world)) == 1
    assert [file["state"] for file in (await document(world, client, job_id))["files"]] == ["stored"] * 2
    assert (await client.delete(f"/api/jobs/{job_id}")).status_code == 204 and await kept(world) == []


@pytest.mark.parametrize("verb", ["pages", "delete"])
async def test_while_the_storage_does_not_answer_the_job_stays(
    world: World, client: httpx.AsyncClient, source: Receiver, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    job_id = await stored(world, source.url("/a"))
    without_files = await stored(world, "text")

    async def fails(*_: object) -> None:
        raise StorageError("delete")

    async def breaks(*_: object) -> AsyncIterator[list[str]]:
        raise StorageError("list")
        yield []

    with monkeypatch.context() as patched:
        patched.setattr(Bucket, verb, fails if verb == "delete" else breaks)
        answer = await client.delete(f"/api/jobs/{job_id}")
        assert problem(answer, 503, "storage_unavailable")["retryable"] is True and answer.headers["retry-after"]
        assert (await client.delete(f"/api/jobs/{without_files}")).status_code == 204
    shown = await document(world, client, job_id)
    assert shown["files"][0]["state"] == "stored" and len(await kept(world)) == 1
    assert (await client.delete(f"/api/jobs/{job_id}")).status_code == 204
    assert await kept(world) == []


@pytest.mark.parametrize("noted", [1, 2])
async def test_a_job_that_is_still_stored_can_be_deleted(
    world: World, client: httpx.AsyncClient, source: Receiver, noted: int
) -> None:
    """A copy that ends after the job was deleted is not noted, and removes the files it made."""
    job_id = await ended(world, [source.url("/a"), source.url("/b")])
    keep = Outbox.keep

    async def late(self: Outbox, *given: Any, **named: Any) -> bool:
        notes.append(await kept(world))
        if len(notes) == noted:
            await world.runtime.erasure.delete_job("app", job_id, Budget(50))
        return await keep(self, *given, **named)

    notes: list[list[str]] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Outbox, "keep", late)
        await world.follow_up()
    assert await kept(world) == [] and [len(keys) for keys in notes] == [1, 2][:noted]
    assert len(source.received) == noted, "nothing more is fetched once a note was refused"
    problem(await client.get(f"/api/status/{job_id}"), 404, "job_not_found")
    assert await world.raw("ZCARD", world.runtime.queue.keys.outbox) == 0


async def test_a_copy_that_is_noted_while_its_job_is_being_deleted_is_removed(
    world: World, client: httpx.AsyncClient, source: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note arrives between the file listing and the end of the job, when the copier's turn is over."""
    job_id = await ended(world, source.url("/a"))
    pages = Bucket.pages

    async def listed(self: Bucket, prefix: str) -> AsyncIterator[list[str]]:
        async for page in pages(self, prefix):
            yield page
        if "/job_" in prefix:
            await world.runtime.storing.store(row, Budget(50))
            await world.runtime.storing._store(row, fields, Budget(50))

    (row,) = world.follow_ups()
    fields = await world.runtime.outbox.read(job_id, ("completed",), FIELDS)
    monkeypatch.setattr(Bucket, "pages", listed)
    assert (await client.delete(f"/api/jobs/{job_id}")).status_code == 204
    assert source.received != [] and await kept(world) == []


async def test_a_deletion_that_the_storage_refused_leaves_the_copy_to_the_next_turn(
    world: World, client: httpx.AsyncClient, source: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await ended(world, source.url("/a"))
    (row,) = world.follow_ups()

    async def breaks(*_: object) -> AsyncIterator[list[str]]:
        raise StorageError("list")
        yield []

    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "pages", breaks)
        problem(await client.delete(f"/api/jobs/{job_id}"), 503, "storage_unavailable")
    await world.runtime.storing.store(row, Budget(50))
    assert await kept(world) == [], "its turn was over before it began"
    world.manual.advance(world.runtime.settings.lease + 1)
    await world.work_off()
    assert (await document(world, client, job_id))["files"][0]["state"] == "stored"
