"""Does what is left to do when jobs have ended: stores their files, tells their owners.

drain   what the scripts have just told this process to do, which nobody else will do for a moment
run     whatever is due in the outbox, lane by lane: one that fails or hangs holds up nobody else
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from shared.budget import Budget
from shared.clock import Clock
from shared.hooks.delivery import Deliveries
from shared.jobqueue import FollowUp, Lane, OutboxQueue
from shared.jobqueue.follow_ups import HOOK_LEASE
from shared.log import log
from shared.settings import Settings
from shared.storing import Storing

MOST_JOBS = 4  # whose files are stored in one run at a time
MOST_LANES = 32
ROWS = 20  # events of a lane in one claim
AT_ONCE = 4  # of a lane
WAITED_FOR = 30.0  # s; what a call that somebody waits for spends here at most
MARGIN = 5.0  # s of a lease that must be left when a delivery begins


class Outbox:
    """Works off the outbox."""

    def __init__(
        self, queue: OutboxQueue, storing: Storing, deliveries: Deliveries, settings: Settings, clock: Clock
    ) -> None:
        self._queue = queue
        self._storing = storing
        self._deliveries = deliveries
        self._settings = settings
        self._clock = clock

    async def drain(self, budget: Budget) -> None:
        """Does what this process has been told to do, as far as the time allows; free if that is nothing."""
        if await self._do_all_told(budget):
            await self.run(budget)

    async def run(self, budget: Budget) -> int:
        """Works off what is due until nothing more is, or the time is over; says how many rows it took."""
        copies: set[asyncio.Task[bool]] = set()
        lanes: set[asyncio.Task[bool]] = set()
        taken, is_more = 0, True
        while budget.left > self._needs:
            if is_more:
                due = await self._queue.claim(MOST_JOBS - len(copies), MOST_LANES - len(lanes), ROWS)
                taken += len(due[0]) + sum(len(lane.rows) for lane in due[1])
                copies |= {asyncio.create_task(self._work_at(job, budget)) for job in due[0]}
                lanes |= {asyncio.create_task(self._work_off(lane, budget)) for lane in due[1]}
            active = copies | lanes
            if not active:
                break
            done, _ = await asyncio.wait(active, timeout=budget.left, return_when=asyncio.FIRST_COMPLETED)
            copies, lanes = copies - done, lanes - done
            is_more = any(task.result() for task in done)
        # Each of them ends within what was reserved for it.
        await asyncio.gather(*copies, *lanes)
        return taken

    async def restore_lane(self, lane: str) -> bool:
        """Finds a lane again that the outbox has lost; says whether it had."""
        return await self._queue.restore(lane=lane)

    async def take_up(self, job_id: str, budget: Budget) -> None:
        """Works off what is due, the files of this job among it, which nobody seems to store."""
        if await self._queue.restore(job_id=job_id):
            log.error("copy_restored", job=job_id)
        await self.run(budget)

    async def _do_all_told(self, budget: Budget) -> bool:
        """Does what the scripts have told, and what they tell on the way; says whether more is due for anybody."""
        is_more = False
        while True:
            rows, more = self._queue.follow_ups.take()
            is_more = is_more or more
            if not rows:
                return is_more
            await asyncio.gather(*(self._guarded(row.id, self._do(row, budget)) for row in rows))

    @property
    def _needs(self) -> float:
        """s that must be left to begin anything: a delivery, and the notes about it."""
        return self._settings.hook_timeout + self._settings.store_total_timeout

    async def _do(self, row: FollowUp, budget: Budget) -> bool:
        if row.what == "store":
            await self._storing.store(row, budget)
            return True
        leased_for = (self._clock.now() - row.noted_at) / 1000
        if budget.left < self._needs or leased_for > HOOK_LEASE - self._settings.hook_timeout - MARGIN:
            return True  # by the time it is answered, somebody else may have begun
        return await self._deliveries.deliver(row)

    async def _work_at(self, row: FollowUp, budget: Budget) -> bool:
        """Stores one job's files, and delivers what comes of it; there may be more to claim."""
        await self._guarded(row.id, self._do(row, budget))
        await self._do_all_told(budget)
        return True

    async def _work_off(self, lane: Lane, budget: Budget) -> bool:
        """Delivers a lane's events, a few at a time, until its host fails; says whether it may hold more."""
        rows, is_well = list(lane.rows), True
        while rows and is_well and budget.left > self._needs:
            batch, rows = rows[:AT_ONCE], rows[AT_ONCE:]
            works = (self._guarded(row.id, self._deliveries.deliver(row, lane.name)) for row in batch)
            is_well = all(await asyncio.gather(*works))
        return is_well and not rows

    async def _guarded(self, of: str, work: Coroutine[Any, Any, bool]) -> bool:
        """One row's trouble must not keep the others from being done; its lease brings it back."""
        try:
            return await work
        except Exception as error:
            log.exception("follow_up_failed", of=of, error=type(error).__name__)
            return False
