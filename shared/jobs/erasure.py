"""Removes what a caller wants gone: a job with its files, or everything of one of his users.

A job's files go first: where the storage does not answer, the job stays, with what is left of them, and can be deleted
again. A copy under way
meanwhile is not lost sight of, since whoever makes it is refused when he notes it, and then removes it himself.
A user's jobs go first: his files are found without them.
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
    """What has been removed so far, and which jobs stay: they, or their batches, have not ended."""

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
        """Forgets an ended job and removes its files; one call where it has none, two and a listing where it has.

        Raises JobNotFound, NotTerminal or BelongsToBatch; the job is as it was then. After StorageUnavailable it still
        shows what it showed, but some of its files may be gone; deleting it again removes the others.
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
        """How much of a user's was removed by this call, and how many jobs stay.

        Complete means that whatever could go is gone; what stays can go once its jobs, or their batches, have ended.
        Otherwise the time was over, and another call goes on. Raises StorageUnavailable.
        """
        erased = Erased()
        is_complete = await self._erase_jobs(caller, user, erased, budget)
        if is_complete and self._settings.storage_scheme:
            is_complete = await self._erase_files(caller, user, erased, budget)
        log.info("user_erased", owner=caller, **erased.document(is_complete=is_complete))
        return erased.document(is_complete=is_complete)

    async def _erase_jobs(self, caller: str, user: str, erased: Erased, budget: Budget) -> bool:
        """Walks through all of the user's jobs in the history; says whether it came to the end."""
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
            pass  # somebody else has just deleted it
        self._cache.forget(job.id)
        if job.batch:
            self._cache.forget_all(f"batch:{job.batch}:")

    async def _erase_files(self, caller: str, user: str, erased: Erased, budget: Budget) -> bool:
        """Removes the user's folder of every day, but for what jobs that stay have or need; says whether time sufficed.

        Which upload a job was given is not known: while any stays, all stay that one of them may still have to read.
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
        """Removes the files below a folder, but for those of jobs that stay."""
        async for page in self._bucket.pages(folder):
            keys = [key for key in page if _job_of(key) not in erased.staying]
            await self._bucket.delete(keys)
            erased.files += len(keys)


def _job_of(key: str) -> str:
    """The job that a result belongs to, by its place in the layout; of an upload something that is no job's id."""
    return key.split("/")[3]
