"""A small cache in this process: it keeps loaded values for a moment, and loads each only once at a time.

The number and the bytes of its values are bounded. A value's age counts from the start of its load, because it may show
the state of that moment.
Errors are never kept; all callers that waited for a failed load get its error.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from shared.frozen import dataclass

if TYPE_CHECKING:
    from shared.tally import Tally

Value = TypeVar("Value")

MAX_BYTES = 16 * 1024 * 1024  # of all values of a cache
MAX_VALUE = 256 * 1024  # bytes; callers at the same time still share one load of a larger value
UNWEIGHED = 1024  # bytes; about what a small object takes


@dataclass(frozen=True)
class Remembered(Generic[Value]):
    """A value, and the time (s, by the cache's clock) until which it may be used."""

    value: Value
    good_until: float


def _unweighed(_: object) -> int:
    return UNWEIGHED


class Cache:
    """Holds at most ``size`` values of ``max_bytes`` in all, dropping the least recently used.

    Belongs to one event loop. A ``tally`` counts how often a value was there, and how often it was loaded.
    """

    tally: "Tally | None" = None

    def __init__(
        self, size: int = 1024, *, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._size = size
        self._max_bytes = max_bytes
        self._clock = clock
        self._values: OrderedDict[str, Remembered[Any]] = OrderedDict()
        self._weights: dict[str, int] = {}
        self.held_bytes = 0  # of all values, as their callers weighed them
        self._loads: dict[str, asyncio.Task[Remembered[Any]]] = {}

    async def remember(
        self,
        key: str,
        ttl: float,
        load: Callable[[], Awaitable[Value]],
        weigh: Callable[[Value], int] = _unweighed,
    ) -> Remembered[Value]:
        """Returns the value of ``key``; loads it unless a value is kept that is still good.

        ``ttl`` is in seconds. ``weigh`` returns a value's bytes; one with more than MAX_VALUE is good for no time.
        """
        known = self._values.get(key)
        if known is not None and known.good_until > self._clock():
            self._values.move_to_end(key)
            self._count("cache.hits")
            return known
        running = self._loads.get(key)
        self._count("cache.loads" if running is None else "cache.hits")
        if running is None:
            running = asyncio.ensure_future(self._load(key, ttl, load, weigh))
            self._loads[key] = running
            running.add_done_callback(lambda task: self._forget_load(key, task))
        # Shielded: if one caller is cancelled, the load goes on for the others.
        return await asyncio.shield(running)

    def _count(self, name: str) -> None:
        if self.tally is not None:
            self.tally.count(name)

    def forget(self, key: str) -> None:
        """Drops the value. A load under way still answers its waiting callers, and its value is not kept."""
        self._drop(key)
        self._loads.pop(key, None)

    def forget_all(self, prefix: str) -> None:
        """Drops the values of all keys that begin with ``prefix``, as ``forget`` does."""
        for key in [key for key in (*self._values, *self._loads) if key.startswith(prefix)]:
            self.forget(key)

    def left(self, remembered: Remembered[Value]) -> float:
        """Returns for how many seconds the value is still good."""
        return max(0.0, remembered.good_until - self._clock())

    async def _load(
        self, key: str, ttl: float, load: Callable[[], Awaitable[Value]], weigh: Callable[[Value], int]
    ) -> Remembered[Value]:
        began = self._clock()
        value = await load()
        weight = weigh(value)
        # mutant: heavy value
        remembered = Remembered(value, began + (ttl if weight <= MAX_VALUE else 0.0))
        if self._loads.get(key) is asyncio.current_task():
            self._keep(key, remembered, weight)
        return remembered

    def _keep(self, key: str, remembered: Remembered[Value], weight: int) -> None:
        self._drop(key)
        if remembered.good_until <= self._clock():
            return
        self._values[key] = remembered
        self._weights[key] = weight
        self.held_bytes += weight
        while len(self._values) > self._size or self.held_bytes > self._max_bytes:  # mutant: bytes of a cache
            self._drop(next(iter(self._values)))

    def _drop(self, key: str) -> None:
        self._values.pop(key, None)
        self.held_bytes -= self._weights.pop(key, 0)

    def _forget_load(self, key: str, task: "asyncio.Task[Remembered[Any]]") -> None:
        if self._loads.get(key) is task:
            del self._loads[key]
        if not task.cancelled():
            task.exception()  # retrieved, so that a failed load without waiting callers causes no warning
