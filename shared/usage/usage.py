"""What was counted of the billed commands, and what the month's end will have if it goes on like this."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, date, datetime, timedelta

from shared.clock import Clock
from shared.config.settings import Settings
from shared.frozen import dataclass
from shared.jobqueue.keys import Keys
from shared.store import Store

LOOK_BACK = 7  # whole days before today, whose mean is the forecast's
DAY = timedelta(days=1)
MIN_PART = 1 / 24  # of a day; the first minutes of counting foretell nothing


@dataclass(frozen=True)
class Month:
    """The commands counted in a month of UTC, by day and by operation; ``name`` is ``2026-11``."""

    name: str
    by_day: Mapping[date, int] = field(default_factory=dict)
    by_operation: Mapping[str, int] = field(default_factory=dict)

    @property
    def commands(self) -> int:
        return sum(self.by_day.values())


@dataclass(frozen=True)
class Outlook:
    """The present month: its commands so far, those at its end by the pace of the last week, and the quota.

    ``quota_ends_at`` (ms) is when the quota will be used up, if that is this month; None: it will not, or there is
    none.
    """

    commands: int
    forecast: int
    quota: int | None
    quota_ends_at: int | None

    @property
    def used(self) -> float | None:
        """The part of the quota that is used up; 1 is all. None without a quota."""
        return None if self.quota is None else self.commands / self.quota

    @property
    def will_be_used(self) -> float | None:
        """The part of the quota that the month will take."""
        return None if self.quota is None else self.forecast / self.quota


class Usage:
    """Reads the count; one command for each month."""

    def __init__(self, store: Store, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._keys = Keys(settings.prefix)
        self._settings = settings
        self._clock = clock

    async def month(self, before: int = 0) -> Month:
        """Returns what was counted in the present month, or so many months ``before``; one command."""
        first = _first_of(_day(self._clock.now()), before)
        rows = await self._store.execute("HGETALL", self._keys.commands(f"{first:%Y-%m}"))
        by_day: Counter[date] = Counter()
        by_operation: Counter[str] = Counter()
        # upstash-redis makes a dict of the answer (its format.py), and the memory store does not.
        for name, count in rows.items() if isinstance(rows, dict) else zip(rows[::2], rows[1::2], strict=True):
            day, _, operation = name.partition(":")
            by_day[first.replace(day=int(day))] += int(count)
            by_operation[operation] += int(count)
        return Month(f"{first:%Y-%m}", dict(sorted(by_day.items())), dict(by_operation.most_common()))

    async def outlook(self) -> Outlook:
        """Returns how the present month goes; two commands."""
        return self.outlook_of(await self.month(), await self.month(1))

    def outlook_of(self, present: Month, last: Month) -> Outlook:
        """Returns how the present month goes, by what was read of it and of the one before."""
        now = datetime.fromtimestamp(self._clock.now() / 1000, UTC)
        end = datetime.combine(_first_of(now.date(), -1), datetime.min.time(), UTC)
        pace = _pace({**last.by_day, **present.by_day}, now)  # commands a day
        forecast = present.commands + pace * ((end - now) / DAY)
        quota = self._settings.commands_quota
        ends_at = None
        if quota is not None and forecast >= quota:
            days = max(0.0, quota - present.commands) / pace if pace else 0.0
            ends_at = self._clock.now() + round(days * DAY.total_seconds() * 1000)
        return Outlook(present.commands, round(forecast), quota, ends_at)


def _pace(by_day: Mapping[date, int], now: datetime) -> float:
    """Returns the commands a day of the last week and today. The very first day of counting may be a part of one."""
    today = now.date()
    first = min(by_day, default=today)
    days = (today - n * DAY for n in range(1, LOOK_BACK + 1))
    whole = [day for day in days if day > first]  # mutant: part of a day
    part = (now - datetime.combine(today, datetime.min.time(), UTC)) / DAY
    counted = by_day.get(today, 0) + sum(by_day.get(day, 0) for day in whole)
    return counted / (len(whole) + (part if whole else max(part, MIN_PART)))  # mutant: empty days


def _day(now: int) -> date:
    return datetime.fromtimestamp(now / 1000, UTC).date()


def _first_of(day: date, before: int) -> date:
    """Returns the first day of the month that is so many months before that of ``day``."""
    months = day.year * 12 + day.month - 1 - before
    return date(months // 12, months % 12 + 1, 1)
