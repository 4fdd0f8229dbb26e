"""Gathers what Prometheus is told. An answer is kept for a moment, so more scrapes cost the store nothing more."""

import zlib
from typing import TYPE_CHECKING

from shared.cache import Cache
from shared.clock import Clock
from shared.config.settings import Settings
from shared.jobqueue import Records
from shared.jobs.limits import Limits
from shared.usage.usage import Usage

if TYPE_CHECKING:
    from shared.statistics.statistics import Statistics

KEPT = 10.0  # s; below each usual interval of scrapes, so no counter ever falls between two processes' answers


class Metrics:
    """Makes the text of a scrape. It reads only, except that the statistics sum what waits for it."""

    def __init__(
        self,
        records: Records,
        limits: Limits,
        usage: Usage,
        statistics: "Statistics | None",
        cache: Cache,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._records = records
        self._limits = limits
        self._usage = usage
        self._statistics = statistics
        self._cache = cache
        self._settings = settings
        self._clock = clock

    async def text(self) -> bytes:
        """Returns the text; DESIGN.md has what it costs. Raises StoreError."""
        # Compressed, since the cache keeps no large value: with 20 models the text has more than 256 KB.
        return zlib.decompress((await self._cache.remember("metrics", KEPT, self._compressed, len)).value)

    async def _compressed(self) -> bytes:
        return zlib.compress(await self._gathered(), 1)

    async def _gathered(self) -> bytes:
        from shared.metrics.exposition import Seen, exposition

        stats, facts, counted, sums = await self._records.stats(), await self._records.health(), None, None
        if self._settings.count_commands:
            present, last = await self._usage.month(), await self._usage.month(1)
            counted = present, self._usage.outlook_of(present, last)
        if self._statistics is not None:
            sums = (await self._statistics.totals()).sums
        limits = self._limits.shown(stats.gates, stats.pauses)
        return exposition(Seen(self._clock.now(), stats, facts, limits, counted, sums))
