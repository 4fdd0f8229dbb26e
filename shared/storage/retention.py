"""Drops the files that a deployment no longer keeps, one day's folder at a time."""

import asyncio

from shared.budget import Budget
from shared.clock import Clock
from shared.config.settings import Settings
from shared.log import log
from shared.storage import layout
from shared.storage.bucket import Bucket, StorageError


def uploads_needed_for(settings: Settings) -> float:
    """Returns the seconds after which no job that uses an upload can still wait or run."""
    return max(queue.ttl + queue.deadline for queue in settings.queue_list)


class Retention:
    """Applies STORAGE_RETENTION: drops whole days of results and uploads, each once all of that day is old enough.

    Uploads stay for as long as a job that uses one may wait and run, even if the retention is shorter.
    """

    def __init__(self, bucket: Bucket, settings: Settings, clock: Clock) -> None:
        self._bucket = bucket
        self._settings = settings
        self._clock = clock

    async def sweep(self, budget: Budget) -> int:
        """Drops files that are too old, as far as the time allows, and returns their number. The next sweep goes on.

        Makes no call without a retention or a storage. Logs a failure of the storage and does not raise, because a tick
        has more important work. Two sweeps at the same time do no harm.
        """
        if not (self._settings.storage_retention and self._settings.storage_scheme):
            return 0
        dropped = 0
        try:
            async with asyncio.timeout(budget.left):
                for root in (layout.RESULTS, layout.UPLOADS):
                    for day in await self._old_days(root):
                        async for keys in self._bucket.pages(day):
                            await self._bucket.delete(keys)
                            dropped += len(keys)
        except (StorageError, TimeoutError) as error:
            log.warning("retention_stopped", error=type(error).__name__)
        if dropped:
            log.info("files_dropped", count=dropped)
        return dropped

    async def _old_days(self, root: str) -> list[str]:
        """Returns the folders of the days to drop, the oldest first."""
        kept_for = float(self._settings.storage_retention)
        if root == layout.UPLOADS:
            kept_for = max(kept_for, uploads_needed_for(self._settings))
        oldest_kept = self._clock.now() - round(kept_for * 1000)
        return [day for day in await self._bucket.folders(root) if layout.is_before(day, oldest_kept)]
