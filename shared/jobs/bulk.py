"""Cancels and purges many jobs by the operator's word, a bounded part in each call.

Each job goes through the verb that its owner would use, so all that holds for one job holds here. A repeat finds those
that are left: what has ended is not cancelled again, and what is deleted is not found.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.budget import Budget
from shared.cache import Cache
from shared.config.settings import Settings
from shared.dispatch.dispatcher import Dispatcher
from shared.documents.job import OwnedJob, owned_job
from shared.documents.operating import BulkReport, SkippedJob
from shared.errors import BelongsToBatch, JobNotFound, NotTerminal, Problem, StorageUnavailable, StoreError
from shared.jobqueue import History, JobFilter, Overview, Page, PageStart
from shared.jobqueue.record import JobRecord
from shared.jobs.cancellation import Cancellation
from shared.jobs.cursors import Cursors
from shared.jobs.erasure import Erasure
from shared.jobs.listing import MAX_AT_ONCE, AnyJobs, Cursor, Limit
from shared.jobs.owners import Owners
from shared.jobs.redrive import JobId
from shared.log import log
from shared.together import together

AT_ONCE = 20  # jobs
MAX_PAGES = 20  # that one call reads; each costs a call of the store, and 102 commands at most
MAX_SAMPLE = 10  # jobs that a dry run shows

Change = Callable[[JobRecord], Awaitable[str]]  # returns what became of the job


class CancelFilter(AnyJobs):
    """Which live jobs are cancelled."""

    status: Literal["pending", "processing", "live"] = "live"


class PurgeFilter(AnyJobs):
    """Which ended jobs are deleted."""

    status: Literal["completed", "failed", "canceled", "ended"] = "ended"


class _Order(BaseModel):
    """Which jobs an order is about, and where an earlier call stopped."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    ids: Annotated[list[JobId], Field(min_length=1, max_length=MAX_AT_ONCE)] | None = None
    filter: CancelFilter | PurgeFilter | None = None
    all: bool = False
    dry_run: bool = False
    limit: Limit = MAX_AT_ONCE
    cursor: Cursor | None = None

    def named(self, counts: Mapping[str, int]) -> list[str]:
        """Returns what became of how many jobs, and which were meant, for the audit."""
        wanted = "all" if self.filter is None else self.filter.model_dump_json(exclude_defaults=True)
        return [*(f"{count} {word}" for word, count in counts.items()), *(self.ids or [wanted])]

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.ids is not None) + (self.filter is not None) + self.all != 1:
            raise ValueError("must hold one of ids, filter and all")
        if self.filter is not None and not self.filter.model_fields_set:
            raise ValueError("must hold a filter with a field; for all jobs use all")
        if self.ids is not None and self.cursor is not None:
            raise ValueError("must hold no cursor with ids: a repeat skips what is done")
        if self.ids is not None and "limit" in self.model_fields_set:
            raise ValueError("must hold no limit with ids: all of them have their turn")
        return self


class CancelOrder(_Order):
    """The body of ``POST /api/operate/cancel``."""

    filter: CancelFilter | None = None


class PurgeOrder(_Order):
    """The body of ``POST /api/operate/purge``."""

    filter: PurgeFilter | None = None


@dataclass
class _Done:
    """What a call has done so far."""

    counts: Counter[str] = field(default_factory=Counter)
    sample: list[OwnedJob] = field(default_factory=list)
    skipped: list[SkippedJob] = field(default_factory=list)
    stopped_by: Literal["storage_unavailable", "out_of_time"] | None = None

    @property
    def jobs(self) -> int:
        return sum(self.counts.values()) + len(self.skipped)


class Bulk:
    """Cancels and deletes jobs of all API keys."""

    def __init__(
        self,
        overview: Overview,
        history: History,
        cancellation: Cancellation,
        erasure: Erasure,
        dispatcher: Dispatcher,
        cache: Cache,
        cursors: Cursors,
        owners: Owners,
        settings: Settings,
    ) -> None:
        self._overview = overview
        self._history = history
        self._cancellation = cancellation
        self._erasure = erasure
        self._dispatcher = dispatcher
        self._cache = cache
        self._cursors = cursors
        self._owners = owners
        self._settings = settings

    async def cancel(self, order: CancelOrder, budget: Budget) -> BulkReport:
        """Cancels live jobs, those that wait before those that run, and asks the providers for the end of the latter.

        Each costs one call and what a cancellation costs. InvalidRequest for an API key that there is not.
        """

        async def cancel(job: JobRecord) -> str:
            return (await self._cancellation.ask_for_end(job.owner, job.id)).word

        report = await self._run("cancel", order, order.filter or CancelFilter(), cancel, budget)
        may_start = report["next_cursor"] is None or "cancel_requested" in report["counts"]  # mutant: between calls
        if report["counts"] and not order.dry_run and may_start:
            # What runs is overdue now. Earlier, a dispatch would start jobs that the next call is to cancel.
            await self._dispatcher.run(budget)
        return report

    async def purge(self, order: PurgeOrder, budget: Budget) -> BulkReport:
        """Deletes ended jobs and their files; jobs of a batch are skipped, as its application could not delete them.

        Each costs what a deletion costs. InvalidRequest for an API key that there is not.
        """

        async def delete(job: JobRecord) -> str:
            await self._erasure.delete_job(job.owner, job.id, budget)
            return "deleted"

        return await self._run("purge", order, order.filter or PurgeFilter(), delete, budget)

    async def _run(
        self, verb: str, order: CancelOrder | PurgeOrder, wanted: CancelFilter | PurgeFilter, change: Change,
        budget: Budget,
    ) -> BulkReport:  # fmt: skip
        await self._owners.require(wanted.key, field="filter")
        walk, done = (verb, wanted.walk()), _Done()
        start = self._cursors.read(order.cursor, *walk) or PageStart(0, "")
        following: PageStart | None = start
        for _ in range(MAX_PAGES):
            if following is None or (done.jobs >= order.limit and not order.dry_run):
                break
            if not self._has_time(budget, done):
                break
            start = following
            page = await self._page(order, wanted.for_status(wanted.status), start, done)
            following = None if order.ids is not None else page.following
            if order.dry_run:
                _count(page.jobs, done, is_purge=isinstance(order, PurgeOrder))
            elif not await self._change(page.jobs, change, budget, done):
                # A repeat of the page finds those that are left.
                following = start  # mutant: unfinished page
                break
        if done.counts and not order.dry_run:
            log.warning(f"bulk_{verb}", **done.counts, skipped=len(done.skipped))
        return {
            "counts": dict(done.counts),
            "sample": done.sample,
            "skipped": done.skipped,
            "stopped_by": done.stopped_by,
            "next_cursor": None if order.ids is not None else self._cursors.write(following, *walk),
            "dry_run": order.dry_run,
        }

    def _has_time(self, budget: Budget, done: _Done) -> bool:
        """Whether some more jobs fit into the function's time; notes it if not."""
        if budget.left > 3 * self._settings.store_total_timeout:
            return True
        done.stopped_by = "out_of_time"
        return False

    async def _page(self, order: CancelOrder | PurgeOrder, wanted: JobFilter, start: PageStart, done: _Done) -> Page:
        """Reads the next jobs that the order is about; notes ids without a job."""
        if order.ids is None:
            # A dry run changes nothing, so it counts as far as one call may read.
            left = MAX_AT_ONCE if order.dry_run else order.limit - done.jobs
            return await self._overview.jobs(wanted, start, left)
        named = await self._history.named(order.ids)
        done.skipped += [{"id": job_id, "code": JobNotFound.code} for job_id in named.gone]
        return named

    async def _change(self, jobs: Sequence[JobRecord], change: Change, budget: Budget, done: _Done) -> bool:
        """Changes jobs, some at a time; returns whether all had their turn."""
        for at in range(0, len(jobs), AT_ONCE):
            if not self._has_time(budget, done):
                return False
            await together(*(self._one(job, change, done) for job in jobs[at : at + AT_ONCE]))
            if done.stopped_by:
                return False
        return True

    async def _one(self, job: JobRecord, change: Change, done: _Done) -> None:
        try:
            word = await change(job)
        except StorageUnavailable:
            done.stopped_by = "storage_unavailable"
        except StoreError:
            raise
        except Problem as problem:
            done.skipped.append({"id": job.id, "code": problem.code})
        else:
            if word == "already_terminal":
                done.skipped.append({"id": job.id, "code": word})
            else:
                done.counts[word] += 1
        self._cache.forget(job.id)
        if job.batch:
            self._cache.forget_all(f"batch:{job.batch}:")


def _count(jobs: Sequence[JobRecord], done: _Done, *, is_purge: bool) -> None:
    """Notes what a dry run has met: jobs by their status, and those that the order would skip."""
    for job in jobs:
        if job.is_terminal != is_purge:
            done.skipped.append({"id": job.id, "code": NotTerminal.code if is_purge else "already_terminal"})
        elif is_purge and job.batch:
            done.skipped.append({"id": job.id, "code": BelongsToBatch.code})
        else:
            done.counts[job.status] += 1
            if len(done.sample) < MAX_SAMPLE:
                done.sample.append(owned_job(job))
