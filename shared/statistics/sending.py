"""Sends what a process has counted: one command each time, with the first call that ends after the wait.

what waits          is sent after     so a process that ends, or gets no more calls, loses at most
callers' refusals   URGENT_AFTER      those of the last minute
all else            AFTER             that of the last quarter of an hour

What was sent without an answer is sent again under its number, so it counts once.
"""

import asyncio

from shared.clock import Clock
from shared.errors import StoreError
from shared.jobqueue.constants import MAX_UNSUMMED
from shared.jobqueue.keys import Keys
from shared.log import log
from shared.statistics.entries import OF_PROCESS
from shared.store import Store
from shared.tally import Tally

URGENT_AFTER = 60_000  # ms
AFTER = 900_000  # ms
GAP = 10_000  # ms


class Sending:
    """Sends a tally's amounts. Never raises: what could not be sent is sent later."""

    def __init__(self, tally: Tally, store: Store, keys: Keys, clock: Clock) -> None:
        self.tally = tally
        self._store = store
        self._keys = keys
        self._clock = clock
        self._tried_at = 0
        self._one_at_a_time = asyncio.Lock()  # a scrape may send while a call does

    @property
    def is_due(self) -> bool:
        """Whether enough waits, for long enough."""
        tally, now = self.tally, self._clock.now()
        if now < self._tried_at + GAP or not tally.since:
            return False
        is_urgent = bool(tally.urgent_since) and now >= tally.urgent_since + URGENT_AFTER  # mutant: refusals soon
        return is_urgent or now >= tally.since + AFTER

    async def send_if_due(self, after: BaseException | None = None) -> None:
        """Sends what waits, if it is due; not behind an error of the store, which another call would wait for again.

        Platforms freeze a process with its answer, so a call sends before it answers.
        """
        if self.is_due and not isinstance(after, StoreError):  # mutant: failing store
            await self.send()

    async def send(self) -> None:
        """Sends all that waits; at most two commands, the first of which repeats what got no answer."""
        self._tried_at = self._clock.now()
        async with self._one_at_a_time:
            while sent := self.tally.take():
                try:
                    await self._store.execute(
                        "XADD", self._keys.entries, "MAXLEN", "~", str(MAX_UNSUMMED), "*", OF_PROCESS, sent.written()
                    )
                except StoreError as error:
                    log.warning("sums_not_sent", code=error.code)
                    return
                self.tally.confirm(sent)
