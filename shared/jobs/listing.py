"""Lists jobs to their owner, dead letters and undelivered events to the operator, page by page.

A page is bounded in what it reads, not only in what it shows. So it may be short, or empty, without being the last one.
A job that exists during the whole walk is shown once, even if others come and go.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from shared.access.errors import NotPermitted
from shared.documents.delivery import UndeliveredPage
from shared.documents.job import JobsPage, LettersPage, OwnedJobsPage, dead_letter, job_summary, owned_job
from shared.hooks.delivery_log import DeliveryLog
from shared.jobqueue import History, JobFilter, Overview, PageStart
from shared.jobqueue.history import MAX_MOMENT, Letters
from shared.jobqueue.overview import Wanted
from shared.jobqueue.state import Status
from shared.jobs.cursors import Cursors
from shared.jobs.owners import Owners
from shared.jobs.request import Id

MAX_AT_ONCE = 100
MAX_CURSOR = 2000
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
EPOCH = datetime.fromtimestamp(0, UTC)


def moment_of(value: object) -> int:
    """Returns the ms since the epoch of an RFC 3339 time, limited to what a score can hold."""
    try:
        if not isinstance(value, str) or not TIME.fullmatch(value.upper()):
            raise ValueError
        since = (datetime.fromisoformat(value.upper()) - EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        raise ValueError("must be an RFC 3339 time, such as 2026-11-22T10:00:00Z; in a URL, + is written %2B") from None
    return min(max(0, since), MAX_MOMENT + 1)


def _count(value: object) -> int:
    """Returns a number in a query."""
    if not (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10):
        raise ValueError(f"must be a number from 1 to {MAX_AT_ONCE}")
    return int(value)


Name = Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]
KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Moment = Annotated[int, BeforeValidator(moment_of)]
Limit = Annotated[int, Field(ge=1, le=MAX_AT_ONCE)]
QueryLimit = Annotated[Limit, BeforeValidator(_count)]
Cursor = Annotated[str, Field(min_length=1, max_length=MAX_CURSOR)]


class Filter(BaseModel):
    """A filter of a list; a field that is not set matches everything."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    def walk(self) -> str:
        """Returns the filter as text for a cursor's signature: the same on each page."""
        return self.model_dump_json(exclude={"limit", "cursor"})


class JobsQuery(Filter):
    """The query of ``GET /api/jobs``; ``created_after`` is inclusive, ``created_before`` is exclusive."""

    user_id: Id = ""
    status: Status | None = None
    queue: Name = ""
    model: Name = ""
    batch_id: Name = ""
    created_after: Moment = 0
    created_before: Moment = MAX_MOMENT + 1
    limit: QueryLimit = 20
    cursor: Cursor | None = None


class LetterFilter(Filter):
    """A filter of dead letters; ``key`` is an API key's name; ``after`` and ``before`` apply to the job's end."""

    key: Name = ""
    user_id: Id = ""
    queue: Name = ""
    model: Name = ""
    code: Name = ""
    after: Moment = 0
    before: Moment = MAX_MOMENT + 1


class LettersQuery(LetterFilter):
    """The query of ``GET /api/operate/dead-letters``."""

    limit: QueryLimit = 20
    cursor: Cursor | None = None


class AnyJobs(Filter):
    """A filter of the jobs of all API keys; ``key`` is one's name, times are as in JobsQuery."""

    key: KeyName = ""
    user_id: Id = ""
    queue: Name = ""
    model: Name = ""
    provider: Name = ""
    batch_id: Name = ""
    created_after: Moment = 0
    created_before: Moment = MAX_MOMENT + 1

    def for_status(self, status: Wanted) -> JobFilter:
        """Returns the filter as the store's verbs take it."""
        return JobFilter(
            owner=self.key,
            user=self.user_id,
            queue=self.queue,
            model=self.model,
            provider=self.provider,
            batch=self.batch_id,
            status=status,
            after=self.created_after,
            before=self.created_before,
        )


class AnyJobsQuery(AnyJobs):
    """The query of ``GET /api/operate/jobs``; ``live`` and ``ended`` stand for the statuses of such jobs."""

    status: Wanted = ""
    limit: Annotated[Limit, BeforeValidator(_count)] = 20
    cursor: Cursor | None = None


class UndeliveredQuery(Filter):
    """The query of ``GET /api/operate/undelivered``; ``before`` is exclusive."""

    before: Moment = MAX_MOMENT + 1
    cursor: Cursor | None = None


class Listing:
    """Answers lists; see History for what a page costs."""

    def __init__(
        self, history: History, overview: Overview, deliveries: DeliveryLog, cursors: Cursors, owners: Owners
    ) -> None:
        self._history = history
        self._overview = overview
        self._owners = owners
        self._deliveries = deliveries
        self._cursors = cursors

    async def jobs(self, caller: str, query: JobsQuery, *, by_user: str | None = None) -> JobsPage:
        """Returns a page of the caller's jobs, newest first; those of the user who lists ``by_user``, with a token.

        Raises NotPermitted if that user asks for another one's.
        """
        if by_user is not None:
            if query.user_id not in ("", by_user):  # mutant: list of another user
                raise NotPermitted("The token says otherwise.", field="user_id")
            query = query.model_copy(update={"user_id": by_user})
        walk = ("jobs", caller, query.walk())
        page = await self._history.jobs(
            caller,
            user=query.user_id,
            status=query.status or "",
            queue=query.queue,
            model=query.model,
            batch=query.batch_id,
            after=query.created_after,
            before=query.created_before,
            limit=query.limit,
            start=self._cursors.read(query.cursor, *walk),
        )
        jobs = [job_summary(job) for job in page.jobs]
        return {"jobs": jobs, "next_cursor": self._cursors.write(page.following, *walk)}

    async def of_all_keys(self, query: AnyJobsQuery) -> OwnedJobsPage:
        """Returns a page of all applications' jobs. InvalidRequest for an API key that the deployment does not have."""
        await self._owners.require(query.key, field="key")
        walk = ("all jobs", query.walk())
        start = self._cursors.read(query.cursor, *walk)
        page = await self._overview.jobs(query.for_status(query.status), start, query.limit)
        return {
            "jobs": [owned_job(job) for job in page.jobs],
            "next_cursor": self._cursors.write(page.following, *walk),
        }

    async def letters(self, query: LettersQuery) -> LettersPage:
        """Returns a page of all applications' dead letters, the latest first."""
        await self._owners.require(query.key, field="key")
        start = self._cursors.read(query.cursor, *letters_walk(query))
        page = await letters_page(self._history, query, start, query.limit)
        letters = [dead_letter(job) for job in page.jobs]
        return {"dead_letters": letters, "next_cursor": self._cursors.write(page.following, *letters_walk(query))}

    async def undelivered(self, query: UndeliveredQuery) -> UndeliveredPage:
        """Returns a page of all applications' events that were given up, the latest first."""
        walk = ("undelivered", query.walk())
        start = self._cursors.read(query.cursor, *walk) or PageStart(query.before - 1, "")
        events, following = await self._deliveries.undelivered(start)
        return {"undelivered": events, "next_cursor": self._cursors.write(following, *walk)}


def letters_walk(wanted: LetterFilter) -> tuple[str, str]:
    """Returns the walk that a cursor through these dead letters is signed for."""
    return ("letters", wanted.walk())


async def letters_page(history: History, wanted: LetterFilter, start: PageStart | None, limit: int) -> Letters:
    """Returns one page of the dead letters that match the filter."""
    return await history.letters(
        owner=wanted.key,
        user=wanted.user_id,
        queue=wanted.queue,
        model=wanted.model,
        code=wanted.code,
        after=wanted.after,
        before=wanted.before,
        start=start,
        limit=limit,
    )
