"""Shows the operator what the queue does: as it is now, in the last hour, and in any time by steps and groups."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.clock import Clock, iso
from shared.config.settings import Settings
from shared.documents.operating import JobCounts, KeyDocument, Statistics
from shared.documents.statistics import StatisticsDocument, job_counts, other_counts
from shared.errors import InvalidRequest
from shared.jobqueue import Records, Stats
from shared.jobs.limits import Limits
from shared.jobs.listing import Filter, Moment
from shared.statistics.statistics import Statistics as Reader
from shared.sums import Sums

MAX_STEPS = 1500  # of one answer
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000  # ms
DAYS_KEPT = 90
STEPS = {"1m": MINUTE, "5m": 5 * MINUTE, "15m": 15 * MINUTE, "1h": HOUR, "6h": 6 * HOUR, "1d": DAY}
StepName = Literal["1m", "5m", "15m", "1h", "6h", "1d"]
By = Literal["queue", "provider", "model"]


class StatisticsQuery(Filter):
    """The query of ``GET /api/operate/statistics``: the last hour by default. Its ends move outwards to whole steps."""

    first: Annotated[Moment, Field(alias="from")] = 0
    last: Annotated[Moment, Field(alias="to")] = 0
    step: StepName = "5m"
    by: By | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.first and self.last and self.first >= self.last:
            raise ValueError("from must be before to")
        return self

    def span(self, now: int) -> tuple[int, int, int]:
        """Returns first and last moment and step, in ms. Raises InvalidRequest for what is not kept so finely."""
        step = STEPS[self.step]
        last = -(-(self.last or now) // step) * step
        first = (self.first or last - max(HOUR, 12 * step)) // step * step
        if (last - first) // step > MAX_STEPS:
            raise InvalidRequest(f"At most {MAX_STEPS:,} steps at once; take a longer step.", field="step")
        if step % HOUR and first < now - DAY - step:  # mutant: minutes of a day
            raise InvalidRequest("Minutes are kept for a day; take a step of an hour.", field="step")
        if first < now - DAYS_KEPT * DAY - step:  # mutant: hours of a quarter
            raise InvalidRequest(f"Hours are kept for {DAYS_KEPT} days.", field="from")
        return first, max(last, first + step), step


class Survey:
    """Reads counts and sums; it changes nothing, except that sums are brought up to date."""

    def __init__(self, records: Records, sums: Reader, limits: Limits, settings: Settings, clock: Clock) -> None:
        self._records = records
        self._sums = sums
        self._limits = limits
        self._settings = settings
        self._clock = clock

    async def now(self) -> Statistics:
        """Returns the queue as it is now. One call; with STATISTICS four more, and those of a fold."""
        stats, now = await self._records.stats(), self._clock.now()
        counters = {name: value for name, value in sorted(stats.counters.items()) if not name.endswith("_at")}
        document: Statistics = {
            "queues": {
                q.name: {"running": q.running, "ready": q.ready, "concurrency": q.concurrency} for q in stats.queues
            },
            "keys": _of_keys(stats, self._settings),
            "running": sum(q.running for q in stats.queues),
            "max_running": self._settings.max_concurrent_tasks,
            "delayed": stats.delayed,
            "backlog": stats.backlog,
            "dead": stats.dead,
            "counters": counters,
            "unknown": stats.unknown,
            "unknown_jobs": [{"id": job_id, "submitted_at": str(iso(at))} for job_id, at in stats.lost.items()],
            "last_tick_age_seconds": None if stats.tick_at is None else max(0, (now - stats.tick_at) // 1000),
            "limits": self._limits.shown(stats.gates, stats.pauses),
            "storage_mode": self._settings.storage_mode,
        }
        if self._settings.statistics:
            since = (await self._records.health()).since
            document["oldest_startable_age_seconds"] = None if since is None else max(0, (now - since) // 1000)
            document["recent"] = await self._recent(now)
            refused = job_counts((await self._sums.totals()).sums.of.get("", {}))["refused"]
            document["counters"] = counters | {"refused": sum(refused.values())}
        return document

    async def _recent(self, now: int) -> JobCounts:
        """Returns the last hour, and the minute that goes on."""
        last = (now // MINUTE + 1) * MINUTE
        everything = Sums()
        for step in await self._sums.range(last - HOUR - MINUTE, last, MINUTE):
            everything.add(step.sums)
        return job_counts(everything.grouped("").get("", {}))

    async def of(self, query: StatisticsQuery) -> StatisticsDocument:
        """Returns the sums of a time, and the queue as it is now."""
        first, last, step = query.span(self._clock.now())
        everything, steps, by = Sums(), await self._sums.range(first, last, step), query.by or ""
        for one in steps:
            everything.add(one.sums)
        return {
            "begins_at": str(iso(first)),
            "ends_at": str(iso(last)),
            "step_seconds": step // 1000,
            "is_kept": self._settings.statistics,
            "jobs": _whole(everything),
            "groups": _groups(everything, by),
            "others": other_counts(everything.of.get("", {})),
            "steps": [
                {"at": str(iso(one.at)), "jobs": _whole(one.sums), "groups": _groups(one.sums, by)} for one in steps
            ],
            "now": await self.now(),
        }


def _whole(sums: Sums) -> JobCounts:
    return job_counts(sums.grouped("").get("", {}))


def _groups(sums: Sums, by: str) -> dict[str, JobCounts]:
    return {name: job_counts(amounts) for name, amounts in sorted(sums.grouped(by).items()) if name} if by else {}


def _of_keys(stats: Stats, s: Settings) -> dict[str, KeyDocument]:
    max_running, max_waiting = s.key_tasks or s.max_concurrent_tasks, s.key_queued or s.max_queue_size
    return {
        key.name: {
            "running": key.running,
            "max_running": max_running,
            "waiting": key.waiting,
            "max_waiting": max_waiting,
        }
        for key in stats.keys
    }
