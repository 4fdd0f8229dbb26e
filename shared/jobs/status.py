"""Reads a job's status through the cache, and repairs on the way what a lost webhook or a dead function left."""

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

TERMINAL_TTL = 30.0  # s; a terminal job does not change, but what is kept is bounded in time as well as in number
MAX_KEPT_BYTES = 256 * 1024  # of a document kept; a larger one is still read once for all who ask at the same time
ASK_TIMEOUT = 5.0  # s; somebody waits for this answer, so a poll asks shortly and does one round of work at most


MAX_OUTLOOKS = 4096
WAITING, NOT_WAITING = 'W/"w-', 'W/"n-'  # what an ETag begins with


def _written(document: JobDocument) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


@dataclass(frozen=True)
class StatusView:
    """A job's public document, written out once for all who poll it. ``is_final``: nothing of it will change."""

    owner: str
    body: bytes
    etag: str
    is_final: bool


class Statuses:
    """Answers polls. In one process and ``STATUS_CACHE_TTL``, any number of polls of a job cost one store read."""

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
        self._outlooks: OrderedDict[str, Outlook] = (
            OrderedDict()
        )  # of jobs seen here that do not wait: nothing to explain

    async def view(self, caller: str, job_id: str, known_etag: str = "") -> Remembered[StatusView]:
        """The job as its owner may see it now; JobNotFound, whether it is unknown or somebody else's.

        ``known_etag``, of an earlier view, tells a process that has not seen the job whether it waited then.
        """
        if not is_job_id(job_id):
            raise JobNotFound
        is_hinted = known_etag.startswith(NOT_WAITING)
        remembered = await self._cache.remember(job_id, self._ttl, lambda: self._load(job_id, is_hinted))
        if remembered.value.owner != caller:  # mutant: owner
            raise JobNotFound
        return remembered

    def left(self, remembered: Remembered[StatusView]) -> float:
        """For how many seconds a poller may keep the view."""
        return self._cache.left(remembered)

    def forget(self, job_id: str, *, ended: bool = False) -> None:
        """Makes the next poll in this process read the store, after a change made here."""
        self._cache.forget(job_id)
        if ended:
            self._remember_outlook(job_id, Outlook())

    def _ttl(self, view: StatusView) -> float:
        if len(view.body) > MAX_KEPT_BYTES:
            return 0.0
        return TERMINAL_TTL if view.is_final else self._settings.status_cache_ttl

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
        body = _written(document)
        # Weak, and without the estimates: a document stands while nothing but the time has changed.
        lasting = body if job.is_terminal else _written({**document, "eta_seconds": None, "eta_p90_seconds": None})
        tag = hashlib.sha256(lasting).hexdigest()[:24]
        is_final = job.is_terminal and not job.is_storing
        return StatusView(job.owner, body, f'{WAITING if job.is_waiting else NOT_WAITING}{tag}"', is_final)

    async def _read(self, job_id: str, is_hinted: bool = False) -> tuple[JobRecord, Outlook]:
        """One call: a plain read, which costs less, where this process knows that nothing need be explained."""
        if is_hinted or job_id in self._outlooks:
            job, outlook = await self._records.read(job_id), self._outlooks.get(job_id, Outlook())
            if not job.is_waiting:
                return job, outlook
        try:
            job, outlook = await self._records.explain(job_id)
        except (StoreRefused, StoreScriptError):
            # A store that takes no scripts (full, or a token that may only read) still answers a plain read.
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
        """Asks about an overdue run, and looks for room when a job waits; says whether the job may have changed."""
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
        # Left before the job is read again, which then shows what came of it.
        async with Scope(self._worker, budget, about=job.id):
            return await repair(job, budget)

    async def _ask(self, job: JobRecord, budget: Budget) -> bool:
        overdue = await self._queue.check(job.id)
        if overdue is None:
            return False
        ended = await self._reconciler.ask(overdue, ASK_TIMEOUT)
        if ended.makes_room:
            await self._dispatcher.run(budget, most_rounds=1)
        return True

    async def _take_up(self, job: JobRecord, _: Budget) -> bool:
        self._dispatched_at = self._clock.now()
        await self._worker.take_up(job.id)
        return True

    async def _look_for_room(self, job: JobRecord, budget: Budget) -> bool:
        self._dispatched_at = self._clock.now()
        # A job that waits for long may be one that the index has lost.
        await self._queue.rehome(self._queue.keys.user(job.owner, job.user), [job.id], whole=False)
        await self._dispatcher.run(budget, most_rounds=1)
        return True

    def _waits_for_storage(self, job: JobRecord, now: int) -> bool:
        """Whether the copy of its files seems to have been given up by the function that began it."""
        s = self._settings
        is_late = job.is_storing and now >= (job.ended_at or now) + s.lease * 1000
        return is_late and now - self._dispatched_at >= s.waiting_check_interval * 1000

    def _waits_for_dispatch(self, job: JobRecord, now: int) -> bool:
        """Whether this poll looks for work: rarely in each process, since mostly nothing but patience is missing."""
        s = self._settings
        since = now - self._dispatched_at
        if job.is_due(now):
            return since >= s.status_check_interval * 1000
        if since < s.waiting_check_interval * 1000:
            return False
        if job.state is JobState.SUBMITTING:
            return now >= (job.submitted_at or now) + s.lease * 1000
        return (
            job.state in (JobState.QUEUED, JobState.BACKLOG)
            and now >= (job.created_at or now) + s.waiting_check_interval * 1000
        )
