"""The simulator's clock: real time plus an offset that tests move forward."""

import asyncio
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """Keeps the simulator's time in unix seconds and wakes each task whose moment has come.

    It follows the monotonic clock, so that an adjusted system clock cannot make a prediction end before its start.
    """

    def __init__(self) -> None:
        self._origin = time.time() - time.monotonic()
        self._offset = 0.0
        self._moved = asyncio.Event()

    def now(self) -> float:
        """Returns the simulated time, in unix seconds."""
        return self._origin + time.monotonic() + self._offset

    def real(self) -> float:
        """Returns the time without the offset, which a webhook's receiver compares with a signature's timestamp."""
        return self._origin + time.monotonic()

    def advance(self, seconds: float) -> None:
        """Moves the simulated time forward and wakes every waiting task."""
        self._offset += seconds
        self.nudge()

    def rewind(self) -> None:
        """Returns to real time."""
        self._offset = 0.0
        self.nudge()

    def nudge(self) -> None:
        """Wakes every waiting task to look again, since the time or its moment has moved."""
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def reach(self, moment: Callable[[], float]) -> None:
        """Returns once `moment()` has come; calls it again after every nudge. It may be infinite."""
        while (left := moment() - self.now()) > 0:
            try:
                await asyncio.wait_for(self._moved.wait(), None if math.isinf(left) else left)
            except TimeoutError:
                continue


def iso(moment: float) -> str:
    """Writes a time as the API does: `2026-02-26T15:02:03.352123Z`."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
