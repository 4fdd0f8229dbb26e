"""One file that fails does not hold the news of a good job: its owner is notified, and of that file later."""

import json
from typing import Any

import pytest

from shared.budget import Budget
from tests.files.storing import FILM, document, ended, job_of
from tests.receiver import Receiver, receiver
from tests.world import World, settings_for

NEWS_AFTER = 240  # s; twice LEASE at FUNCTION_MAX_DURATION=60


def data_of(owner: Receiver) -> list[tuple[str, dict[str, Any]]]:
    """The type and data of each event that the owner received."""
    events = [json.loads(request.body) for request in owner.received]
    return [(event["type"], event["data"]) for event in events]


async def pass_time(world: World, seconds: int, step: int = 20) -> None:
    for _ in range(0, seconds, step):
        world.manual.advance(step)
        await world.work_off()


async def test_one_lost_file_holds_the_news_for_minutes_only(world: World, source: Receiver) -> None:
    source.answers = lambda request: (503, {}, b"") if request.path == "/lost" else (200, {}, FILM)
    async with receiver() as owner:
        job_id = await ended(world, [source.url("/there"), source.url("/lost")], hook_url=owner.url())
        await world.follow_up()
        await pass_time(world, NEWS_AFTER - 20)
        assert owner.received == []
        await pass_time(world, 20)
        ((kind, data),) = data_of(owner)
        assert (kind, data["status"]) == ("job.completed", "completed")
        assert [(file["state"], file["error"]) for file in data["files"]] == [
            ("stored", None),
            ("pending", "source_unavailable"),
        ]
        assert data["output"] == [data["files"][0]["url"], source.url("/lost")]
        assert (await document(world, job_id))["stage"] == "storing"
        source.answers = lambda _: (200, {}, FILM)
        await pass_time(world, 320)
        (_, (kind, data)) = data_of(owner)
        assert (kind, data["status"], data["id"]) == ("job.files", "completed", job_id)
        assert [file["state"] for file in data["files"]] == ["stored", "stored"]
        assert (await document(world, job_id))["stage"] == "done"
        first, second = (json.loads(request.body)["timestamp"] for request in owner.received)
        assert first < second and len({request.event_id for request in owner.received}) == 2


async def test_a_file_that_stays_lost_is_reported_when_it_is_given_up(world: World, source: Receiver) -> None:
    source.answers = lambda _: (503, {}, b"")
    async with receiver() as owner:
        await ended(world, source.url("/lost"), hook_url=owner.url())
        await world.follow_up()
        await pass_time(world, 50 * 60, step=60)
        assert [(kind, [file["state"] for file in data["files"]]) for kind, data in data_of(owner)] == [
            ("job.completed", ["pending"]),
            ("job.files", ["expired"]),
        ]


async def test_files_that_come_in_time_are_one_event(world: World, source: Receiver) -> None:
    source.answers = lambda _: (503, {}, b"")
    async with receiver() as owner:
        await ended(world, source.url(), hook_url=owner.url())
        await world.follow_up()
        await pass_time(world, 60)
        source.answers = lambda _: (200, {}, FILM)
        await pass_time(world, 600)
        assert [(kind, data["files"][0]["state"]) for kind, data in data_of(owner)] == [("job.completed", "stored")]


async def test_a_file_that_was_not_tried_yet_is_waited_for(world: World, source: Receiver) -> None:
    """A turn without time for it says nothing of the file."""
    async with receiver() as owner:
        job_id = await ended(world, source.url(), hook_url=owner.url())
        (row,) = world.follow_ups()
        world.manual.advance(NEWS_AFTER + 60)
        await world.runtime.storing.store(row, Budget(1))
        assert world.follow_ups() == [] and (await job_of(world, job_id)).is_storing
        await pass_time(world, 60)
        assert [(kind, data["files"][0]["state"]) for kind, data in data_of(owner)] == [("job.completed", "stored")]


@pytest.mark.parametrize(("duration", "seconds"), [(25, 170), (60, 240), (90, 300), (800, 300)])
def test_the_wait_follows_from_a_functions_duration(duration: float, seconds: float) -> None:
    assert settings_for(None, function_max_duration=duration).news_after == seconds
