"""Several processes store one job's files, one after the other; some of them die."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.budget import Budget
from shared.errors import StoreUncertain
from shared.jobqueue import FollowUp, Outbox
from shared.outbox.storing import FIELDS
from shared.storage import layout
from shared.storage.bucket import Bucket
from tests.buckets import pieces
from tests.files.storing import FILM, all_keys, document, ended, job_of, kept
from tests.receiver import Answer, Received, Receiver
from tests.world import World


async def test_turns_are_not_tries(world: World, source: Receiver) -> None:
    """A claim whose answer is lost, or without time left, makes no request to the source."""
    source.answers = lambda _: (410, {}, b"")
    job_id = await ended(world, source.url())
    world.follow_ups()
    for turn in range(2, 8):
        world.manual.advance(130)
        ((row,), _) = await world.runtime.outbox.claim(1, 0, 1)
        assert row.turn == turn
    for tries in (1, 2, 3):
        assert (await document(world, job_id))["files"][0]["state"] == "pending"
        await world.runtime.storing.store(row, Budget(50))
        assert len(source.received) == tries
    assert (await document(world, job_id))["files"][0]["state"] == "expired"


async def test_a_killed_function_loses_the_work_at_one_file(world: World, source: Receiver) -> None:
    hanging = asyncio.Event()

    def answers(request: Received) -> Answer | None:
        if request.path == "/2" and not hanging.is_set():
            hanging.set()
            return None
        return 200, {}, FILM

    source.answers = answers
    job_id = await ended(world, [source.url(f"/{n}") for n in range(4)])
    storing = asyncio.create_task(world.follow_up())
    await hanging.wait()
    # The copy of the third file that the killed function had made.
    folder = (await job_of(world, job_id)).files[0]["key"].rpartition("/")[0]
    await world.runtime.bucket.save(f"{folder}/2.mp4", pieces(FILM), "video/mp4")
    storing.cancel()
    await asyncio.gather(storing, return_exceptions=True)
    assert [file["state"] for file in (await document(world, job_id))["files"]] == ["stored"] * 2 + ["pending"] * 2
    world.manual.advance(119)
    assert await world.work_off() == 0, "each note has kept its turn"
    world.manual.advance(2)
    await world.work_off()
    shown = await document(world, job_id)
    assert shown["stage"] == "done" and [file["state"] for file in shown["files"]] == ["stored"] * 4
    assert [len(source.on(f"/{n}")) for n in range(4)] == [1, 1, 2, 1]
    files = (await job_of(world, job_id)).files
    assert sorted(await all_keys(world)) == sorted(file[name] for file in files for name in ("key", "thumbnail"))


async def test_a_note_that_is_refused_ends_the_turn(world: World, source: Receiver) -> None:
    job_id = await ended(world, [source.url(f"/{n}") for n in range(3)])
    (first,) = world.follow_ups()
    keep, notes = Outbox.keep, 0

    async def late(self: Outbox, *given: Any, **named: Any) -> bool:
        nonlocal notes
        notes += 1
        if notes == 2:
            world.manual.advance(130)
            await self.claim(1, 0, 1)
        return await keep(self, *given, **named)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Outbox, "keep", late)
        await world.runtime.storing.store(first, Budget(50))
    assert notes == 2 and len(source.received) == 2
    files = (await job_of(world, job_id)).files
    assert [file["state"] for file in files] == ["stored", "pending", "pending"]
    assert sorted(await all_keys(world)) == sorted([files[0]["key"], files[0]["thumbnail"]])


async def test_a_late_process_removes_only_its_own_copies(world: World, source: Receiver) -> None:
    job_id = await ended(world, source.url())
    (first,) = world.follow_ups()
    world.manual.advance(200)
    await world.work_off()
    (ours,) = [key for key in await all_keys(world) if "thumbnail" not in key]
    await world.runtime.storing.store(first, Budget(50))
    assert ours in await all_keys(world) and await kept(world, job_id) == FILM
    # The same, but the function freezes between its copy and its note.
    files = [{"url": source.url(), "state": "stored", "key": "of another"}]
    assert not await world.runtime.outbox.keep(job_id, first.turn, json.dumps(files))
    assert await kept(world, job_id) == FILM


async def test_a_copy_whose_turn_is_over_is_removed_again(world: World, source: Receiver) -> None:
    job_id = await ended(world, source.url())
    (first,) = world.follow_ups()
    stolen = asyncio.Event()

    def answers(_: Received) -> Answer:
        stolen.set()
        return 200, {}, FILM

    source.answers = answers
    copying = asyncio.create_task(world.runtime.storing.store(first, Budget(50)))
    await stolen.wait()
    world.manual.advance(200)
    ((second,), _) = await world.runtime.outbox.claim(1, 0, 1)
    assert second == FollowUp("store", job_id, turn=2, noted_at=world.clock.now())
    await copying
    assert await all_keys(world) == []
    await world.runtime.storing.store(second, Budget(50))
    assert await kept(world, job_id) == FILM


@pytest.mark.parametrize("is_applied", [True, False])
async def test_a_lost_answer_to_the_last_note_leaves_no_copy_of_an_earlier_turn(
    world: World, source: Receiver, is_applied: bool
) -> None:
    """Also if the function dies behind its last note: no caller comes after that."""
    job_id = await ended(world, source.url())
    world.follow_ups()
    job = await job_of(world, job_id)
    earlier = layout.incarnation_folder(job.ended_at or 0, job.owner, job.user, job_id, job.incarnation)
    for name in ("0.mp4", "0-thumbnail.jpg"):  # of a function that died before its note
        await world.runtime.bucket.save(f"{earlier}/{name}", pieces(FILM), "video/mp4")
    world.manual.advance(130)
    keep = Outbox.keep

    async def lost(self: Outbox, *given: Any, **named: Any) -> bool:
        if is_applied:
            await keep(self, *given, **named)
        raise StoreUncertain

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Outbox, "keep", lost)
        await world.work_off()
    left = [key for key in await all_keys(world) if layout.turn_of(key) == 1]
    assert left == [] and (await job_of(world, job_id)).is_storing == (not is_applied)
    for _ in range(2):
        world.manual.advance(130)
        await world.work_off()
    (file,) = (await job_of(world, job_id)).files
    assert sorted(await all_keys(world)) == sorted([file["key"], file["thumbnail"]])


async def test_a_turn_removes_nothing_of_a_later_one(world: World, source: Receiver) -> None:
    job_id = await ended(world, source.url())
    world.follow_ups()
    world.manual.advance(130)
    ((second,), _) = await world.runtime.outbox.claim(1, 0, 1)
    read = await world.runtime.outbox.read(job_id, ("completed",), FIELDS)
    world.manual.advance(130)
    ((third,), _) = await world.runtime.outbox.claim(1, 0, 1)
    late = Bucket.pages

    async def pages(self: Bucket, prefix: str) -> AsyncIterator[list[str]]:
        """The third turn stores its copy while the second one looks for what to remove."""
        if not source.on("/third"):
            source.received.append(Received("/third", {}, b""))
            await world.runtime.bucket.save(f"{prefix}/0-3.mp4", pieces(FILM), "video/mp4")
        async for page in late(self, prefix):
            yield page

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Bucket, "pages", pages)
        await world.runtime.storing._store(second, read, Budget(50))
    assert [key.rpartition("/")[2] for key in await all_keys(world)] == ["0-3.mp4"]
    await world.runtime.storing.store(third, Budget(50))
    assert await kept(world, job_id) == FILM


async def test_a_poll_takes_up_a_copy_that_another_call_has_left(world: World, source: Receiver) -> None:
    """With a daily schedule no tick would come in time."""
    job_id = await ended(world, source.url())
    world.follow_ups()
    assert (await document(world, job_id))["stage"] == "storing" and source.received == []
    world.manual.advance(130)
    assert (await document(world, job_id))["stage"] == "done"


async def test_without_time_no_copy_starts_and_the_job_is_due_soon(world: World, source: Receiver) -> None:
    job_id = await ended(world, source.url())
    await world.follow_up(Budget(1))
    assert source.received == [] and (await document(world, job_id))["stage"] == "storing"
    world.manual.advance(15)
    await world.runtime.tick.run()
    assert (await document(world, job_id))["stage"] == "done"


@pytest.mark.parametrize("killed", [3, 4])
async def test_a_file_that_killed_four_functions_is_stored_without_being_examined(
    world: World, source: Receiver, killed: int
) -> None:
    job_id = await ended(world, source.url())
    world.follow_ups()
    for _ in range(killed - 1):
        world.follow_ups()
        world.manual.advance(130)
        await world.runtime.outbox.claim(1, 0, 1)
    world.manual.advance(130)
    await world.work_off()
    (file,) = (await document(world, job_id))["files"]
    assert file["state"] == "stored" and (file["width"] is None) == (file["thumbnail_url"] is None) == (killed == 4)
    assert file["media_error"] == ("skipped" if killed == 4 else None)
