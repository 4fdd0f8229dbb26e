"""A whole deployment to measure: the composed application as Lambda calls it, and a store in its own process.

The provider is in this process. It records each create and its time, and takes no time itself.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from bench.invocations import SUBMISSION, event
from bench.servers import store_process
from shared import runtime
from shared.cache import Cache
from shared.clock import Clock
from shared.config.settings import Settings
from shared.providers.base import Accepted, Prediction, Submission
from shared.providers.replicate_api import Replicate
from shared.runtime import Runtime
from shared.signing.webhooks import sign
from shared.store import open_store

CONTEXT: Any = None  # Lambda's second argument; no function reads it
OUTPUT = ["https://replicate.delivery/xezq/abc/out.mp4"]
# Two jobs at the provider fill the system; the provider's rate never makes a job wait.
SETTINGS = {
    "DISPATCH_ON_SUBMIT": "true",
    "MAX_CONCURRENT_TASKS": "2",
    "PROVIDER_RATES": "replicate:60000",
    "STATUS_CACHE_TTL": "2",
    "CHECK_INTERVAL": "30",
}
SCHEDULED = {"version": "0", "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}


@contextmanager
def entered_store() -> Iterator[str]:
    """Yields the URL of an empty store in another process; this process's environment becomes its deployment's."""
    with store_process(SETTINGS) as variables:
        os.environ.clear()
        os.environ.update(variables)
        yield variables["UPSTASH_REDIS_REST_URL"]


class RecordingProvider(Replicate):
    """Replicate without the network: it accepts each create at once, and ends predictions at the times in ``ends``."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        super().__init__(settings)
        self._clock = clock
        self.created: list[Submission] = []
        self.asked_at = 0.0  # s of time.perf_counter(), for the last create
        self.ends: dict[str, int] = {}  # ms of the clock, by prediction
        self.asked = 0  # questions about predictions

    async def create(self, submission: Submission, timeout: float) -> Accepted:
        self.asked_at = time.perf_counter()
        self.created.append(submission)
        return Accepted(Prediction(prediction_id(len(self.created) - 1), "running"))

    async def get(self, prediction_id: str, timeout: float) -> Prediction:
        self.asked += 1
        is_over = self._clock.now() >= self.ends.get(prediction_id, self._clock.now() + 1)
        return (
            Prediction(prediction_id, "completed", output=OUTPUT) if is_over else Prediction(prediction_id, "running")
        )


def prediction_id(number: int) -> str:
    """Returns the id of the created prediction of this number, counted from 0."""
    return f"p{number:025d}"


class Deployment:
    """Calls the functions as an application, a provider and a schedule do, one event after another."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: Settings, clock: Clock) -> None:
        from functions import index, process_queue  # their modules read the settings
        from shared.application import create_handler

        self.settings = settings
        self.provider = RecordingProvider(settings, clock)
        self._clock = clock
        self._loop = loop
        self._http = create_handler(index.app)
        self._scheduled: Callable[[Any, Any], Any] = process_queue.handler
        self._runtime = Runtime(settings, open_store(settings), clock, providers={"replicate": self.provider})
        self._runtime.cache = Cache(clock=lambda: clock.now() / 1000)  # views age by the deployment's clock
        self._key = {"authorization": f"Bearer {settings.callers['app']}", "content-type": "application/json"}
        self._users = 0

    def __enter__(self) -> "Deployment":
        self._loop.run_until_complete(self._install())
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._close())

    async def _close(self) -> None:
        await self._runtime.close()
        await asyncio.sleep(0)  # in which the loop closes the sockets; the store's process waits for them

    async def _install(self) -> None:
        runtime.install(self._runtime)

    def submission(self) -> dict[str, Any]:
        """Returns the submit of a new user."""
        self._users += 1
        body = json.dumps({**SUBMISSION, "user_id": f"user{self._users}"})
        return event("POST", "/api/submit", self._key) | {"body": body}

    def webhook(self, number: int) -> dict[str, Any]:
        """Returns the webhook of the completed prediction of this number, counted from 0."""
        url, prediction = urlsplit(self.provider.created[number].webhook_url or ""), prediction_id(number)
        document = {"id": prediction, "status": "succeeded", "output": OUTPUT, "logs": "100%|###| 50/50"}
        body, stamp, message = json.dumps(document), self._clock.now() // 1000, f"msg_{prediction}"
        signature = sign(self.settings.replicate_webhook_secrets[0], message, stamp, body.encode())
        headers = {"webhook-id": message, "webhook-timestamp": str(stamp), "webhook-signature": signature}
        return event("POST", url.path, {**headers, "content-type": "application/json"}, url.query) | {"body": body}

    def poll(self, job: str) -> dict[str, Any]:
        """Returns the poll of a job's status."""
        return event("GET", f"/api/status/{job}", self._key)

    def call(self, given: dict[str, Any]) -> Any:
        """Invokes the application and returns the document that it answers."""
        return json.loads(self.answer(given)["body"])

    def answer(self, given: dict[str, Any]) -> Any:
        """Invokes the application and returns its whole answer, as Lambda gets it."""
        answer = self._http(given, CONTEXT)
        assert answer["statusCode"] in (200, 202), answer
        return answer

    def tick(self) -> None:
        """Invokes the function that the schedule calls."""
        self._scheduled(SCHEDULED, CONTEXT)


@contextmanager
def own_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Yields a new event loop as the thread's own, which Mangum and the clients use; newer Pythons make none."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield loop
    finally:
        loop.close()
