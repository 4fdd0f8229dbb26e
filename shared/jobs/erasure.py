"""Deletes a job with its files, or all jobs and files of one user.

An erasure of a user is complete when nothing of the user lives, nothing is stored, and nothing from before can bring a
file back: no upload URL that was handed out, and no copy under way. Until then it says that it is not.

A single job's files are deleted before the job. If the storage does not answer, the job stays, and can be deleted again
with the files that are left. A copy that is under way meanwhile is not left behind: the store refuses its record, and
the call that made it removes it. A user's jobs are deleted before the files, which are found by the user's folder.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict

from shared.budget import Budget
from shared.cache import Cache
from shared.clock import Clock, iso
from shared.config.settings import Settings
from shared.dispatch.dispatcher import Dispatcher
from shared.documents.answers import ErasedUser
from shared.errors import BatchNotFound, BelongsToBatch, JobNotFound, NotTerminal, StorageUnavailable
from shared.jobqueue import History
from shared.jobqueue.history import Page
from shared.jobqueue.record import JobRecord, is_job_id
from shared.jobqueue.replies import Remains
from shared.jobs.batches import Batches
from shared.jobs.cancellation import Cancellation
from shared.jobs.request import Id
from shared.log import log
from shared.storage import layout
from shared.storage.bucket import Bucket, StorageError
from shared.storage.retention import uploads_needed_for
from shared.together import together

PAGE = 20  # jobs that are erased at the same time
BATCH, OF_BATCH = "#", "bat_"  # the beginnings of a batch in a user's set, and of the ids of its jobs
FOLDERS_AT_ONCE = 8


class ErasureQuery(BaseModel):
    """The query of ``DELETE /api/users``.

    The user is no part of the path: hosts decode a path once or twice, and drop ``.`` and ``..`` from it.
    """

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    user_id: Id
    cancel: Literal["true", "false"] = "false"


@dataclass
class Erased:
    """What is deleted so far, and the jobs that stay because they, or their batches, have not ended."""

    cancels: bool = False  # live jobs too
    jobs: int = 0
    files: int = 0
    seen: set[str] = field(default_factory=set)
    staying: set[str] = field(default_factory=set)
    has_met_copy: bool = False  # a call may be copying files of a job that was deleted


class Erasure:
    """Deletes jobs and users' data, in the store and in the storage. Safe to repeat."""

    def __init__(
        self,
        history: History,
        cancellation: Cancellation,
        batches: Batches,
        dispatcher: Dispatcher,
        bucket: Bucket,
        cache: Cache,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._history = history
        self._cancellation = cancellation
        self._batches = batches
        self._dispatcher = dispatcher
        self._bucket = bucket
        self._cache = cache
        self._settings = settings
        self._clock = clock

    async def delete_job(self, caller: str, job_id: str, budget: Budget) -> None:
        """Deletes an ended job and its files: one call to the store without files; else two, and a listing.

        Raises JobNotFound, NotTerminal or BelongsToBatch, and then changes nothing. After StorageUnavailable, the job
        looks as before, but some of its files may be gone; a repeat deletes the others.
        """
        if not is_job_id(job_id):
            raise JobNotFound
        kept = await self._history.delete(job_id, caller, files_too=bool(self._settings.storage_scheme))
        if kept is not None:
            folder = layout.job_folder(kept.ended_at, caller, kept.user, job_id)
            try:
                async with asyncio.timeout(budget.left - self._settings.store_total_timeout):
                    await self._empty(folder, Erased())
            except (StorageError, TimeoutError) as error:
                raise StorageUnavailable().because(str(error) or error) from None
            await self._history.delete(job_id, caller)
        self._cache.forget(job_id)

    async def erase_user(self, caller: str, user: str, budget: Budget, *, cancel: bool = False) -> ErasedUser:
        """Deletes a user's jobs and files; returns how many, and how many jobs live.

        With ``cancel``, live jobs and batches are cancelled first. Until the report ``is_complete``, another call goes
        on: the time was over, jobs live, or it is not ``repeat_at`` yet. Raises StorageUnavailable.
        """
        began, erased = self._clock.now(), Erased(cancels=cancel)
        # Noted before anything is deleted: another call cannot know what this one has met. The lease is for a PUT that
        # began just before its URL ended, and for clocks that differ.
        remains = await self._remains(caller, user, self._settings.storage_url_ttl + self._settings.lease)
        if cancel:
            await self._cancel(caller, remains.live, budget)
        is_done = await self._erase_jobs(caller, user, erased, budget)
        is_done = is_done and await self._erase_archived(caller, user, erased, budget)
        is_done = is_done and await self._erase_unlisted(caller, user, remains.live, erased, budget)
        if is_done and cancel:
            await self._erase_ended(caller, user, erased, budget)
        if is_done and self._settings.storage_scheme:
            is_done = await self._erase_files(caller, user, erased, budget)
        forgets = is_done and not erased.staying
        remains = await self._remains(caller, user, 0, forgets=forgets)
        erased.staying.update(member for member in remains.live if not member.startswith(BATCH))
        is_quiet = began >= remains.quiet_at  # mutant: quiet
        report: ErasedUser = {
            "jobs": erased.jobs,
            "files": erased.files,
            "live": len(erased.staying),
            "is_complete": is_done and is_quiet and not erased.staying and not remains.live,  # mutant: complete
            "repeat_at": iso(remains.quiet_at) if not is_quiet else None,
        }
        log.info("user_erased", owner=caller, **report)
        return report

    async def _remains(
        self, caller: str, user: str, quiet_after: float, *, is_longer: bool = False, forgets: bool = False
    ) -> Remains:
        wanted = quiet_after if self._settings.storage_scheme else 0
        folder = layout.user_folder(caller, user)
        return await self._history.erase(caller, user, folder, wanted, is_longer=is_longer, forgets=forgets)

    async def _cancel(self, caller: str, live: Sequence[str], budget: Budget) -> None:
        """Cancels what the user's set has, as far as the time allows; another call cancels the others.

        First it ends what waits, the backlog before all: no job must start in the place of one that was cancelled.
        """
        single = [member for member in reversed(live) if not member.startswith((BATCH, OF_BATCH))]
        for at in range(0, len(single), PAGE):
            if self._has_time_to_cancel(budget):
                await together(*(self._ask_for_end(caller, job_id) for job_id in single[at : at + PAGE]))
        for batch in (member.removeprefix(BATCH) for member in live if member.startswith(BATCH)):
            if self._has_time_to_cancel(budget):
                await self._ask_for_end_of_batch(caller, batch)

    async def _ask_for_end_of_batch(self, caller: str, batch: str) -> None:
        try:
            await self._batches.ask_for_end(caller, batch)
        except BatchNotFound:
            pass  # it was lost; the sweep removes it from the user's set

    async def _ask_for_end(self, caller: str, job_id: str) -> bool:
        """Cancels a job; returns whether it is over."""
        self._cache.forget(job_id)
        try:
            return (await self._cancellation.ask_for_end(caller, job_id)).word != "cancel_requested"
        except JobNotFound:
            return True  # it was lost, or another call has deleted it

    def _has_time_to_delete(self, budget: Budget) -> bool:
        """Whether a page of deletions fits."""
        return budget.left > 3 * self._settings.store_total_timeout

    def _has_time_to_cancel(self, budget: Budget) -> bool:
        """Whether a cancellation at the provider fits, and some deletions behind it."""
        return budget.left > self._settings.provider_timeout + 3 * self._settings.store_total_timeout

    async def _erase_jobs(self, caller: str, user: str, erased: Erased, budget: Budget) -> bool:
        """Deletes the user's jobs in the history; returns whether it reached the end."""
        start = None
        while self._has_time_to_delete(budget):
            page = await self._history.jobs(caller, user=user, start=start, limit=PAGE, with_gone=True)
            await self._erase_page(caller, user, page, erased)
            start = page.following
            if start is None:
                return True
        return False

    async def _erase_archived(self, caller: str, user: str, erased: Erased, budget: Budget) -> bool:
        """Deletes the user's jobs that the history no longer lists; returns whether it reached the end."""
        skipped = 0
        while self._has_time_to_delete(budget):
            page = await self._history.archived(caller, user, skipped, PAGE)
            if not page.jobs and not page.gone:
                return True
            await self._erase_page(caller, user, page, erased)
            deleted = [job.id for job in page.jobs if job.id not in erased.staying]
            await self._history.forget_gone(caller, user, deleted)
            skipped += len(page.jobs) - len(deleted)
        return False

    async def _erase_unlisted(
        self, caller: str, user: str, live: Sequence[str], erased: Erased, budget: Budget
    ) -> bool:
        """Deletes jobs that lived, and that the history has lost; returns whether it reached the end."""
        missed = [member for member in live if not member.startswith(BATCH) and member not in erased.seen]
        for at in range(0, len(missed), PAGE):
            if not self._has_time_to_delete(budget):
                return False
            await self._erase_page(caller, user, await self._history.named(missed[at : at + PAGE]), erased)
        return True

    async def _erase_ended(self, caller: str, user: str, erased: Erased, budget: Budget) -> None:
        """Asks the providers for the end of what was cancelled and runs, and deletes what has ended by then."""
        if not erased.staying or not self._has_time_to_cancel(budget):
            return
        await self._dispatcher.run(budget)  # what runs is overdue now
        asked, erased.staying = sorted(erased.staying), set()
        for at in range(0, len(asked), PAGE):
            some = asked[at : at + PAGE]
            if not self._has_time_to_delete(budget):
                erased.staying.update(some)
                continue
            await self._erase_page(caller, user, await self._history.named(some), erased)
            await self._history.forget_gone(caller, user, [job_id for job_id in some if job_id not in erased.staying])

    async def _erase_page(self, caller: str, user: str, page: Page, erased: Erased) -> None:
        may_be_copied = bool(self._settings.storage_scheme) and any(self._may_be_copied(job) for job in page.jobs)
        if may_be_copied and not erased.has_met_copy:
            # Before the deletion, which takes the last sign of the copy.
            await self._remains(caller, user, self._settings.lease, is_longer=True)  # mutant: copy
            erased.has_met_copy = True
        await together(*(self._erase(caller, job, erased) for job in page.jobs))
        await self._history.forget_gone(caller, user, page.gone)

    def _may_be_copied(self, job: JobRecord) -> bool:
        """Whether a call may be storing files of the job: after its end, or before it, which may have come since."""
        dead_at = (job.ended_at or self._clock.now()) + round(self._settings.lease * 1000)
        return job.is_storing or self._clock.now() < dead_at  # mutant: stored before the end

    async def _erase(self, caller: str, job: JobRecord, erased: Erased) -> None:
        erased.seen.add(job.id)
        try:
            if not job.is_terminal and not (erased.cancels and await self._ask_for_end(caller, job.id)):
                raise NotTerminal
            await self._history.delete(job.id, caller, batch_too=True)
            erased.jobs += 1
        except (NotTerminal, BelongsToBatch):
            erased.staying.add(job.id)
        except JobNotFound:
            pass  # another call has just deleted it
        self._cache.forget(job.id)
        if job.batch:
            self._cache.forget_all(f"batch:{job.batch}:")

    async def _erase_files(self, caller: str, user: str, erased: Erased, budget: Budget) -> bool:
        """Removes the user's folder of each day, except files that staying jobs need; returns whether time sufficed.

        Sluice does not know which job uses an upload. While a job stays, all uploads stay that it may still need.
        """
        user_folder = layout.user_folder(caller, user)
        try:
            async with asyncio.timeout(budget.left - self._settings.store_total_timeout):
                for root in (layout.RESULTS, layout.UPLOADS):
                    days = await self._bucket.folders(root)
                    if root == layout.UPLOADS and erased.staying:
                        needed_since = self._clock.now() - round(uploads_needed_for(self._settings) * 1000)
                        days = [day for day in days if layout.is_before(day, needed_since)]
                    for at in range(0, len(days), FOLDERS_AT_ONCE):
                        some = [f"{day}/{user_folder}" for day in days[at : at + FOLDERS_AT_ONCE]]
                        await together(*(self._empty(folder, erased) for folder in some))
        except TimeoutError:
            return False
        except StorageError as error:
            raise StorageUnavailable().because(str(error)) from None
        return True

    async def _empty(self, folder: str, erased: Erased) -> None:
        """Removes the files below a folder, except those of staying jobs."""
        async for page in self._bucket.pages(folder):
            keys = [key for key in page if _job_of(key) not in erased.staying]
            await self._bucket.delete(keys)
            erased.files += len(keys)


def _job_of(key: str) -> str:
    """Returns a result's job id, by its position in the key; for an upload, a text that is no job's id."""
    return key.split("/")[3]
