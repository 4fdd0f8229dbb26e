"""How many calls may be under way at once, and how many may wait to begin."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Crowded(Exception):
    """The call was not begun: too many wait, or its turn did not come in time."""


class Turnstile:
    """Lets so many calls in at once, in the order in which they came. Belongs to one event loop.

    More calls under way would not be faster: they share one core, one network and the other side's limits. A call that
    waits here has surely sent nothing.
    """

    def __init__(self, at_once: int, max_waiting: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._max_waiting = max_waiting
        self._waiting = 0

    async def enter(self, patience: float) -> None:
        """Returns when the call may begin; raises Crowded, at the latest after ``patience`` s. Then ``leave``."""
        if not self._free.locked():
            await self._free.acquire()
            return
        if self._waiting >= self._max_waiting:  # mutant: too many wait
            raise Crowded
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        self._waiting += 1
        try:
            async with asyncio.timeout_at(until):
                await self._free.acquire()
        except TimeoutError:
            raise Crowded from None  # mutant: waited in vain
        finally:
            self._waiting -= 1
        if loop.time() > until:  # the process stood still, and the call would have no time left
            self.leave()
            raise Crowded

    def leave(self) -> None:
        """Lets the next call in."""
        self._free.release()

    @asynccontextmanager
    async def turn(self, patience: float) -> AsyncIterator[None]:
        """Enters, and leaves after the block; raises as ``enter``."""
        await self.enter(patience)
        try:
            yield
        finally:
            self.leave()
