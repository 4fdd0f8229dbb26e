"""A small cache in this process: it keeps loaded values for a moment, and loads each only once at a time.

Its size is bounded. A value's age counts from the start of its load, because it may show the state of that moment.
Errors are never kept; all callers that waited for a failed load get its error.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")
Ttl = float | Callable[[Value], float]


@dataclass(frozen=True)
class Remembered(Generic[Value]):
    """A value, and the time (s, by the cache's clock) until which it may be used."""

    value: Value
    good_until: float


class Cache:
    """Holds at most ``size`` values, dropping the least recently used. Belongs to one event loop."""

    def __init__(self, size: int = 1024, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._clock = clock
        self._values: OrderedDict[str, Remembered[Any]] = OrderedDict()
        self._loads: dict[str, asyncio.Task[Remembered[Any]]] = {}

    async def remember(self, key: str, ttl: Ttl[Value], load: Callable[[], Awaitable[Value]]) -> Remembered[Value]:
        """Returns the value of ``key``; loads it unless a value is kept that is still good.

        ``ttl`` is in seconds, or a function that returns the seconds for a given value.
        """
        known = self._values.get(key)
        if known is not None and known.good_until > self._clock():
            self._values.move_to_end(key)
            return known
        running = self._loads.get(key)
        if running is None:
            running = asyncio.ensure_future(self._load(key, ttl, load))
            self._loads[key] = running
            running.add_done_callback(lambda task: self._forget_load(key, task))
        # Shielded: if one caller is cancelled, the load goes on for the others.
        return await asyncio.shield(running)

    def forget(self, key: str) -> None:
        """Drops the value. A load under way still answers its waiting callers, and its value is not kept."""
        self._values.pop(key, None)
        self._loads.pop(key, None)

    def forget_all(self, prefix: str) -> None:
        """Drops the values of all keys that begin with ``prefix``, as ``forget`` does."""
        for key in [key for key in (*self._values, *self._loads) if key.startswith(prefix)]:
            self.forget(key)

    def left(self, remembered: Remembered[Value]) -> float:
        """Returns for how many seconds the value is still good."""
        return max(0.0, remembered.good_until - self._clock())

    async def _load(self, key: str, ttl: Ttl[Value], load: Callable[[], Awaitable[Value]]) -> Remembered[Value]:
        began = self._clock()
        value = await load()
        remembered = Remembered(value, began + (ttl(value) if callable(ttl) else ttl))
        if self._loads.get(key) is asyncio.current_task():
            self._keep(key, remembered)
        return remembered

    def _keep(self, key: str, remembered: Remembered[Value]) -> None:
        self._values[key] = remembered
        self._values.move_to_end(key)
        while len(self._values) > self._size:
            self._values.popitem(last=False)

    def _forget_load(self, key: str, task: "asyncio.Task[Remembered[Any]]") -> None:
        if self._loads.get(key) is task:
            del self._loads[key]
        if not task.cancelled():
            task.exception()  # retrieved, so that a failed load without waiting callers causes no warning
