"""Gives reports and spans a moment to leave, before the answer after which a platform may freeze the process.

All work is done by then, so no job waits for it. Answers wait together, in a thread of the receiver's own: the loop's
threads are for the store's look-ups. A receiver that was too slow is not waited for again for a minute.
"""

import asyncio
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATIENCE = 1.0  # s; at most so long an answer waits for them
TRY = 0.9  # s; a try ends before the answers that wait for it give up
REST = 60.0  # s


class Outlet(Protocol):
    """What is to be sent, and sends it in a thread of its own. No method raises."""

    @property
    def is_empty(self) -> bool: ...

    def begin(self) -> None:
        """Has all sent, and waits for nothing."""

    def flush(self, seconds: float) -> bool:
        """Has all sent, and blocks until what is there now has left, or the time is over; returns whether it has."""


class _Line:
    """The answers that wait for one outlet."""

    def __init__(self, outlet: Outlet) -> None:
        self.outlet = outlet
        self._rests_until = 0.0  # s of the monotonic clock; 0: the last try was in time
        self._executor: ThreadPoolExecutor | None = None
        self._last: Future[None] | None = None

    async def wait(self) -> None:
        """Waits for at most PATIENCE until what the outlet has now has left."""
        if self._is_resting():
            self.outlet.begin()
            return
        if self._last is None or self._last.done() or self._last.running():  # mutant: one flush for all
            # One that runs may have begun before this answer's spans. One that waits for its turn has not.
            self._executor = self._executor or ThreadPoolExecutor(1, thread_name_prefix="flush")
            self._last = self._executor.submit(self._try)
        await asyncio.wait([asyncio.wrap_future(self._last)], timeout=PATIENCE)

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def _is_resting(self) -> bool:
        """Whether no answer is to wait; after a rest, one answer tries, and the others go on meanwhile."""
        now = time.monotonic()
        if now < self._rests_until:
            return True
        if self._rests_until:
            self._rests_until = now + REST  # mutant: one answer tries
        return False

    def _try(self) -> None:
        is_in_time = self.outlet.flush(TRY)
        self._rests_until = 0.0 if is_in_time else time.monotonic() + REST  # mutant: no patience left


_lines: list[_Line] = []


def add(outlet: Outlet) -> None:
    """Makes the outlet one of this process."""
    _lines.append(_Line(outlet))


def remove(outlet: Outlet) -> None:
    """Takes the outlet out again: for tests."""
    for line in [line for line in _lines if line.outlet is outlet]:
        line.close()
        _lines.remove(line)


def is_needed() -> bool:
    """Whether this process has anything to flush, ever."""
    return bool(_lines)


async def flush() -> None:
    """Waits until what all outlets have now has left, for at most PATIENCE. One that rests sends without that."""
    full = [line.wait() for line in _lines if not line.outlet.is_empty]
    if full:
        await asyncio.gather(*full)


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
