"""Sluice's client: its application in this process, an obedient provider, and a store over REST.

``put 200`` submits 200 jobs, each of a new user, then ends every started prediction by webhook until none is left.
``poll 200`` makes one status call for each job. ``tick 1440`` calls the schedule 1440 times, a minute apart on a clock
that moves forward.
"""

import asyncio
import os
import sys
from collections import deque
from urllib.parse import urlsplit

import httpx

from bench.environment import environment
from bench.peers.producing import announce
from shared import runtime
from shared.clock import SystemClock
from shared.jobqueue.script import VERBS, script
from shared.providers.base import Prediction
from shared.runtime import Runtime
from shared.store import open_store
from tests.world import ObedientProvider

TICK = 60  # s between two ticks
RATE = 60_000  # creates a minute: no job waits for the provider's rate
OUTPUT = ["https://replicate.delivery/xezq/abc/out.mp4"]


class MovedClock(SystemClock):
    """The machine's clock until it is first moved; from then on it stands still between two moves."""

    at: int | None = None  # ms

    def now(self) -> int:
        return super().now() if self.at is None else self.at


class Client:
    """Calls the functions as an application, a provider and a scheduler do."""

    def __init__(self, client: httpx.AsyncClient, made: Runtime, provider: ObedientProvider, clock: MovedClock) -> None:
        self._client = client
        self._settings = made.settings
        self._provider = provider
        self._clock = clock
        self._key = {"Authorization": f"Bearer {made.settings.callers['app']}"}
        self._unpolled: deque[str] = deque()
        self._users = 0
        self._ended = 0

    async def put(self) -> None:
        """Submits one job."""
        self._users += 1
        body = {"model": "acme/video", "input": {"prompt": "a lighthouse"}, "user_id": f"user{self._users}"}
        answer = await self._client.post("/api/submit", json=body, headers=self._key)
        assert answer.status_code == 202, answer.text
        self._unpolled.append(answer.json()["id"])

    async def end(self) -> None:
        """Ends every started prediction, and those that start meanwhile."""
        while self._ended < len(self._provider.created):
            submission = self._provider.created[self._ended]
            self._ended += 1
            prediction = f"p{self._ended}"
            self._provider.states[prediction] = Prediction(prediction, "completed", output=OUTPUT)
            assert submission.webhook_url is not None
            parts = urlsplit(submission.webhook_url)
            answer = await self._client.post(f"{parts.path}?{parts.query}", content=prediction.encode())
            assert answer.json() == {"result": "finished"}, answer.text
            announce()

    async def poll(self) -> str:
        """Makes one status call."""
        answer = await self._client.get(f"/api/status/{self._unpolled.popleft()}", headers=self._key)
        return str(answer.json()["status"])

    async def tick(self) -> str:
        """Makes one call of the schedule, a minute after the last."""
        self._clock.at = self._clock.now() + TICK * 1000
        token = self._settings.queue_processor_token
        assert token is not None
        headers = {"Authorization": f"Bearer {token.get_secret_value()}"}
        answer = await self._client.post("/api/process-queue", headers=headers)
        assert answer.status_code == 200, answer.text
        return "ticked"

    async def obey(self, word: str, count: int) -> str:
        """Carries out an order and returns the last status."""
        status = ""
        for _ in range(count):
            if word == "put":
                await self.put()
            else:
                status = await (self.poll if word == "poll" else self.tick)()
        if word == "put":
            await self.end()
        return status


def enter(url: str, token: str) -> None:
    """Makes this process's environment a deployment's, with the defaults of all that a caller would not set."""
    wanted = environment(url) | {
        "SLUICE_ENV": "test",
        "UPSTASH_REDIS_REST_TOKEN": token,
        "PROVIDER_RATES": f"replicate:{RATE}",
        "LOG_LEVEL": "ERROR",
    }
    for name in ("DISPATCH_ON_SUBMIT", "STATUS_CACHE_TTL", "CHECK_INTERVAL"):  # which other benches change
        wanted.pop(name)
    os.environ.clear()
    os.environ.update(wanted)


async def main() -> None:
    """Carries out orders from standard input until it ends."""
    enter(os.environ["SLUICE_URL"], os.environ["SLUICE_TOKEN"])
    from functions.index import app

    clock, provider, settings = MovedClock(), ObedientProvider(), runtime.settings()
    made = Runtime(settings, open_store(settings), clock, providers={"replicate": provider})
    runtime.install(made)
    for verb in VERBS:  # a store knows them once each has run
        await made.store.execute("SCRIPT", "LOAD", script(verb).text)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
    loop = asyncio.get_running_loop()
    async with httpx.AsyncClient(transport=transport, base_url="http://sluice.test") as client:
        caller = Client(client, made, provider, clock)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            word, count = line.split()
            print(f"= {await caller.obey(word, int(count))}", flush=True)
    await made.close()


if __name__ == "__main__":
    asyncio.run(main())
