"""How many calls may be under way at once, and how many may wait to begin."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Crowded(Exception):
    """The call was not begun: too many wait, or its turn did not come in time."""


class Turnstile:
    """Lets so many calls in at once, in the order in which they came. Belongs to one event loop.

    More calls under way would not be faster: they share one core, one network and the other side's limits. A call that
    waits here has surely sent nothing. Calls that go first pass all others, and any number of them may wait.
    """

    def __init__(self, at_once: int, max_waiting: int) -> None:
        self._free = at_once  # none while a call waits
        self._max_waiting = max_waiting
        self._first: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()

    async def enter(self, patience: float, *, goes_first: bool = False) -> None:
        """Returns when the call may begin; raises Crowded, at the latest after ``patience`` s. Then ``leave``."""
        if self._free:
            self._free -= 1
            return
        queue = self._first if goes_first else self._others  # mutant: goes first
        if queue is self._others and len(queue) >= self._max_waiting:  # mutant: too many wait
            raise Crowded
        loop = asyncio.get_running_loop()
        until, turn = loop.time() + patience, loop.create_future()
        queue.append(turn)
        try:
            async with asyncio.timeout_at(until):
                await turn
        except TimeoutError:
            self._give_up(queue, turn)
            raise Crowded from None  # mutant: waited in vain
        except asyncio.CancelledError:
            self._give_up(queue, turn)
            raise
        if loop.time() > until:  # the process stood still, and the call would have no time left
            self.leave()
            raise Crowded

    def _give_up(self, queue: deque[asyncio.Future[None]], turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            self.leave()  # its turn came at the same moment
        elif turn in queue:
            queue.remove(turn)

    def leave(self) -> None:
        """Lets the next call in."""
        for queue in (self._first, self._others):
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._free += 1

    @asynccontextmanager
    async def turn(self, patience: float) -> AsyncIterator[None]:
        """Enters, and leaves after the block; raises as ``enter``."""
        await self.enter(patience)
        try:
            yield
        finally:
            self.leave()
