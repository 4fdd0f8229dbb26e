"""What a poller costs that does what ``Retry-After`` asks, and how soon it sees the end."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from bench.watching import watch
from local.rest_server.running import RunningServer
from shared import runtime
from shared.budget import Budget
from shared.clock import ManualClock
from shared.dispatch.webhooks import DOUBTED_FOR
from shared.providers.base import Prediction, Throttled
from shared.runtime import Runtime
from tests.http.calls import BODY, webhook_url
from tests.world import AUTH, OTHER_AUTH, World, http_client, make_world

PUBLIC: dict[str, Any] = {"public_base_url": "https://sluice.example.org"}


FIRST_POLL, QUESTION = 2, 5  # commands beyond a plain read's


@dataclass
class Watch:
    """One poller of one job, with what its polls have cost."""

    world: World
    client: httpx.AsyncClient
    job: str
    instances: list[Runtime] = field(default_factory=list)  # take turns; the world's own if there are none
    polls: int = 0
    commands: int = 0
    status: str = ""
    etag: str = ""
    every: float = 0.0  # s between two polls, whatever is asked for; 0 for what is asked
    asked_to_wait: float = 0.0
    dearest: int = 0  # commands of one poll

    async def poll(self) -> None:
        assert self.world.server is not None
        if self.instances:
            runtime.install(self.instances[self.polls % len(self.instances)])
        self.world.server.reset_bill()
        headers = AUTH | ({"If-None-Match": self.etag} if self.etag else {})
        answer = await self.client.get(f"/api/status/{self.job}", headers=headers)
        assert answer.status_code in (200, 304)
        self.polls += 1
        spent = self.world.server.bill().billed
        self.commands, self.dearest = self.commands + spent, max(self.dearest, spent if self.polls > 1 else 0)
        self.etag = answer.headers["etag"]
        if answer.status_code == 200:
            self.status = answer.json()["status"]
        self.asked_to_wait = float(answer.headers.get("retry-after", "0"))

    async def until(self, status: str, event_at: float, event: Callable[[], Awaitable[None]]) -> float:
        """Polls as asked until the job has this status; returns how many s after the event that is seen."""
        now, next_poll, has_happened = 0.0, 0.0, False
        while True:
            at = next_poll if has_happened else min(next_poll, event_at)
            self.world.manual.advance(at - now)
            now = at
            if not has_happened and now >= event_at:
                has_happened = True
                await event()
                continue
            await self.poll()
            if self.status == status:
                return now - event_at
            assert now < event_at + 3600, "it is never seen"
            next_poll = now + (self.every or self.asked_to_wait)


@asynccontextmanager
async def watching(server: RunningServer, **changes: Any) -> AsyncIterator[tuple[World, httpx.AsyncClient]]:
    clock = ManualClock()
    async with make_world(server, clock, **PUBLIC | changes) as world, http_client() as client:
        follow(world.runtime)
        yield world, client


def follow(sluice: Runtime) -> Runtime:
    """Lets the caches of a process follow the clock of the test."""
    sluice.cache._clock = lambda: sluice.clock.now() / 1000
    return sluice


async def teach(world: World, *seconds: float) -> None:
    """Notes how long recent runs of the model took."""
    runs = [text for n, took in enumerate(seconds) for text in (f"r{n}", str(round(took * 1000)))]
    await world.raw("HSET", world.runtime.queue.keys.models + "0:acme/video", *runs)


async def submit(client: httpx.AsyncClient, user: str = "ada") -> str:
    answer = await client.post("/api/submit", json=BODY | {"user_id": user}, headers=AUTH)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def end(world: World, client: httpx.AsyncClient, job: str, status: str = "completed") -> None:
    """The provider ends the first run, and its webhook comes."""
    prediction = "p1"
    world.provider.states[prediction] = Prediction(prediction, status, output="x", error="NSFW content detected")  # type: ignore[arg-type]
    answer = await client.post(await webhook_url(world, job), content=prediction.encode())
    assert answer.status_code == 200, answer.text


async def lose(world: World, seconds: float) -> None:
    """The provider ends the first run, and its webhook does not come."""
    now = world.clock.now()
    world.provider.states["p1"] = Prediction("p1", "completed", output="x", seconds=seconds, ended_at=now)


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "new model"])
@pytest.mark.parametrize(("run", "max_commands", "max_questions"), [(120, 60, 5), (300, 100, 8)])
async def test_a_run_is_watched_at_a_bounded_price(
    valkey: RunningServer, run: int, max_commands: int, max_questions: int, is_known: bool
) -> None:
    """Before: 292 and 832 commands, 46 and 136 questions, when each poll came after 2 s."""
    async with watching(valkey) as (world, client):
        if is_known:
            await teach(world, run)
        poller = Watch(world, client, job := await submit(client))
        seen_after = await poller.until("completed", run, lambda: end(world, client, job))
        questions = len(world.provider.asked)
        print(poller.polls, "polls,", poller.commands, "commands,", questions, "questions,", seen_after)
        assert poller.commands <= max_commands
        assert questions <= max_questions
        expected = watch(world.runtime.settings, run, is_known=is_known)
        assert (poller.polls, questions) == (expected.polls, expected.questions), "bench/watching.py says another cost"
        assert poller.commands == expected.reached + FIRST_POLL + QUESTION * questions
        assert seen_after <= (2 if is_known else run / 12)


@pytest.mark.parametrize(("is_known", "max_commands"), [(True, 60), (False, 100)], ids=["known", "new model"])
async def test_a_wait_is_watched_at_a_bounded_price(valkey: RunningServer, is_known: bool, max_commands: int) -> None:
    """Before: 980 commands in 300 s, when each poll came after 2 s."""
    async with watching(valkey, max_concurrent_tasks=1) as (world, client):
        if is_known:
            await teach(world, 300)
        first = await submit(client, "bob")
        poller = Watch(world, client, await submit(client))
        seen_after = await poller.until("processing", 300.5, lambda: end(world, client, first))
        print(poller.polls, "polls,", poller.commands, "commands,", len(world.provider.asked), "questions,", seen_after)
        assert poller.commands <= max_commands
        assert seen_after <= (30 if is_known else 15)


@pytest.mark.parametrize("run", [31, 45, 60, 75, 89])
async def test_an_end_near_the_usual_time_is_seen_within_two_seconds(valkey: RunningServer, run: int) -> None:
    async with watching(valkey) as (world, client):
        await teach(world, 55, 58, 60, 62, 90)
        poller = Watch(world, client, job := await submit(client))
        assert await poller.until("completed", run + 0.5, lambda: end(world, client, job)) <= 2


async def test_a_poller_that_comes_each_two_seconds_costs_what_the_calculator_says(valkey: RunningServer) -> None:
    async with watching(valkey) as (world, client):
        poller = Watch(world, client, job := await submit(client), every=2)
        await poller.until("completed", 60, lambda: end(world, client, job))
        expected = watch(world.runtime.settings, 60, 2, is_known=False)
        assert (poller.polls, len(world.provider.asked)) == (expected.polls, expected.questions)
        assert poller.commands == expected.reached + FIRST_POLL + QUESTION * expected.questions


async def test_a_run_that_fails_at_once_is_seen_soon(valkey: RunningServer) -> None:
    async with watching(valkey) as (world, client):
        await teach(world, 300)
        poller = Watch(world, client, job := await submit(client))
        assert await poller.until("failed", 3.5, lambda: end(world, client, job, "failed")) <= 2


async def test_each_process_sees_an_end_within_two_seconds_for_one_command_a_poll(valkey: RunningServer) -> None:
    async with watching(valkey, first_check_after=1000.0) as (world, client):
        await teach(world, 300)
        poller = Watch(world, client, job := await submit(client), every=2.5)
        poller.instances = [world.runtime, follow(world.another_process()), follow(world.another_process())]
        assert await poller.until("completed", 30.2, lambda: end(world, client, job)) <= 2.5
        assert poller.dearest == 1


async def test_each_process_knows_the_usual_time_from_the_pollers_etag(valkey: RunningServer) -> None:
    async with watching(valkey) as (world, client):
        await teach(world, 300)
        poller = Watch(world, client, await submit(client))
        await poller.poll()
        world.manual.advance(20)
        follow(world.another_process())
        first = poller.etag
        await poller.poll()
        assert (poller.asked_to_wait, poller.etag, poller.commands) == (7, first, 3 + 1)


async def test_a_strangers_etag_says_nothing_to_the_owner(valkey: RunningServer) -> None:
    async with watching(valkey) as (world, client):
        await teach(world, 300)
        job = await submit(client)
        answer = await client.get(f"/api/status/{job}", headers=OTHER_AUTH | {"If-None-Match": 'W/"n9000.9000-0"'})
        assert answer.status_code == 404
        mine = await client.get(f"/api/status/{job}", headers=AUTH)
        assert mine.json()["eta_seconds"] == 300 and mine.headers["etag"].startswith('W/"n300000.300000-')


async def test_an_etag_without_times_hides_no_estimate(valkey: RunningServer) -> None:
    async with watching(valkey) as (world, client):
        job = await submit(client)
        await teach(world, 300)
        answer = await client.get(f"/api/status/{job}", headers=AUTH | {"If-None-Match": 'W/"n0.0-0"'})
        assert answer.json()["eta_seconds"] == 300


@pytest.mark.parametrize("is_polled", [True, False], ids=["polled", "only ended"])
async def test_a_new_job_of_a_deleted_ones_id_has_its_own_estimate(valkey: RunningServer, is_polled: bool) -> None:
    async with watching(valkey) as (world, client):
        headers = AUTH | {"Idempotency-Key": "again"}
        job = (await client.post("/api/submit", json=BODY, headers=headers)).json()["id"]
        if is_polled:
            await client.get(f"/api/status/{job}", headers=AUTH)
        await end(world, client, job)
        assert (await client.delete(f"/api/jobs/{job}", headers=AUTH)).status_code == 204
        await teach(world, 300)
        world.manual.advance(3)
        again = await client.post("/api/submit", json=BODY, headers=headers)
        assert again.json()["id"] == job
        answer = await client.get(f"/api/status/{job}", headers=AUTH)
        assert (answer.json()["status"], answer.json()["eta_seconds"]) == ("processing", 300)


async def test_a_lost_webhook_is_made_up_for_and_remembered(valkey: RunningServer) -> None:
    async with watching(valkey) as (world, client):
        await teach(world, 120)
        poller = Watch(world, client, await submit(client))
        assert await poller.until("completed", 120.5, lambda: lose(world, 120)) <= 40
        # From now on polls ask as often as without webhooks.
        world.provider.states["p2"] = Prediction("p2", "running")
        again = Watch(world, client, await submit(client))
        world.manual.advance(31)
        for _ in range(3):
            await again.poll()
            assert again.asked_to_wait == 2
            world.manual.advance(2)
        assert world.provider.asked.count("p2") == 3
        world.manual.advance(DOUBTED_FOR)
        await again.poll()
        world.manual.advance(2)
        await again.poll()
        assert world.provider.asked.count("p2") == 4, "webhooks are trusted again after a while"


async def test_a_run_that_is_late_is_asked_about_more_often(valkey: RunningServer) -> None:
    async with watching(valkey) as (world, client):
        await teach(world, 60)
        poller = Watch(world, client, await submit(client))
        assert await poller.until("completed", 80.5, lambda: lose(world, 80)) <= 8


async def test_an_end_that_a_question_finds_before_its_webhook_raises_no_doubt(valkey: RunningServer) -> None:
    async with watching(valkey) as (world, client):
        poller = Watch(world, client, await submit(client))
        world.manual.advance(35)
        await lose(world, 10)  # the create call and the queue of the provider took the rest
        await poller.poll()
        assert poller.status == "completed" and world.runtime.reconciler.webhooks.are_expected("replicate")


async def test_without_webhooks_the_provider_is_asked_as_often_as_the_status(valkey: RunningServer) -> None:
    async with watching(valkey, public_base_url=None) as (world, client):
        await teach(world, 120)
        poller = Watch(world, client, await submit(client))
        assert await poller.until("completed", 60.5, lambda: lose(world, 60)) <= 2
        assert poller.polls > 30 and len(world.provider.asked) >= 29


async def test_a_job_that_is_to_be_canceled_is_looked_at_each_two_seconds(valkey: RunningServer) -> None:
    async with watching(valkey) as (world, client):
        await teach(world, 300)
        poller = Watch(world, client, job := await submit(client))
        world.provider.is_silent = True
        await client.post(f"/api/jobs/{job}/cancel", headers=AUTH)
        asked = len(world.provider.canceled)
        for _ in range(3):
            world.manual.advance(2)
            await poller.poll()
            assert poller.asked_to_wait == 2
        assert len(world.provider.canceled) == asked + 3


async def test_a_place_is_shared_for_two_pauses_and_read_again_when_its_job_changes(valkey: RunningServer) -> None:
    async with watching(valkey, max_concurrent_tasks=1) as (world, client):
        await teach(world, 300)
        await submit(client, "bob")
        better = await submit(client, "eve")
        world.manual.advance(0.001)
        poller = Watch(world, client, job := await submit(client))
        await poller.poll()
        assert (poller.commands, poller.asked_to_wait) == (4, 30)
        world.manual.advance(30)
        await poller.poll()
        assert poller.commands == 4 + 1
        process = world.runtime
        world.another_process()
        changed = await client.patch(f"/api/jobs/{job}", json={"priority": 5}, headers=AUTH)
        assert changed.status_code == 200
        runtime.install(process)
        world.manual.advance(3)
        poller.etag = ""
        answer = await client.get(f"/api/status/{job}", headers=AUTH)
        assert (answer.json()["priority"], answer.json()["queue_position"]) == (5, 1)
        await client.patch(f"/api/jobs/{better}", json={"priority": 5}, headers=AUTH)
        world.manual.advance(61)
        answer = await client.get(f"/api/status/{job}", headers=AUTH)
        assert answer.json()["queue_position"] == 2


@pytest.mark.parametrize(
    ("ahead", "known", "asked_to_wait"),
    [(1, 8.0, 6), (1, 300.0, 30), (4, 40.0, 30), (1, 0.0, 2)],
)
async def test_who_waits_far_back_is_asked_to_come_rarely(
    valkey: RunningServer, ahead: int, known: float, asked_to_wait: int
) -> None:
    async with watching(valkey, max_concurrent_tasks=1) as (world, client):
        if known:
            await teach(world, known)
        for n in range(ahead):
            await submit(client, f"user{n}")
            world.manual.advance(0.001)  # so that it is ahead
        poller = Watch(world, client, await submit(client))
        await poller.poll()
        assert poller.asked_to_wait == asked_to_wait


async def test_a_job_that_may_start_or_is_put_off_is_polled_when_that_is_due(valkey: RunningServer) -> None:
    async with watching(valkey, dispatch_on_submit=False) as (world, client):
        await teach(world, 300)
        poller = Watch(world, client, await submit(client))
        await poller.poll()
        assert poller.asked_to_wait == 2
        world.provider.outcomes = [Throttled("provider_down", 8)]
        await world.runtime.dispatcher.run(Budget(60))
        world.manual.advance(2)
        await poller.poll()
        assert 5 <= poller.asked_to_wait <= 9
