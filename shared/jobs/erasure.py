"""Deletes a job with its files, or all jobs and files of one user.

A single job's files are deleted before the job. If the storage does not answer, the job stays, and can be deleted again
with the files that are left. A copy that is under way meanwhile is not left behind: the store refuses its record, and
the call that made it removes it. A user's jobs are deleted before the files, which are found by the user's folder.
"""

import asyncio
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from shared.budget import Budget
from shared.cache import Cache
from shared.clock import Clock
from shared.config.settings import Settings
from shared.documents.answers import ErasedUser
from shared.errors import BelongsToBatch, JobNotFound, NotTerminal, StorageUnavailable
from shared.jobqueue import History
from shared.jobqueue.record import JobRecord, is_job_id
from shared.jobs.request import Id
from shared.log import log
from shared.storage import layout
from shared.storage.bucket import Bucket, StorageError
from shared.storage.retention import uploads_needed_for
from shared.together import together

PAGE = 20  # jobs that are erased at the same time
FOLDERS_AT_ONCE = 8


class UserPath(BaseModel):
    """The path of ``DELETE /api/users/{user_id}``."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    user_id: Id


@dataclass
class Erased:
    """What is deleted so far, and the jobs that stay because they, or their batches, have not ended."""

    jobs: int = 0
    files: int = 0
    staying: set[str] = field(default_factory=set)

    def document(self, *, is_complete: bool) -> ErasedUser:
        return {"jobs": self.jobs, "files": self.files, "live": len(self.staying), "is_complete": is_complete}


class Erasure:
    """Deletes jobs and users' data, in the store and in the storage. Safe to repeat."""

    def __init__(self, history: History, bucket: Bucket, cache: Cache, settings: Settings, clock: Clock) -> None:
        self._history = history
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
            except (StorageError, TimeoutError):
                raise StorageUnavailable from None
            await self._history.delete(job_id, caller)
        self._cache.forget(job_id)

    async def erase_user(self, caller: str, user: str, budget: Budget) -> ErasedUser:
        """Deletes a user's jobs and files; returns how many, and how many jobs stay.

        If it is complete, only jobs that have not ended, or whose batches have not, are left with their files.
        Otherwise the time was over, and another call continues. Raises StorageUnavailable.
        """
        erased = Erased()
        is_complete = await self._erase_jobs(caller, user, erased, budget)
        if is_complete and self._settings.storage_scheme:
            is_complete = await self._erase_files(caller, user, erased, budget)
        log.info("user_erased", owner=caller, **erased.document(is_complete=is_complete))
        return erased.document(is_complete=is_complete)

    async def _erase_jobs(self, caller: str, user: str, erased: Erased, budget: Budget) -> bool:
        """Deletes the user's jobs in the history; returns whether it reached the end."""
        start = None
        while budget.left > 2 * self._settings.store_total_timeout:
            page = await self._history.jobs(caller, user=user, start=start, limit=PAGE)
            await together(*(self._erase(caller, job, erased) for job in page.jobs))
            start = page.following
            if start is None:
                return True
        return False

    async def _erase(self, caller: str, job: JobRecord, erased: Erased) -> None:
        try:
            if not job.is_terminal:
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
        except StorageError:
            raise StorageUnavailable from None
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
