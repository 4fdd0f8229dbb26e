"""The cases of bench.handlers: the unit, the store's client, and each function as Lambda invokes it."""

import asyncio
import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import httpx
from upstash_redis.asyncio import Redis

from bench.invocations import Invocations, submission
from bench.measure import Case
from shared import runtime
from shared.clock import SystemClock
from shared.config.settings import Settings
from shared.jobqueue import JobQueue
from shared.store.scripts import digest_of

BARE = "bare httpx.Client.post"
CLIENT = "upstash-redis async SET"
SUBMIT = "submit"
UNCACHED = "status, uncached"
CACHED = "status, cached"
UNCHANGED = "status, 304"
TICK = "process-queue, empty tick"
WEBHOOK = "webhook, completed"
HEALTH = "health"
ROWS = (BARE, CLIENT, SUBMIT, UNCACHED, CACHED, UNCHANGED, TICK, WEBHOOK, HEALTH)
CONTEXT: Any = None  # Lambda's second argument; no function reads it


class RecordingStore:
    """Keeps the last command, which shows what an enqueue sends."""

    def __init__(self) -> None:
        self.command: tuple[str, ...] = ()

    async def execute(self, *command: str) -> Any:
        self.command = command
        return ["queued", "1", "0"]

    async def close(self) -> None:
        """Does nothing."""


async def enqueue_command(settings: Settings) -> list[str]:
    """Returns the command that a submit sends to a store that knows its script."""
    store, request, clock = RecordingStore(), submission(), SystemClock()
    await JobQueue(store, settings, clock).enqueue(
        f"job_{0:032x}",
        request.fingerprint(),
        request.fields(settings, "app", settings.queue_list[0], clock.now()),
        score=request.score_and_cost(settings, clock.now())[0],
        start=False,
    )
    eval_, script, *rest = store.command
    assert eval_ == "EVAL"
    return ["EVALSHA", digest_of(script), *rest]


def references(stack: ExitStack, loop: asyncio.AbstractEventLoop, settings: Settings) -> list[Case]:
    """Returns the bare call, which is the unit, and the store's client alone; ``stack`` closes both."""
    assert settings.upstash_redis_rest_url and settings.upstash_redis_rest_token
    url, token = settings.upstash_redis_rest_url, settings.upstash_redis_rest_token.get_secret_value()
    command = loop.run_until_complete(enqueue_command(settings))
    body = json.dumps(command, ensure_ascii=False, separators=(",", ":")).encode()
    headers = {"Authorization": f"Bearer {token}", "Upstash-Encoding": "base64", "Content-Type": "application/json"}
    client = stack.enter_context(httpx.Client())
    redis = Redis(url=url, token=token, rest_retries=0, allow_telemetry=False)
    stack.callback(lambda: loop.run_until_complete(redis.close()))
    return [
        Case(
            BARE,
            lambda _: client.post(url, content=body, headers=headers),
            is_right=lambda answer: bool(answer.status_code == 200),
        ),
        Case(
            CLIENT,
            lambda _: loop.run_until_complete(redis.set("key", "value")),
            is_right=lambda answer: answer is True,
        ),
    ]


def functions(settings: Settings) -> list[Case]:
    """Returns the functions' cases; imports them here, since their modules read the settings."""
    from functions import health, process_queue, status, submit, webhook

    events = Invocations(settings)
    etag = status.handler(events.status_again(), CONTEXT)["headers"]["etag"]
    return [
        _invocation(SUBMIT, submit.handler, events.submit, 202),
        _invocation(UNCACHED, status.handler, events.status, 200),
        _invocation(CACHED, status.handler, events.status_again, 200),
        _invocation(UNCHANGED, status.handler, lambda: events.status_if_changed(etag), 304),
        _invocation(TICK, process_queue.handler, events.tick, 200),
        _invocation(WEBHOOK, webhook.handler, events.webhook, 200),
        _invocation(HEALTH, health.handler, events.health, 200),
    ]


def _invocation(
    name: str, handler: Callable[[Any, Any], Any], prepare: Callable[[], dict[str, Any]], expected: int
) -> Case:
    return Case(
        name,
        lambda event: handler(event, CONTEXT),
        prepare,
        lambda answer: bool(answer["statusCode"] == expected),
    )


async def close_clients() -> None:
    """Closes the connections that the functions have opened on this loop."""
    await runtime.current().close()
