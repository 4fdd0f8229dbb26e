"""Redrives failed jobs: creates a new job with the same request for each. The failed job does not change.

Of a job of a batch, the operator retries the batch: the new job takes the place of the failed one.

The new job's id is derived from the old one's, so repeated redrives by any caller create one job. A crash may come
between the new job and its record in the old one; a repeat writes the record.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.budget import Budget
from shared.config.settings import Settings
from shared.dispatch.dispatcher import Dispatcher
from shared.documents.answers import RedriveReceipt
from shared.documents.operating import RedriveReport
from shared.errors import (
    AlreadyRedriven,
    BelongsToBatch,
    InvalidRequest,
    JobNotFound,
    NotFailed,
    Problem,
    QueueFull,
    StoreError,
)
from shared.hooks.subscription import DEFAULT_HOOK
from shared.jobqueue import History, PageStart
from shared.jobqueue.record import JOB_ID, RequestRecord, is_job_id
from shared.jobs.admission import Admission
from shared.jobs.batches import Batches
from shared.jobs.cursors import Cursors
from shared.jobs.listing import MAX_AT_ONCE, Cursor, LetterFilter, Limit, letters_page, letters_walk
from shared.jobs.owners import Owners
from shared.jobs.request import SubmitRequest
from shared.json_value import read_object
from shared.log import log
from shared.signing.derived import redriven_id

UNLIMITED = 1_000_000  # tasks of a user; an operator's redrives are never refused, but wait in the backlog

JobId = Annotated[str, Field(pattern=f"^{JOB_ID.pattern}$")]


class RedriveOrder(BaseModel):
    """The body of ``POST /api/operate/dead-letters/redrive``: which dead letters, and where an earlier call stopped."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    ids: Annotated[list[JobId], Field(min_length=1, max_length=MAX_AT_ONCE)] | None = None
    filter: LetterFilter | None = None
    all: bool = False
    dry_run: bool = False
    limit: Limit = MAX_AT_ONCE
    cursor: Cursor | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "RedriveOrder":
        if (self.ids is not None) + (self.filter is not None) + self.all != 1:
            raise ValueError("must hold one of ids, filter and all")
        if self.filter is not None and not self.filter.model_fields_set:
            raise ValueError("must hold a filter with a field; for all dead letters use all")
        return self

    @property
    def walk(self) -> tuple[str, ...]:
        """The walk that a cursor of this order is signed for."""
        return ("ids", *self.ids) if self.ids is not None else letters_walk(self.filter or LetterFilter())

    @property
    def beginning(self) -> PageStart:
        """The start of the first page; for given ids, the index in their list takes the place of the time."""
        return PageStart(0, "") if self.ids is not None else PageStart((self.filter or LetterFilter()).before - 1, "")


class Redrive:
    """Creates new jobs for failed ones."""

    def __init__(
        self,
        history: History,
        admission: Admission,
        batches: Batches,
        dispatcher: Dispatcher,
        cursors: Cursors,
        owners: Owners,
        settings: Settings,
    ) -> None:
        self._history = history
        self._admission = admission
        self._batches = batches
        self._dispatcher = dispatcher
        self._cursors = cursors
        self._owners = owners
        self._settings = settings

    async def retry(self, caller: str, job_id: str, budget: Budget) -> RedriveReceipt:
        """Redrives the caller's failed job and returns the new job's receipt; a repeat returns the same job.

        Raises JobNotFound for a job of another owner, NotFailed, BelongsToBatch, AlreadyRedriven, and all errors of a
        submit.
        """
        if not is_job_id(job_id):
            raise JobNotFound
        failed = await self._history.request(job_id)
        if failed.owner != caller:
            raise JobNotFound
        return await self._redrive(failed, budget)

    async def run(self, order: RedriveOrder, budget: Budget) -> RedriveReport:
        """Redrives dead letters; returns the redriven and the skipped ones, and a cursor for the next call.

        A dry run returns what would be done, as far as that is known. Each job costs three calls and about 12 billed
        commands. It stops early, with a cursor, if the queue is full or the function's time is over. May be repeated.
        """
        if order.filter is not None:
            await self._owners.require(order.filter.key, field="filter")
        start = self._cursors.read(order.cursor, *order.walk) or order.beginning
        found, following = await self._found(order, start)
        report: RedriveReport = {
            "redriven": [],
            "skipped": [],
            "stopped_by": None,
            "next_cursor": None,
            "dry_run": order.dry_run,
        }
        for job_id, behind in found:
            if budget.left < 3 * self._settings.store_total_timeout:
                report["stopped_by"] = "out_of_time"
            else:
                await self._one(job_id, order.dry_run, budget, report)
            if report["stopped_by"]:
                following = start
                break
            start = behind
        if report["redriven"] and not order.dry_run:
            log.warning("redriven", count=len(report["redriven"]))
            await self._dispatcher.run(budget)
        report["next_cursor"] = self._cursors.write(following, *order.walk)
        return report

    async def _found(
        self, order: RedriveOrder, start: PageStart
    ) -> tuple[list[tuple[str, PageStart]], PageStart | None]:
        """The ids this call is about, each with where a page after it begins, and where the next call begins."""
        if order.ids is None:
            page = await letters_page(self._history, order.filter or LetterFilter(), start, order.limit)
            return [(job.id, behind) for job, behind in zip(page.jobs, page.behind, strict=True)], page.following
        last = min(start.ms + order.limit, len(order.ids))
        found = [(order.ids[n], PageStart(n + 1, "")) for n in range(start.ms, last)]
        return found, PageStart(last, "") if last < len(order.ids) else None

    async def _one(self, job_id: str, dry_run: bool, budget: Budget, report: RedriveReport) -> None:
        try:
            failed = await self._history.request(job_id)
            if failed.batch:
                made = await self._batches.redrive(failed.owner, failed.batch, job_id, UNLIMITED, dry_run=dry_run)
            elif dry_run:
                _check(failed)
                made = redriven_id(self._settings.signing_key, job_id, failed.incarnation)
            else:
                made = (await self._redrive(failed, budget, start=False, user_queued=UNLIMITED))["id"]
            report["redriven"].append({"id": job_id, "redriven_as": made})
        except QueueFull:
            report["stopped_by"] = "queue_full"
        except StoreError:
            raise
        except Problem as problem:
            report["skipped"].append({"id": job_id, "code": problem.code})

    async def _redrive(
        self, failed: RequestRecord, budget: Budget, *, start: bool = True, user_queued: int | None = None
    ) -> RedriveReceipt:
        _check(failed)
        new_id = redriven_id(self._settings.signing_key, failed.id, failed.incarnation)
        if failed.redriven_as:
            try:
                return {**await self._admission.receipt(new_id), "retry_of": failed.id}
            except JobNotFound:
                raise AlreadyRedriven from None
        try:
            receipt = await self._admission.admit(
                new_id,
                failed.owner,
                _request_of(failed),
                budget,
                retry_of=failed.id,
                start=start,
                user_queued=user_queued,
            )
        except JobNotFound:
            raise AlreadyRedriven from None
        await self._history.note_redriven(failed.id, new_id)
        return {**receipt, "retry_of": failed.id}


def _check(failed: RequestRecord) -> None:
    if failed.batch:
        raise BelongsToBatch
    if failed.status != "failed":
        raise NotFailed


def _request_of(job: RequestRecord) -> SubmitRequest:
    """Returns the request that the job was submitted with; without its hook if that was its API key's default.

    Then the new job gets the present default: the old URL may be gone.
    """
    try:
        given = {
            "model": job.model,
            "input": read_object(job.input),
            "user_id": job.user,
            "tier": job.tier,
            "priority": job.priority,
            "queue": job.queue,
            "provider": job.provider,
            "metadata": read_object(job.metadata),
            "hook_url": None if job.hook_default else job.hook_url or None,  # mutant: present default hook
            "hook_events": None if job.hook_default == DEFAULT_HOOK else [f"job.{event}" for event in job.hook_events],
        }
        return SubmitRequest.model_validate(given)
    except (ValidationError, KeyError, ValueError):
        raise InvalidRequest("The job's request could not be submitted now.") from None
