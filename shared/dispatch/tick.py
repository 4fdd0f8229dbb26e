"""One bounded scheduled run: it does the work that lost webhooks and ended functions have left undone.

Every tick dispatches: it starts ready jobs, and checks overdue ones. Once in SWEEP_EVERY seconds, a tick also trims
the history (1 call, 3 billed commands), and has the statistics summed if there are any. The store has the moment of the
last sweep, so the schedule's minute does not matter; a process asks for it (1 command) only when it has not done so for
SWEEP_EVERY. The sweep then walks on through the users' sets, to find jobs that the index or a set has lost. An eviction
or a failover can lose them, and no other path notices that for a job that is never polled. In the remaining time, it
drops files that are older than STORAGE_RETENTION.
"""

from collections.abc import Awaitable, Callable, Coroutine

from shared.budget import Budget
from shared.clock import Clock
from shared.config.settings import Settings
from shared.dispatch.dispatcher import Dispatcher, Report
from shared.errors import StoreError
from shared.jobqueue import History, JobQueue, Records, Spending
from shared.jobqueue.periods import month_of
from shared.log import log
from shared.outbox.scope import Scope
from shared.outbox.worker import OutboxWorker
from shared.storage.retention import Retention
from shared.together import together

SWEEP_EVERY = 900.0  # s; if ticks are rarer, each of them sweeps
FORGETS_EVERY = 97 * SWEEP_EVERY  # s, about a day; a prime of sweeps, so that each part of a long walk has its turn
LONGEST_WAIT = 30 * 86_400_000  # ms; a job of the month before last has ended, see queue_ttl
SWEEP_KEYS = 1000  # keys of the store that one sweep walks past; only users' sets cost more commands


class Tick:
    """The scheduled run."""

    def __init__(
        self,
        queue: JobQueue,
        records: Records,
        history: History,
        dispatcher: Dispatcher,
        worker: OutboxWorker,
        retention: Retention,
        spending: Spending,
        settings: Settings,
        clock: Clock,
        fold: Callable[[Budget, bool], Awaitable[None]] | None = None,
        look: Callable[[Budget], Coroutine[object, object, None]] | None = None,
    ) -> None:
        """``look`` is for alerts. It runs beside the rest, delays nothing, and raises nothing but a cancellation."""
        self._look = look
        self._fold = fold
        self._queue = queue
        self._records = records
        self._history = history
        self._dispatcher = dispatcher
        self._worker = worker
        self._retention = retention
        self._spending = spending
        self._settings = settings
        self._clock = clock
        self._swept_at = 0  # ms; the last sweep that this process knows of

    async def run(self) -> Report:
        """Starts ready jobs, checks overdue ones, works off the outbox, records a heartbeat, and may sweep."""
        budget = Budget(self._settings.tick_budget)
        async with Scope(self._worker, budget, is_waited_for=False, looks=False) as scope:
            report = await self._dispatcher.run(budget, tick=True, max_rounds=1)
            looks = [self._look(budget)] if self._look else []  # mutant: looks beside the rest
            failures: list[Exception] = []
            await together(self._go_on_beside(budget, report, failures), *looks)
            if failures:
                raise failures[0]
        report.followed_up += scope.begun
        return report

    async def _go_on_beside(self, budget: Budget, report: Report, failures: list[Exception]) -> None:
        """Adds a failure to the list, since raising it would cancel the look: a notice may be on its way."""
        try:
            await self._go_on(budget, report)
        except Exception as error:  # mutant: failure beside a look
            failures.append(error)

    async def _go_on(self, budget: Budget, report: Report) -> None:
        # At the same time, so a slow provider does not delay events, and slow endpoints do not delay starts.
        failures: list[StoreError] = []
        await together(self._dispatch_on(budget, report), self._work_off(budget, report, failures))
        if failures:
            raise failures[0]
        await self._second_pass(budget, report)
        await self._sweep_if_due(budget)

    async def _dispatch_on(self, budget: Budget, report: Report) -> None:
        if report.is_more and not report.throttled:
            report.add(await self._dispatcher.run(budget))

    async def _work_off(self, budget: Budget, report: Report, failures: list[StoreError]) -> None:
        """Adds a failure to the list, since raising it would cancel the dispatch: a create may be under way."""
        if not report.follow_ups:
            return
        try:
            report.followed_up += await self._worker.run(budget)
        except StoreError as error:  # mutant: failure of the outbox
            failures.append(error)

    async def _second_pass(self, budget: Budget, report: Report) -> None:
        """Dispatches a second time, for a schedule that cannot call more often than every minute."""
        wait = budget.left - (self._settings.tick_budget - self._settings.tick_second_pass)
        if self._settings.tick_second_pass == 0 or wait < 0:
            return
        await self._clock.sleep(wait)
        report.add(await self._dispatcher.run(budget))

    async def _trim(self, budget: Budget) -> None:
        """Trims the history, in as many steps as it needs and the time allows."""
        while budget.left > 2 * self._settings.store_total_timeout:
            trimmed = await self._history.trim()
            if trimmed.removed or trimmed.archived:
                log.info("history_trimmed", removed=trimmed.removed, archived=trimmed.archived)
            if not trimmed.archived:
                return

    async def _sweep_if_due(self, budget: Budget) -> None:
        """Sweeps unless another tick, of any process, has done so in the last SWEEP_EVERY s."""
        now, every = self._clock.now(), round(SWEEP_EVERY * 1000)
        if now < self._swept_at + every:
            return
        swept_at, cursor = await self._records.last_sweep()
        is_recent = abs(now - swept_at) < every  # mutant: last sweep
        self._swept_at = swept_at if is_recent else now
        if not is_recent:
            day = round(FORGETS_EVERY * 1000)
            await self._sweep(budget, cursor, forgets=bool(swept_at) and now // day != swept_at // day)

    async def _sweep(self, budget: Budget, cursor: str, *, forgets: bool) -> None:
        """Trims the history, rehomes the users of one step of the walk, and drops old files, as the time allows.

        With ``forgets`` it also drops the figures of models that had no run for long.

        A later sweep does the rest.
        """
        await self._trim(budget)
        walked = await self._records.walk(SWEEP_KEYS, cursor)
        for user in walked.users:
            if budget.left < self._settings.store_total_timeout:
                break
            await self._rehome(user)
        for lane in walked.lanes:
            if budget.left < self._settings.store_total_timeout:
                break
            if await self._worker.restore_lane(lane):
                log.error("lane_restored", lane=lane)
        if forgets and budget.left >= self._settings.store_total_timeout:
            await self._records.forget_runs(walked.models)
        if self._fold is not None:
            await self._fold(budget, forgets)  # behind what heals, and before a walk that may take all the time
        await self._retention.sweep(budget)  # mutant: before a long walk
        await self._reclaim(budget)

    async def _reclaim(self, budget: Budget) -> None:
        """Releases reservations of this month and the last whose jobs are gone; an error is logged and ends no tick."""
        now = self._clock.now()
        months = {month_of(now - LONGEST_WAIT), month_of(now)} if self._settings.budget_limits else set()
        try:
            for month in sorted(months):
                await self._reclaim_month(budget, month)
        except StoreError as error:  # mutant: failure of a walk
            log.exception("reclaim_failed", error=type(error).__name__)

    async def _reclaim_month(self, budget: Budget, month: str) -> None:
        """Walks on through the month's reservations, as far as the time allows."""
        while budget.left >= 2 * self._settings.store_total_timeout:
            reclaimed, is_more = await self._spending.reclaim(month)
            if reclaimed:
                log.error("reservations_reclaimed", count=reclaimed)
            if not is_more:
                return

    async def _rehome(self, user: str) -> None:
        """Puts back what the store has lost of a user's jobs; an error is logged, so it ends no sweep."""
        try:
            if rehomed := await self._queue.rehome(user):
                log.error("jobs_rehomed", count=rehomed)
        except Exception as error:
            log.exception("rehome_failed", user=user, error=type(error).__name__)
