"""The scope of a call: it does the follow-ups that the call's scripts report, before the call is answered.

After a job's end, its files must be stored and its owner notified. The script that ends the job leases this work to its
caller, for 30 s (an event) or LEASE (files). What the caller will not do, it gives back, and the next tick does it. If
the caller dies, a tick does it after the lease.

call                                        does                                   when
tick, webhook                               all of it                              at once, next to its other work
submit, poll, cancel: a person waits        its own job's, for at most 25 s;       on leaving
                                            gives back the others
the same, where ticks are rare              all of it, and what else is due        on leaving, until its time is over
other calls that a person waits for         all of it, for at most 25 s            on leaving
"""

import asyncio
from types import TracebackType

from shared.budget import Budget
from shared.errors import StoreError
from shared.jobqueue.follow_ups import Collector, FollowUp, begin_collecting, end_collecting
from shared.log import log
from shared.outbox.worker import OutboxWorker

WAITED_FOR = 25.0  # s; at most so long, a call that a person waits for works on that person's files and events


class Scope:
    """Enter it before the first script runs. Leaving never raises, and costs no store call without follow-ups.

    ``about`` is the id of the job or batch that the caller waits for; the follow-ups of others are given back. It may
    be set later. Without ``looks``, the scope never looks for other due rows, even if ticks are rare.
    """

    def __init__(
        self, worker: OutboxWorker, budget: Budget, *, about: str = "", is_waited_for: bool = True, looks: bool = True
    ) -> None:
        self.about = about
        self.budget = budget
        self.begun = 0
        self._worker = worker
        self._is_waited_for = is_waited_for
        self._looks = looks
        self._collector = Collector(begin=None if is_waited_for else self._begin)  # mutant: at once
        self._tasks: set[asyncio.Task[bool]] = set()
        self._left: list[FollowUp] = []

    async def __aenter__(self) -> "Scope":
        self._token = begin_collecting(self._collector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # A failed call may have ended jobs before. A cancelled call has no time left.
            if error is None or isinstance(error, Exception):  # mutant: failed call
                await self._follow_up(is_failed=error is not None)
        finally:
            end_collecting(self._token)
            if self._tasks:
                await self._cancel()

    async def _follow_up(self, *, is_failed: bool) -> None:
        is_rare = self._worker.are_ticks_rare and bool(self.about)
        function = self.budget
        # Where ticks are rare, a file may be gone at its provider before another call comes.
        if self._is_waited_for and not is_rare:
            self.budget = self.budget.at_most(WAITED_FOR)
        self._collector.begin = self._begin if is_rare or not self.about else self._begin_own
        for row in self._collector.take():
            self._collector.add(row)
        await self._all_done()  # mutant: all done
        if not is_failed and (is_rare or not self._is_waited_for):
            await self._look_further()
        await self._worker.give_back(self._left, function)  # mutant: given back

    async def _look_further(self) -> None:
        """Does what else is due, if this call has seen such rows or may look for them."""
        try:
            if self._collector.is_more or (self._looks and self._worker.may_look()):
                await self._worker.run(self.budget)
        except StoreError as error:
            log.warning("outbox_left", code=error.code, cause=error.cause)
        await self._all_done()

    def _begin(self, row: FollowUp) -> None:
        if not self._worker.may_begin(row, self.budget):
            self._left.append(row)
            return
        self.begun += 1
        self._tasks.add(asyncio.create_task(self._worker.do(row, self.budget)))

    def _begin_own(self, row: FollowUp) -> None:
        if row.id == self.about or row.id.startswith(f"{self.about}_"):  # mutant: own
            self._begin(row)
        else:
            self._left.append(row)

    async def _all_done(self) -> None:
        """Returns when all follow-ups that have begun, and those that follow from them, are done."""
        while self._tasks:
            tasks = tuple(self._tasks)
            await asyncio.gather(*tasks)
            self._tasks.difference_update(tasks)

    async def _cancel(self) -> None:
        """Cancels the follow-ups still under way: none may go on after the answer."""
        for task in self._tasks:
            task.cancel()
        ended, _ = await asyncio.wait(self._tasks)
        for task in ended:
            if not task.cancelled():
                task.exception()  # retrieved, so that it causes no warning: the call's own error is raised
