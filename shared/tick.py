"""One bounded scheduled run: whatever events have missed.

Every tick dispatches, which also hands out what is overdue. Every SWEEP_EVERY-th minute's tick also walks on through
the users' sets, to find jobs that the index or a set has lost: what an eviction or a failover can do to a store, and
what no other path would notice for a job that nobody asks about.
"""

from shared.budget import Budget
from shared.clock import Clock
from shared.dispatcher import Dispatcher, Report
from shared.jobqueue import JobQueue
from shared.log import log
from shared.settings import Settings

SWEEP_EVERY = 15
SWEEP_KEYS = 1000  # keys of the store that one sweep walks past; only users' sets among them cost further commands


class Tick:
    """What the schedule calls."""

    def __init__(self, queue: JobQueue, dispatcher: Dispatcher, settings: Settings, clock: Clock) -> None:
        self._queue = queue
        self._dispatcher = dispatcher
        self._settings = settings
        self._clock = clock

    async def run(self) -> Report:
        """Starts what may start, looks at what is overdue, leaves a heartbeat, and now and then sweeps."""
        number = self._clock.now() // round(self._settings.tick_period * 1000)
        if number % SWEEP_EVERY == 0:
            await self.sweep()
        return await self._dispatcher.run(Budget(self._settings.tick_budget), tick=True)

    async def sweep(self) -> int:
        """Walks one step through the users' sets; says how many jobs found their way back into the index."""
        rehomed = await self._queue.sweep(SWEEP_KEYS)
        if rehomed:
            log.error("jobs_rehomed", count=rehomed)
        return rehomed
