"""Gives reports and spans a moment to leave, before the answer after which a platform may freeze the process.

All work is done by then, so no job waits for it. A receiver that has no time left is not waited for again for a minute.
"""

import asyncio
import time
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATIENCE = 1.0  # s; at most so long an answer waits for them
REST = 60.0  # s


class Outlet(Protocol):
    """What is to be sent, and sends it in a thread of its own."""

    @property
    def is_empty(self) -> bool: ...

    def flush(self, seconds: float) -> None:
        """Has all sent, and blocks until it is or the time is over. Raises nothing."""


_outlets: list[Outlet] = []
_rests_until: dict[Outlet, float] = {}  # s of the monotonic clock


def add(outlet: Outlet) -> None:
    """Makes the outlet one of this process."""
    _outlets.append(outlet)


def remove(outlet: Outlet) -> None:
    """Takes the outlet out again: for tests."""
    _outlets.remove(outlet)
    _rests_until.pop(outlet, None)


def is_needed() -> bool:
    """Whether this process has anything to flush, ever."""
    return bool(_outlets)


async def flush() -> None:
    """Waits until all outlets are empty, for at most PATIENCE. One that rests sends too, and is not waited for."""
    now = time.monotonic()
    full = [outlet for outlet in _outlets if not outlet.is_empty]
    waited = [outlet for outlet in full if _rests_until.get(outlet, now) <= now]
    for outlet in full:
        if outlet not in waited:
            outlet.flush(0)
    await asyncio.gather(*(asyncio.to_thread(outlet.flush, PATIENCE) for outlet in waited))
    for outlet in waited:
        if not outlet.is_empty:
            _rests_until[outlet] = time.monotonic() + REST  # mutant: no patience left


class Flushed:
    """Flushes before the last part of each answer is sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_flushed(message: Message) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                await flush()
            await send(message)

        await self._app(scope, receive, send_flushed)
