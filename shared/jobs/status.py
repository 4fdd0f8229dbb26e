"""Reads a job's status through the cache, and does what a lost webhook or a dead function has left undone."""

import functools
import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from shared.budget import Budget
from shared.cache import Cache, Remembered
from shared.clock import Clock
from shared.config.access import may_read
from shared.config.settings import Settings
from shared.dispatch.dispatcher import Dispatcher
from shared.dispatch.reconciler import Reconciler
from shared.documents.job import JobDocument, job_document
from shared.errors import JobNotFound, StoreError, StoreRefused, StoreScriptError
from shared.frozen import dataclass
from shared.jobqueue import JobQueue, Outlook, Records
from shared.jobqueue.record import JobRecord, is_job_id
from shared.jobqueue.state import JobState
from shared.jobqueue.terms import provider_in
from shared.jobs.explanation import awaits_an_end, explain
from shared.jobs.pace import pause_of, question_gap
from shared.log import log
from shared.outbox.scope import Scope
from shared.outbox.worker import OutboxWorker
from shared.storage.bucket import Bucket
from shared.storage.files import gone_before

ASK_TIMEOUT = 5.0  # s; a person may wait for a poll, so it asks briefly and does at most one round of work
MAX_OUTLOOKS = 4096
PLACE_POLLS = 2  # polls that come when they are asked to show the same place and estimate
FULL_PATIENCE = 6  # times as rarely a poll looks for room, if its job awaits the end of another one
LONG_WAIT = 60  # times WAITING_CHECK_INTERVAL; the index may have lost a job that has waited for so long
# The ETag of a job that does not wait has the usual times of its model, in ms: so each process knows them.
NOT_WAITING = re.compile(r'W/"n(\d{1,9})\.(\d{1,9})-')


Hinter = tuple[str, str | None]  # the owner, and the user if one asks with a token


def _to_json(document: JobDocument) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


@dataclass(frozen=True)
class StatusView:
    """A job's public document as JSON, made once for all its polls. ``is_final``: it will not change again.

    ``poll_after`` is in how many s another poll is worth its price.
    """

    owner: str
    user: str
    body: bytes
    etag: str
    is_final: bool
    poll_after: float


@dataclass(frozen=True)
class Seen:
    """A job's outlook, as this process has read it. That of a waiting job is good until ``until`` (ms).

    ``incarnation`` is that of the job, or empty if only its end is known. Another job may get its id after a delete.
    """

    outlook: Outlook
    incarnation: str = ""
    place: tuple[object, ...] = ()  # what it depends on, besides other jobs
    until: int = 0

    def is_good(self, now: int) -> bool:
        return not self.place or now < self.until  # mutant: place

    def shows(self, job: JobRecord) -> bool:
        """Whether it is the outlook of this job, where it is now."""
        is_same = self.incarnation == job.incarnation  # mutant: another job of this id
        return is_same and (not job.is_waiting or self.place == _place_of(job))  # mutant: place of another state


def _place_of(job: JobRecord) -> tuple[object, ...]:
    return (job.state, job.attempt, job.priority, job.due_at, job.lane)


def _usual_times(known_etag: str) -> Outlook | None:
    """Returns what an ETag says of the model's runs; None if it says nothing, or the job waited."""
    found = NOT_WAITING.match(known_etag)
    if not found or not int(found.group(1)):  # mutant: hint of nothing
        return None
    return Outlook(p50=int(found.group(1)), p90=int(found.group(2)))


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
        self._seen: OrderedDict[str, Seen] = OrderedDict()

    async def view(
        self, caller: str, job_id: str, known_etag: str = "", *, by_user: str | None = None
    ) -> Remembered[StatusView]:
        """Returns the caller's job as it is now; raises JobNotFound if it is unknown or another owner's.

        ``known_etag`` is the tag of an earlier view: it says whether the job was waiting then. ``by_user`` reads with a
        token: another user's job is not found either.
        """
        if not is_job_id(job_id):
            raise JobNotFound
        hint = _usual_times(known_etag)
        # Also of an ended job for this time only: another process may delete it, and its id may be used again.
        ttl = self._settings.status_cache_ttl
        remembered = await self._cache.remember(
            job_id, ttl, lambda: self._load(job_id, (caller, by_user), hint), lambda view: len(view.body)
        )
        if not may_read(caller, remembered.value.owner):  # mutant: owner
            raise JobNotFound
        if by_user not in (None, remembered.value.user):  # mutant: job of another user
            raise JobNotFound
        return remembered

    def left(self, remembered: Remembered[StatusView]) -> float:
        """Returns for how many seconds a caller may keep the view."""
        return self._cache.left(remembered)

    def forget(self, job_id: str, *, ended: bool = False) -> None:
        """Makes the next poll in this process read the store, after this process has changed the job."""
        self._cache.forget(job_id)
        if ended:
            self._remember(job_id, Seen(Outlook()))
        else:
            self._forget_place(job_id)

    async def _load(self, job_id: str, hinter: Hinter, hint: Outlook | None) -> StatusView:
        job, outlook = await self._read(job_id, hinter, hint)
        try:
            if await self._repair(job, outlook):
                self._forget_place(job_id)
                job, outlook = await self._read(job_id, hinter, hint)
        except StoreError as error:
            log.warning("repair_failed", job=job_id, code=error.code, cause=error.cause)
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
        kind = "w" if job.is_waiting else f"n{outlook.p50}.{outlook.p90}"
        return StatusView(job.owner, job.user, body, f'W/"{kind}-{tag}"', is_final, self._pause(job, outlook))

    def _pause(self, job: JobRecord, outlook: Outlook) -> float:
        now, is_reported = self._clock.now(), self._reconciler.webhooks.are_expected(provider_in(job.lane))
        return pause_of(job, outlook, self._settings, now, is_reported=is_reported)

    async def _read(self, job_id: str, hinter: Hinter, hint: Outlook | None) -> tuple[JobRecord, Outlook]:
        """Reads the job in one call: by one command if it does not wait, or if its place was read a moment ago."""
        seen, now = self._seen.get(job_id), self._clock.now()
        if hint or (seen and seen.is_good(now)):
            job = await self._records.read(job_id)
            if seen and seen.is_good(now) and seen.shows(job):
                return job, seen.outlook
            if job.is_terminal:
                return job, Outlook()
            # The view is kept for all callers, so only a hint of the owner's, or of the job's user, counts.
            is_own = hinter in ((job.owner, None), (job.owner, job.user))  # mutant: hint of a stranger
            if hint and not job.is_waiting and is_own:
                return job, hint
        try:
            job, outlook = await self._records.explain(job_id)
        except (StoreRefused, StoreScriptError):
            # A store that refuses scripts (full, or a read-only token) still answers a plain read.
            return await self._records.read(job_id), Outlook()
        if job.is_waiting:
            until = now + round(PLACE_POLLS * self._pause(job, outlook) * 1000)
            self._remember(job_id, Seen(outlook, job.incarnation, _place_of(job), until))
        else:
            self._remember(job_id, Seen(outlook, job.incarnation))
        return job, outlook

    def _forget_place(self, job_id: str) -> None:
        if (seen := self._seen.get(job_id)) and seen.place:
            del self._seen[job_id]

    def _remember(self, job_id: str, seen: Seen) -> None:
        self._seen[job_id] = seen
        self._seen.move_to_end(job_id)
        while len(self._seen) > MAX_OUTLOOKS:
            self._seen.popitem(last=False)

    async def _repair(self, job: JobRecord, outlook: Outlook) -> bool:
        """Asks about an overdue run, or looks for room for a waiting job; returns whether the job may have changed."""
        now, s = self._clock.now(), self._settings
        is_reported = self._reconciler.webhooks.are_expected(provider_in(job.lane))
        gap = question_gap(job, outlook, s, now, is_reported=is_reported)
        awaits = awaits_an_end(job, outlook, s)
        repair: Callable[[JobRecord, Budget], Awaitable[bool]]
        if job.is_overdue(now, round(gap * 1000)):
            repair = functools.partial(self._ask, gap)
        elif self._waits_for_storage(job, now):
            repair = self._take_up
        elif self._waits_for_dispatch(job, now, awaits):
            repair = functools.partial(self._look_for_room, awaits)
        else:
            return False
        budget = Budget.of_function(self._settings)
        # The scope ends before the job is read again, so that read shows its follow-ups too.
        async with Scope(self._worker, budget, about=job.id):
            return await repair(job, budget)

    async def _ask(self, gap: float, job: JobRecord, budget: Budget) -> bool:
        overdue = await self._queue.check(job.id, gap)
        if overdue is None:
            return False
        want = functools.partial(self._dispatcher.want, budget)
        ended = await self._reconciler.ask(overdue, ASK_TIMEOUT, want)
        await self._dispatcher.follow(ended, budget, provider=overdue.provider, job_id=job.id, max_rounds=1)
        return True

    async def _take_up(self, job: JobRecord, _: Budget) -> bool:
        self._dispatched_at = self._clock.now()
        await self._worker.take_up(job.id)
        return True

    async def _look_for_room(self, awaits_an_end: bool, job: JobRecord, budget: Budget) -> bool:
        self._dispatched_at = now = self._clock.now()
        has_waited_long = now >= job.created_at + LONG_WAIT * self._settings.waiting_check_interval * 1000
        may_be_lost = job.state is not JobState.QUEUED or not awaits_an_end or has_waited_long
        if may_be_lost:
            await self._queue.rehome(self._queue.keys.user(job.owner, job.user), [job.id], whole=False)
        report = await self._dispatcher.run(budget, max_rounds=1)
        return may_be_lost or bool(report.started or report.expired or report.has_made_room)

    def _waits_for_storage(self, job: JobRecord, now: int) -> bool:
        """Whether the function that began to copy the job's files seems to have died."""
        s = self._settings
        is_late = job.is_storing and now >= (job.ended_at or now) + s.lease * 1000
        return is_late and now - self._dispatched_at >= s.waiting_check_interval * 1000

    def _waits_for_dispatch(self, job: JobRecord, now: int, awaits_an_end: bool) -> bool:
        """Whether this poll looks for work: rarely in each process, because most jobs only have to wait."""
        s = self._settings
        since = now - self._dispatched_at
        patience = s.waiting_check_interval * 1000 * (FULL_PATIENCE if awaits_an_end else 1)  # mutant: no room
        if job.is_due(now):
            return since >= s.status_check_interval * 1000
        if since < patience:
            return False
        if job.state is JobState.SUBMITTING:
            lapses_at = (job.submitted_at or now) + s.lease * 1000
            return now >= (min(lapses_at, job.overdue_at or lapses_at) if job.is_lost else lapses_at)
        return job.state in (JobState.QUEUED, JobState.BACKLOG) and now >= (job.created_at or now) + patience
