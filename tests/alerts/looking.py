"""A deployment with receivers on this machine, for tests of alerts."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from local.rest_server.running import RunningServer
from shared.alerts.alert_store import AlertStore
from shared.alerts.alerts import Alerts
from shared.alerts.counts import Counts
from shared.alerts.receivers import Receiver as Place
from shared.alerts.receivers import Sent
from shared.alerts.standing import Notice
from shared.budget import Budget
from shared.clock import ManualClock, SystemClock
from tests.receiver import Receiver, receiver
from tests.world import World, make_world


@dataclass
class Notebook:
    """A receiver that keeps what it gets; ``answers`` are of the next tries."""

    notices: list[Notice] = field(default_factory=list)
    answers: list[Sent] = field(default_factory=list)

    async def send(self, notice: Notice) -> Sent:
        answer = self.answers.pop(0) if self.answers else Sent(has_come=True)
        if answer.has_come:
            self.notices.append(json.loads(json.dumps(notice)))
        return answer

    async def close(self) -> None:
        """Does nothing."""

    @property
    def words(self) -> list[str]:
        """Each change as ``word key``, in the order in which they came."""
        return [f"{change['word']} {change['key']}" for notice in self.notices for change in notice["changes"]]

    def take(self) -> list[str]:
        """The same, and forgets them."""
        words = self.words
        self.notices.clear()
        return words


@dataclass
class Looking:
    """A deployment whose alerts a test drives; ``latency`` is what each look's call seems to take (s)."""

    world: World
    notebook: Notebook
    latency: float = 0.01
    places: dict[str, Place] = field(default_factory=dict)
    read: float = 0.0

    def __post_init__(self) -> None:
        self.places = self.places or {"notebook": self.notebook}
        self.alerts = self.process()

    def process(self) -> Alerts:
        """The alerts of a further process."""
        sluice = self.world.runtime
        store = AlertStore(sluice.store, sluice.settings, sluice.clock)
        given = sluice.settings
        counts = Counts(
            sluice.statistics if given.statistics else None, sluice.usage if given.commands_quota is not None else None
        )
        return Alerts(store, given, sluice.clock, self.places, counts, self._timer)

    def _timer(self) -> float:
        """Passes by the latency between two readings."""
        self.read += self.latency
        return self.read

    async def look(self, minutes: float = 2) -> list[str]:
        """Lets time pass, looks once, and returns what was told."""
        self.world.manual.advance(60 * minutes)
        await self.world.raw("HSET", self.world.runtime.queue.keys.stats, "tick_at", str(self.world.clock.now()))
        await self.alerts.run(Budget(50))
        return self.notebook.take()

    async def state(self) -> Any:
        """What the store keeps."""
        return json.loads(await self.world.raw("HGET", self.world.runtime.queue.keys.alerts, "state") or "{}")


@asynccontextmanager
async def looking(server: RunningServer | None = None, **changes: Any) -> AsyncIterator[Looking]:
    """A deployment that keeps its notices in a notebook."""
    async with make_world(server, ManualClock(), alert_log=True, **changes) as world:
        yield Looking(world, Notebook())


@asynccontextmanager
async def receiving(server: RunningServer | None = None, **changes: Any) -> AsyncIterator[tuple[World, Receiver]]:
    """A deployment that tells Slack, Discord and a webhook, all on this machine."""
    async with receiver() as place:
        urls = {
            "slack_webhook_url": place.url("/slack/T0/B0/secret-of-slack"),
            "discord_webhook_url": place.url("/discord/1/secret-of-discord"),
            "alert_webhook_url": place.url("/alerts?token=secret-of-webhook"),
        }
        # The library that verifies has no other clock than the machine's.
        clock = ManualClock(SystemClock().now())
        async with make_world(server, clock, **{"allow_loopback": True, **urls, **changes}) as world:
            yield world, place


async def in_trouble(world: World, name: str = "acme/bad") -> None:
    """One look is enough for an alert about this model."""
    job = await world.enqueue(start=True, model="acme/bad")
    await world.runtime.queue.snooze(job, 1, delay=3600, code="billing", pause=True, status=402)
    pauses = f"{world.runtime.queue.keys.root}p:0"
    since = await world.raw("HGET", pauses, "since")
    await world.raw("HSET", pauses, f"model:{name}", since)
    world.manual.advance(120)


async def look(world: World) -> None:
    await world.runtime.alerts.run(Budget(50))


async def refuse_webhooks(place: Looking) -> None:
    """From now on, one look is enough for an alert."""
    await place.world.raw("HSET", place.world.runtime.queue.keys.stats, "webhook_refused_at", "9" * 13)


async def verify_webhooks(place: Looking) -> None:
    """That trouble is over."""
    await place.world.raw("HDEL", place.world.runtime.queue.keys.stats, "webhook_refused_at")
