"""Plays a scenario of bench.trouble through the functions: callers, the provider's webhooks and a tick each minute.

Time is simulated. The rest is real: the composed application, its scripts on the engine, and the provider's module.
Calls take no time and follow one another, so each run is the same.
"""

import heapq
import itertools
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from bench.account import Account, AccountProvider, Run
from bench.engine import EngineStore, bench_settings
from bench.trouble import GUILTY, INNOCENT, Call, Trouble
from shared import runtime
from shared.clock import ManualClock
from shared.config.settings import Settings
from shared.runtime import Runtime
from shared.signing.webhooks import sign

TICK = 60_000  # ms; the default of TICK_PERIOD
MIN_PAUSE = 1_000  # ms before a refused submit is repeated
PATIENCE = 2 * 3600_000  # ms after the last call; then the rest counts as not served
KEYS = {INNOCENT: "key-of-the-app-in-benches", GUILTY: "key-of-the-studio-in-benches"}
PROCESSOR = "processor-token-in-benches"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PUBLIC = "https://queue.acme-studio.net"


@dataclass
class Told:
    """What one innocent job met; times are in ms of the scenario, None for what did not happen."""

    asked_at: int
    turned_away: int = 0  # submits that got a 503
    admitted_at: int | None = None
    started_at: int | None = None  # its first prediction
    payments: int = 0  # predictions that succeeded


@dataclass
class Story:
    """The outcome of a scenario, for the innocent jobs by prompt."""

    jobs: dict[str, Told] = field(default_factory=dict)
    creates: int = 0
    ended_at: int = 0
    full_at: int | None = None  # when all slots were in use again after the storm


def play_settings(trouble: Trouble) -> Settings:
    """Returns the default settings of a deployment with the scenario's API keys and policy."""
    own: dict[str, Any] = {
        "max_queue_size": 1000,
        "provider_rates": "",
        "public_base_url": PUBLIC,
        "replicate_webhook_secret": SECRET,
        "api_keys": ",".join(f"{name}:{KEYS[name]}" for name in trouble.keys),
        "priority_policy": trouble.policy,
        "queue_processor_token": PROCESSOR,
        "signing_secret": "signing-secret-in-benches",
    }
    return bench_settings(**own)


@contextmanager
def _repeatable() -> Iterator[None]:
    """Makes the jitter of the code under test the same in each run."""
    before = random.getstate()
    random.seed(7)
    try:
        yield
    finally:
        random.setstate(before)


class Neighbours:
    """One scenario under way. Events of one moment come in this order: ends, calls, ticks."""

    def __init__(self, trouble: Trouble, store: EngineStore, settings: Settings) -> None:
        self._trouble = trouble
        self._settings = settings
        self._clock = ManualClock()
        self._began = self._clock.now()
        storm = trouble.storm and (self._began + trouble.storm[0], self._began + trouble.storm[1])
        self._account = Account(self._clock, trouble.plans, storm)
        providers = {"replicate": AccountProvider(settings, self._account)}
        self._runtime = Runtime(settings, store, self._clock, providers=providers)
        self._numbers = itertools.count()
        self._events: list[tuple[int, int, int, Run | Call | None]] = []
        self._running = 0
        self._waiting = {prompt for call in trouble.innocent for prompt in call.prompts}
        self.story = Story()

    async def play(self) -> Story:
        """Returns the story once every innocent job has run, or PATIENCE is over."""
        from functions.index import app

        runtime.install(self._runtime)
        transport = httpx.ASGITransport(app=app)
        for call in self._trouble.calls:
            self._plan(call.at, call)
        self._plan(TICK, None)
        async with httpx.AsyncClient(transport=transport, base_url=PUBLIC) as client:
            while self._waiting and self._now < self._trouble.calls[-1].at + PATIENCE:
                moment, _, _, what = heapq.heappop(self._events)
                self._clock.true_now = self._began + moment
                await self._happen(client, what)
                self._take_up()
        self.story.creates, self.story.ended_at = self._account.creates, self._now
        return self.story

    @property
    def _now(self) -> int:
        return self._clock.now() - self._began

    def _plan(self, moment: int, what: Run | Call | None) -> None:
        kind = (Run, Call, type(None)).index(type(what))
        heapq.heappush(self._events, (moment, kind, next(self._numbers), what))

    async def _happen(self, client: httpx.AsyncClient, what: Run | Call | None) -> None:
        if isinstance(what, Run):
            await self._end(client, what)
        elif isinstance(what, Call):
            await self._call(client, what)
        else:
            headers = {"Authorization": f"Bearer {PROCESSOR}"}
            (await client.post("/api/process-queue", headers=headers)).raise_for_status()
            self._plan(self._now + TICK, None)

    async def _call(self, client: httpx.AsyncClient, call: Call) -> None:
        """Submits; an innocent caller repeats it as the answer asks, a guilty one makes its next call anyway."""
        headers = {"Authorization": f"Bearer {KEYS[call.key]}", "Idempotency-Key": call.prompts[0]}
        answer = await client.post(call.path, json=call.body, headers=headers)
        assert answer.status_code in (200, 202, 429, 503), answer.text
        if not call.is_innocent:
            return
        told = self.story.jobs.setdefault(call.prompts[0], Told(call.at))
        if answer.status_code == 202:
            told.admitted_at = self._now
        else:
            told.turned_away += answer.status_code == 503
            self._plan(self._now + max(MIN_PAUSE, 1000 * int(answer.headers["retry-after"])), call)

    async def _end(self, client: httpx.AsyncClient, run: Run) -> None:
        """Sends the webhook of a prediction that ends now, unless it was cancelled before."""
        if self._clock.now() != run.ends_at:
            return
        self._running -= 1
        if run.prompt in self.story.jobs and run.outcome == "succeeded":
            self.story.jobs[run.prompt].payments += 1
        url = urlsplit(run.webhook or "")
        body = httpx.Response(200, json=run.shown(self._clock.now())).content
        stamp, message = self._clock.now() // 1000, f"msg_{run.id}"
        headers = {
            "webhook-id": message,
            "webhook-timestamp": str(stamp),
            "webhook-signature": sign(SECRET, message, stamp, body),
            "content-type": "application/json",
        }
        (await client.post(f"{url.path}?{url.query}", content=body, headers=headers)).raise_for_status()
        self._waiting.discard(run.prompt)

    def _take_up(self) -> None:
        """Plans the ends of the predictions that the last event has made or cancelled."""
        for run in self._account.changed:
            self._plan(run.ends_at - self._began, run)
            if run.outcome != "canceled":
                self._running += 1
                told = self.story.jobs.get(run.prompt)
                if told is not None and told.started_at is None:
                    told.started_at = self._now
        self._account.changed.clear()
        storm = self._trouble.storm
        is_full = self._running >= self._settings.max_concurrent_tasks
        if storm and self._now >= storm[1] and is_full and self.story.full_at is None:
            self.story.full_at = self._now


async def tell(trouble: Trouble, store: EngineStore) -> Story:
    """Plays a scenario on an empty store."""
    await store.execute("FLUSHALL")
    with _repeatable():
        return await Neighbours(trouble, store, play_settings(trouble)).play()


def enter() -> None:
    """Makes this process's environment one in which the functions can be imported; each run has its own settings."""
    os.environ.update({"SLUICE_ENV": "test", "USE_REDIS_FOR_TASKS": "false", "LOG_LEVEL": "ERROR"})
