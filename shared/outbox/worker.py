"""Does the follow-ups of ended jobs: stores their files and notifies their owners.

do      does one row that a script has leased to this call; see scope.py
run     does the due rows of the outbox, lane by lane; a lane that fails or hangs does not delay others
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from shared.budget import Budget
from shared.clock import Clock
from shared.config.settings import Settings
from shared.errors import StoreError
from shared.hooks.delivery import Deliveries
from shared.jobqueue import FollowUp, Lane, Outbox
from shared.jobqueue.constants import HOOK_LEASE
from shared.log import log
from shared.outbox.storing import Storing

MAX_JOBS = 4  # jobs whose files one run stores at a time
MAX_LANES = 32
ROWS = 20  # events of a lane in one claim
AT_ONCE = 4  # events of a lane
LOOK_EVERY = 30.0  # s; between two looks of a process for other due rows
RARE_TICKS = 600.0  # s; if ticks are rarer than this, other calls do their work
MARGIN = 5.0  # s of a lease that must be left when a delivery begins


class OutboxWorker:
    """Stores files and delivers events, as the outbox says."""

    def __init__(
        self, queue: Outbox, storing: Storing, deliveries: Deliveries, settings: Settings, clock: Clock
    ) -> None:
        self._queue = queue
        self._storing = storing
        self._deliveries = deliveries
        self._settings = settings
        self._clock = clock
        self._looked_at = 0

    async def do(self, row: FollowUp, budget: Budget) -> bool:
        """Stores a job's files or delivers an event. Never raises: a failed row comes back when its lease ends."""
        return await self._guarded(row.id, self._do(row, budget))

    async def run(self, budget: Budget) -> int:
        """Does due rows until none is left or the time is over; returns their number.

        Runs in a scope, which delivers the events that follow from stored files.
        """
        copies: set[asyncio.Task[bool]] = set()
        lanes: set[asyncio.Task[bool]] = set()
        collector = self._queue.follow_ups.collector
        taken, is_more = 0, True
        try:
            while budget.left > self._needs:
                if is_more:
                    most = MAX_LANES - len(lanes)
                    collector.is_more = False
                    due = await self._queue.claim(MAX_JOBS - len(copies), most, ROWS)
                    taken += len(due[0]) + sum(len(lane.rows) for lane in due[1])
                    copies |= {asyncio.create_task(self._work_at(job, budget)) for job in due[0]}
                    lanes |= {asyncio.create_task(self._work_off(lane, budget)) for lane in due[1]}
                    is_full = len(due[1]) == most
                active = copies | lanes
                if not active:
                    break
                done, _ = await asyncio.wait(active, timeout=budget.left, return_when=asyncio.FIRST_COMPLETED)
                copies, lanes = copies - done, lanes - done
                # After a full claim, more rows may be due, even if these failed.
                is_more = is_full or collector.is_more or any(task.result() for task in done)
        finally:
            # Each of them ends within its reserved time.
            await asyncio.gather(*copies, *lanes)
        return taken

    @property
    def are_ticks_rare(self) -> bool:
        """Whether other calls must do a tick's work at the outbox."""
        return self._settings.tick_period > RARE_TICKS

    def may_look(self) -> bool:
        """Whether this call looks for other due rows: only if ticks are rare, and not in every call."""
        now = self._clock.now()
        if not self.are_ticks_rare or now < self._looked_at + LOOK_EVERY * 1000:
            return False
        self._looked_at = now
        return True

    async def restore_lane(self, lane: str) -> bool:
        """Puts back a lane that the outbox has lost; returns whether it was lost."""
        return await self._queue.restore(lane=lane)

    async def take_up(self, job_id: str) -> None:
        """Makes the storing of a job's files a follow-up of this call, unless another call seems to do it."""
        if await self._queue.restore(job_id=job_id):
            log.error("copy_restored", job=job_id)
        jobs, _ = await self._queue.claim(1, 0, 0, only=job_id)
        for job in jobs:
            self._queue.follow_ups.collector.add(job)

    def may_begin(self, row: FollowUp, budget: Budget) -> bool:
        """Whether there is time for a row. Copies end by themselves when the time is over, and are due again then."""
        return row.what == "store" or budget.left >= self._needs

    async def give_back(self, rows: Sequence[FollowUp], budget: Budget) -> None:
        """Leaves rows that this call does not do to the next look at the outbox, without waiting for their leases.

        A host that has failed stays leased: it is asked by one caller at a time. Without time, or an answer of the
        store, the leases end by themselves.
        """
        left = [row for row in rows if not row.is_probe]
        if not left or budget.left < self._settings.store_total_timeout:
            return
        try:
            log.info("follow_ups_given_back", count=await self._queue.release(left))
        except StoreError as error:
            log.warning("follow_ups_stay_leased", code=error.code, cause=error.cause)

    @property
    def _needs(self) -> float:
        """The s that must be left to begin a row: the time of a delivery and of its record."""
        return self._settings.hook_timeout + self._settings.store_total_timeout

    async def _do(self, row: FollowUp, budget: Budget) -> bool:
        if row.what == "store":
            await self._storing.store(row, budget)
            return True
        leased_for = (self._clock.now() - row.noted_at) / 1000
        # mutant: lease left
        if budget.left < self._needs or leased_for > HOOK_LEASE / 1000 - self._settings.hook_timeout - MARGIN:
            return True  # its lease may end before the answer, and another call would then deliver it too
        return await self._deliveries.deliver(row)

    async def _work_at(self, row: FollowUp, budget: Budget) -> bool:
        """Stores one job's files; returns True, because more may be due."""
        await self.do(row, budget)
        return True

    async def _work_off(self, lane: Lane, budget: Budget) -> bool:
        """Delivers a lane's events, a few at a time, until its host fails; returns whether more may be due."""
        rows, is_well = list(lane.rows), True
        while rows and is_well and budget.left > self._needs:
            batch, rows = rows[:AT_ONCE], rows[AT_ONCE:]
            works = (self._guarded(row.id, self._deliveries.deliver(row, lane)) for row in batch)
            is_well = all(await asyncio.gather(*works))
        return is_well and not rows

    async def _guarded(self, of: str, work: Coroutine[Any, Any, bool]) -> bool:
        """Does one row and logs its error, so the others go on; the row comes back when its lease ends."""
        try:
            return await work
        except Exception as error:
            log.exception("follow_up_failed", of=of, error=type(error).__name__)
            return False
