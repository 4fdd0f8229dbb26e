"""What a poller costs that does what ``Retry-After`` asks, and how soon it sees the end."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared import runtime
from shared.clock import ManualClock
from shared.providers.base import Prediction
from shared.runtime import Runtime
from tests.http.calls import BODY, webhook_url
from tests.world import AUTH, World, http_client, make_world

PUBLIC: dict[str, Any] = {"public_base_url": "https://sluice.example.org"}


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
    asked_to_wait: float = 0.0

    async def poll(self) -> None:
        assert self.world.server is not None
        if self.instances:
            runtime.install(self.instances[self.polls % len(self.instances)])
        self.world.server.reset_bill()
        headers = AUTH | ({"If-None-Match": self.etag} if self.etag else {})
        answer = await self.client.get(f"/api/status/{self.job}", headers=headers)
        assert answer.status_code in (200, 304)
        self.polls += 1
        self.commands += self.world.server.bill().billed
        print(round(self.world.manual.true_now / 1000) % 10000, self.world.server.bill().billed, end=" ; ")
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
            next_poll = now + self.asked_to_wait


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


async def end(world: World, client: httpx.AsyncClient, job: str, prediction: str = "p1") -> None:
    """The provider ends the run, and its webhook comes."""
    world.provider.states[prediction] = Prediction(prediction, "completed", output="x")
    answer = await client.post(await webhook_url(world, job), content=prediction.encode())
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("known", [True, False], ids=["known", "new model"])
@pytest.mark.parametrize(("run", "most_commands", "most_questions"), [(120, 60, 5), (300, 100, 8)])
async def test_a_run_is_watched_at_a_bounded_price(
    valkey: RunningServer, run: int, most_commands: int, most_questions: int, known: bool
) -> None:
    async with watching(valkey) as (world, client):
        if known:
            await teach(world, run)
        watch = Watch(world, client, job := await submit(client))
        seen_after = await watch.until("completed", run, lambda: end(world, client, job))
        print(
            f"run of {run} s, {'known' if known else 'new'}: {watch.polls} polls, {watch.commands} commands, ", end=""
        )
        print(f"{len(world.provider.asked)} questions, end seen after {seen_after:g} s")
        assert watch.commands <= most_commands
        assert len(world.provider.asked) <= most_questions
        assert seen_after <= (2 if known else 15)


@pytest.mark.parametrize("known", [True, False], ids=["known", "new model"])
async def test_a_wait_is_watched_at_a_bounded_price(valkey: RunningServer, known: bool) -> None:
    async with watching(valkey, max_concurrent_tasks=1) as (world, client):
        if known:
            await teach(world, 300)
        first = await submit(client, "bob")
        watch = Watch(world, client, await submit(client))
        seen_after = await watch.until("processing", 300, lambda: end(world, client, first))
        print(f"waiting 300 s, {'known' if known else 'new'}: {watch.polls} polls, {watch.commands} commands, ", end="")
        print(f"start seen after {seen_after:g} s, {len(world.provider.asked)} questions")
        assert watch.commands <= 60
