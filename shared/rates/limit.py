"""One rate, counted in the store by Upstash's own limiter; this module loads its package.

A window begins with the first call, and each window fills the bucket again. A call that is refused takes nothing. The
limiter reads the time of this process, and not the store's.
"""

import math
from collections.abc import Sequence
from typing import Any

from upstash_ratelimit.asyncio import Ratelimit, TokenBucket

from shared.clock import Clock
from shared.config.rates import Rate
from shared.rates.quota import Quota
from shared.rates.refused import Refused
from shared.store import Store


class _Evaluator:
    """The one method of upstash-redis' client that the limiter calls, over the store with its deadlines and bounds."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def eval(self, script: str, keys: Sequence[str], arguments: Sequence[object]) -> Any:
        return await self._store.execute("EVAL", script, str(len(keys)), *keys, *map(str, arguments))


class Limit:
    """A rate of any number of keys, users or client addresses. Belongs to one event loop."""

    def __init__(self, name: str, rate: Rate, store: Store, prefix: str, clock: Clock) -> None:
        self._name = name
        self.rate = rate
        self._clock = clock
        self._refused = Refused(clock)
        # Not the sliding window of 1.2.0: it counts what it refuses, if several are asked for at once (limiter.py).
        bucket = TokenBucket(rate.count, rate.count, rate.seconds)
        self._ratelimit = Ratelimit(_Evaluator(store), bucket, prefix)  # type: ignore[arg-type]

    def known_refusal(self, who: str, count: int) -> Quota | None:
        """Returns the quota of a caller whom this process knows to be refused; None if the store has to say."""
        wait = self._refused.wait(who, count)
        return Quota(self._name, self.rate, 0, wait, is_refused=True) if wait else None  # mutant: known refusal

    async def take(self, who: str, count: int) -> Quota:
        """Takes so many of the caller's, all or none. Raises StoreError; a lost answer may have taken them twice."""
        answer = await self._ratelimit.limit(who, count)
        wait = max(1, math.ceil(answer.reset - self._clock.now() / 1000))
        if not answer.allowed:
            self._refused.note(who, wait, count)
        return Quota(self._name, self.rate, answer.remaining, wait, is_refused=not answer.allowed)
