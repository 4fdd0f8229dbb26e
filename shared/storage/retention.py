"""Drops the files that a deployment does not keep any longer, a day's folder at a time."""

import asyncio

from shared.budget import Budget
from shared.clock import Clock
from shared.config.settings import Settings
from shared.log import log
from shared.storage import layout
from shared.storage.bucket import Bucket, StorageError


def uploads_needed_for(settings: Settings) -> float:
    """s after which no job that was given an upload can still wait for its run, or be in it."""
    return max(queue.ttl + queue.deadline for queue in settings.queue_list)


class Retention:
    """Applies STORAGE_RETENTION: whole days of results and uploads go, each of them once all of it is old enough.

    Uploads stay for as long as a job that was given one may wait and run, however short the retention is.
    """

    def __init__(self, bucket: Bucket, settings: Settings, clock: Clock) -> None:
        self._bucket = bucket
        self._settings = settings
        self._clock = clock

    async def sweep(self, budget: Budget) -> int:
        """Drops what is too old, as far as the time allows, and says how many files that were; the rest goes next time.

        Without a retention or a storage it asks nobody. What the storage refuses is logged and raises nothing, since a
        tick has more important things to do; two sweeps at the same time do no harm.
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
        """The days' folders that are to go, the oldest first."""
        kept_for = float(self._settings.storage_retention)
        if root == layout.UPLOADS:
            kept_for = max(kept_for, uploads_needed_for(self._settings))
        oldest_kept = self._clock.now() - round(kept_for * 1000)
        return [day for day in await self._bucket.folders(root) if layout.is_before(day, oldest_kept)]
