"""The simulator's clock: real time plus an offset that tests move forward."""

import asyncio
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """Tells the simulator's time in unix seconds and wakes whoever waits for a moment that has come.

    It follows the monotonic clock, so that an adjusted system clock cannot make a prediction finish before it started.
    """

    def __init__(self) -> None:
        self._origin = time.time() - time.monotonic()
        self._offset = 0.0
        self._moved = asyncio.Event()

    def now(self) -> float:
        """Returns the simulated time, in unix seconds."""
        return self._origin + time.monotonic() + self._offset

    def real(self) -> float:
        """Returns the time without the offset: what a receiver of a webhook compares a signature's timestamp with."""
        return self._origin + time.monotonic()

    def advance(self, seconds: float) -> None:
        """Moves the simulated time forward and wakes every waiter."""
        self._offset += seconds
        self.nudge()

    def rewind(self) -> None:
        """Returns to real time."""
        self._offset = 0.0
        self.nudge()

    def nudge(self) -> None:
        """Wakes every waiter to look again: the time moved, or the moment it waits for did."""
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def reach(self, moment: Callable[[], float]) -> None:
        """Returns once `moment()` has come; it is asked again after every nudge, and may be infinitely far away."""
        while (left := moment() - self.now()) > 0:
            try:
                await asyncio.wait_for(self._moved.wait(), None if math.isinf(left) else left)
            except TimeoutError:
                continue


def iso(moment: float) -> str:
    """Writes a time the way the API does: `2026-02-26T15:02:03.352123Z`."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
