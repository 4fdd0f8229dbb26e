"""Reads a job's status through the cache, and does what a lost webhook or a dead function has left undone."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shared.budget import Budget
from shared.cache import Cache, Remembered
from shared.clock import Clock
from shared.config.settings import Settings
from shared.dispatch.dispatcher import Dispatcher
from shared.dispatch.reconciler import Reconciler
from shared.documents.job import JobDocument, job_document
from shared.errors import JobNotFound, StoreError, StoreRefused, StoreScriptError
from shared.jobqueue import JobQueue, Outlook, Records
from shared.jobqueue.record import JobRecord, is_job_id
from shared.jobqueue.state import JobState
from shared.jobs.explanation import explain
from shared.log import log
from shared.outbox.scope import Scope
from shared.outbox.worker import OutboxWorker
from shared.storage.bucket import Bucket
from shared.storage.files import gone_before

ASK_TIMEOUT = 5.0  # s; a person may wait for a poll, so it asks briefly and does at most one round of work
MAX_OUTLOOKS = 4096
WAITING, NOT_WAITING = 'W/"w-', 'W/"n-'  # the beginnings of ETags


def _to_json(document: JobDocument) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


@dataclass(frozen=True)
class StatusView:
    """A job's public document as JSON, made once for all its polls. ``is_final``: it will not change again."""

    owner: str
    body: bytes
    etag: str
    is_final: bool


class Statuses:
    """Answers polls. In one process, all polls of a job within ``STATUS_CACHE_TTL`` cost one read of the store."""

    def __init__(
        self,
        queue: JobQueue,
        records: Records,
        reconciler: Reconciler,
        dispatcher: Dispatcher,
        cache: Cache,
        bucket: Bucket,
        worker: OutboxWorker,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._bucket = bucket
        self._worker = worker
        self._queue = queue
        self._records = records
        self._reconciler = reconciler
        self._dispatcher = dispatcher
        self._cache = cache
        self._settings = settings
        self._clock = clock
        self._dispatched_at = 0
        # Of jobs that this process has seen and that do not wait: they need no explanation.
        self._outlooks: OrderedDict[str, Outlook] = OrderedDict()

    async def view(self, caller: str, job_id: str, known_etag: str = "") -> Remembered[StatusView]:
        """Returns the caller's job as it is now; raises JobNotFound if it is unknown or another owner's.

        ``known_etag`` is the tag of an earlier view: it says whether the job was waiting then.
        """
        if not is_job_id(job_id):
            raise JobNotFound
        is_hinted = known_etag.startswith(NOT_WAITING)
        # Also of an ended job for this time only: another process may delete it, and its id may be used again.
        ttl = self._settings.status_cache_ttl
        remembered = await self._cache.remember(
            job_id, ttl, lambda: self._load(job_id, is_hinted), lambda view: len(view.body)
        )
        if remembered.value.owner != caller:  # mutant: owner
            raise JobNotFound
        return remembered

    def left(self, remembered: Remembered[StatusView]) -> float:
        """Returns for how many seconds a caller may keep the view."""
        return self._cache.left(remembered)

    def forget(self, job_id: str, *, ended: bool = False) -> None:
        """Makes the next poll in this process read the store, after this process has changed the job."""
        self._cache.forget(job_id)
        if ended:
            self._remember_outlook(job_id, Outlook())

    async def _load(self, job_id: str, is_hinted: bool) -> StatusView:
        job, outlook = await self._read(job_id, is_hinted)
        try:
            if await self._repair(job):
                job, outlook = await self._read(job_id)
        except StoreError as error:
            log.warning("repair_failed", job=job_id, code=error.code)
        now = self._clock.now()
        explained = explain(job, outlook, self._settings, now)

        def url_of(key: str) -> str:
            return self._bucket.url(key, now)

        gone = gone_before(self._settings, now)
        document = job_document(job, explained, url_of, gone_before=gone)
        body = _to_json(document)
        # The ETag is weak and leaves out the estimates, so it stays the same while only the time changes.
        lasting = body if job.is_terminal else _to_json({**document, "eta_seconds": None, "eta_p90_seconds": None})
        tag = hashlib.sha256(lasting).hexdigest()[:24]
        is_final = job.is_terminal and not job.is_storing
        return StatusView(job.owner, body, f'{WAITING if job.is_waiting else NOT_WAITING}{tag}"', is_final)

    async def _read(self, job_id: str, is_hinted: bool = False) -> tuple[JobRecord, Outlook]:
        """Reads the job in one call: a plain read, which costs less, if the job is known not to wait."""
        if is_hinted or job_id in self._outlooks:
            job, outlook = await self._records.read(job_id), self._outlooks.get(job_id, Outlook())
            if not job.is_waiting:
                return job, outlook
        try:
            job, outlook = await self._records.explain(job_id)
        except (StoreRefused, StoreScriptError):
            # A store that refuses scripts (full, or a read-only token) still answers a plain read.
            return await self._records.read(job_id), Outlook()
        if job.is_waiting:
            self._outlooks.pop(job_id, None)
        else:
            self._remember_outlook(job_id, outlook)
        return job, outlook

    def _remember_outlook(self, job_id: str, outlook: Outlook) -> None:
        self._outlooks[job_id] = outlook
        self._outlooks.move_to_end(job_id)
        while len(self._outlooks) > MAX_OUTLOOKS:
            self._outlooks.popitem(last=False)

    async def _repair(self, job: JobRecord) -> bool:
        """Asks about an overdue run, or looks for room for a waiting job; returns whether the job may have changed."""
        now = self._clock.now()
        if job.is_overdue(now, round(self._settings.status_check_interval * 1000)):
            repair: Callable[[JobRecord, Budget], Awaitable[bool]] = self._ask
        elif self._waits_for_storage(job, now):
            repair = self._take_up
        elif self._waits_for_dispatch(job, now):
            repair = self._look_for_room
        else:
            return False
        budget = Budget.of_function(self._settings)
        # The scope ends before the job is read again, so that read shows its follow-ups too.
        async with Scope(self._worker, budget, about=job.id):
            return await repair(job, budget)

    async def _ask(self, job: JobRecord, budget: Budget) -> bool:
        overdue = await self._queue.check(job.id)
        if overdue is None:
            return False
        ended = await self._reconciler.ask(overdue, ASK_TIMEOUT)
        if ended.makes_room:
            await self._dispatcher.run(budget, max_rounds=1)
        return True

    async def _take_up(self, job: JobRecord, _: Budget) -> bool:
        self._dispatched_at = self._clock.now()
        await self._worker.take_up(job.id)
        return True

    async def _look_for_room(self, job: JobRecord, budget: Budget) -> bool:
        self._dispatched_at = self._clock.now()
        # The index may have lost a job that waits for long.
        await self._queue.rehome(self._queue.keys.user(job.owner, job.user), [job.id], whole=False)
        await self._dispatcher.run(budget, max_rounds=1)
        return True

    def _waits_for_storage(self, job: JobRecord, now: int) -> bool:
        """Whether the function that began to copy the job's files seems to have died."""
        s = self._settings
        is_late = job.is_storing and now >= (job.ended_at or now) + s.lease * 1000
        return is_late and now - self._dispatched_at >= s.waiting_check_interval * 1000

    def _waits_for_dispatch(self, job: JobRecord, now: int) -> bool:
        """Whether this poll looks for work: rarely in each process, because most jobs only have to wait."""
        s = self._settings
        since = now - self._dispatched_at
        if job.is_due(now):
            return since >= s.status_check_interval * 1000
        if since < s.waiting_check_interval * 1000:
            return False
        if job.state is JobState.SUBMITTING:
            lapses_at = (job.submitted_at or now) + s.lease * 1000
            return now >= (min(lapses_at, job.overdue_at or lapses_at) if job.is_lost else lapses_at)
        return (
            job.state in (JobState.QUEUED, JobState.BACKLOG)
            and now >= (job.created_at or now) + s.waiting_check_interval * 1000
        )
