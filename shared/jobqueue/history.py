"""What was submitted and what died, page by page; and what becomes of jobs that have ended."""

from collections.abc import Sequence
from datetime import timedelta

from shared.errors import JobNotFound
from shared.frozen import dataclass
from shared.jobqueue.constants import BAND, FOLLOW_TTL
from shared.jobqueue.reads import JobsRead, LettersRead
from shared.jobqueue.record import LETTER_FIELDS, REQUEST_FIELDS, SUMMARY_FIELDS, JobRecord, RequestRecord
from shared.jobqueue.replies import Done, Kept, Remains, Reply, Trimmed
from shared.jobqueue.scripted import Scripted
from shared.together import together

MAX_MOMENT = BAND - 1  # ms; the last moment that a score can hold
SLACK = 86_400  # s; for delays between attempts, and clocks
MAX_LISTED = 100_000  # jobs in the history, some 10 MB; Upstash bounds one record to 100 MB


@dataclass(frozen=True)
class PageStart:
    """Where a walk goes on: at the moment ``ms``, with what comes below ``bound`` there."""

    ms: int
    bound: str


@dataclass(frozen=True)
class Page:
    """Some jobs, and where the next page begins; None when there is no more. A page may be empty and not the last.

    ``gone`` are ids of jobs that no longer exist, where they were asked for.
    """

    jobs: tuple[JobRecord, ...]
    following: PageStart | None
    gone: tuple[str, ...] = ()


@dataclass(frozen=True)
class Letters(Page):
    """Dead letters; for each, also where the page after it begins."""

    behind: tuple[PageStart, ...] = ()


class History(Scripted):
    """Lists jobs, and forgets them."""

    max_listed = MAX_LISTED

    async def jobs(
        self,
        owner: str,
        *,
        user: str = "",
        status: str = "",
        queue: str = "",
        model: str = "",
        batch: str = "",
        after: int = 0,
        before: int = MAX_MOMENT + 1,
        start: PageStart | None = None,
        limit: int = 20,
        with_gone: bool = False,
    ) -> Page:
        """The owner's jobs submitted from ``after`` on and before ``before``, newest first; '' is any.

        One call and 2 billed commands, plus one for each job read: as many as are listed, where nothing but owner,
        user and time is asked for; 100 at most otherwise. With ``with_gone``, the page names jobs that no longer
        exist too.
        """
        at = start or PageStart(before - 1, "")
        found = await self._run(
            "list",
            JobsRead,
            owner=owner,
            user=user,
            status=status,
            queue=queue,
            model=model,
            batch=batch,
            high=at.ms,
            low=after,
            bound=at.bound,
            page_size=limit,
            with_gone=with_gone,
            names=SUMMARY_FIELDS,
        )
        jobs = tuple(JobRecord(row.id, fields_of(SUMMARY_FIELDS, row.values)) for row in found.jobs if row.values)
        gone = tuple(row.id for row in found.jobs if not row.values)
        return Page(jobs, _page_start(found.high, found.bound), gone)

    async def letters(
        self,
        *,
        owner: str = "",
        user: str = "",
        queue: str = "",
        model: str = "",
        code: str = "",
        after: int = 0,
        before: int = MAX_MOMENT + 1,
        start: PageStart | None = None,
        limit: int = 20,
    ) -> Letters:
        """Jobs that used up their attempts from ``after`` on and before ``before``, the last to die first; '' is any.

        One call and 2 billed commands, plus one for each job read, 100 at most.
        """
        at = start or PageStart(before - 1, "")
        found = await self._run(
            "letters",
            LettersRead,
            owner=owner,
            user=user,
            queue=queue,
            model=model,
            code=code,
            high=at.ms,
            low=after,
            bound=at.bound,
            page_size=limit,
            names=LETTER_FIELDS,
        )
        return Letters(
            tuple(JobRecord(row.id, fields_of(LETTER_FIELDS, row.values)) for row in found.letters),
            _page_start(found.high, found.bound),
            behind=tuple(PageStart(row.died_at, row.id) for row in found.letters),
        )

    async def request(self, job_id: str) -> RequestRecord:
        """A job with what was asked for, to ask for it again; one command. Raises JobNotFound."""
        values = await self._store.execute("HMGET", self.keys.job(job_id), *REQUEST_FIELDS)
        fields = fields_of(REQUEST_FIELDS, values)
        if "state" not in fields:
            raise JobNotFound
        return RequestRecord(job_id, fields)

    async def note_redriven(self, job_id: str, new_id: str) -> None:
        """Notes in a failed job which new one was made of it; the job is no longer a dead letter."""
        await self._run("redrive", Done, job=self.keys.job(job_id), id=job_id, new_id=new_id)

    async def drop_letter(self, job_id: str) -> bool:
        """Removes a dead letter, of which nothing but the job is left then; False if there is none."""
        return bool(await self._store.execute("ZREM", self.keys.dead, job_id))

    async def delete(self, job_id: str, owner: str, *, files_too: bool = False, batch_too: bool = False) -> Kept | None:
        """Forgets an ended job, and so its idempotency key. None: the job is gone.

        ``files_too``: a job that has files stays for now. Kept says where they are; the caller removes them first,
        and no other caller stores any meanwhile. ``batch_too`` forgets its batch as well, if that has ended.
        Raises JobNotFound, NotTerminal or BelongsToBatch; nothing is changed then.
        """
        hold_until = self._clock.now() + round(self._settings.lease * 1000) if files_too else None
        job = self.keys.job(job_id)
        reply = await self._run(
            "delete", Reply, job=job, id=job_id, owner=owner, hold_until=hold_until, batch_too=batch_too
        )
        return reply if isinstance(reply, Kept) else None

    async def archived(self, owner: str, user: str, skipped: int, limit: int) -> Page:
        """Jobs of the user that the history no longer lists, behind the first ``skipped``; empty at the end.

        One call, and one for each job.
        """
        last = skipped + limit - 1
        return await self.named(
            await self._store.execute("ZRANGE", self.keys.archive(owner, user), str(skipped), str(last))
        )

    async def named(self, ids: Sequence[str]) -> Page:
        """The jobs with these ids; one call and one command for each."""
        found: dict[str, JobRecord | None] = dict.fromkeys(ids)
        await together(*(self._read_summary(job_id, found) for job_id in ids))
        jobs = tuple(job for job in found.values() if job is not None)
        return Page(jobs, None, tuple(job_id for job_id, job in found.items() if job is None))

    async def _read_summary(self, job_id: str, found: dict[str, JobRecord | None]) -> None:
        fields = fields_of(SUMMARY_FIELDS, await self._store.execute("HMGET", self.keys.job(job_id), *SUMMARY_FIELDS))
        found[job_id] = JobRecord(job_id, fields) if "state" in fields else None

    async def forget_gone(self, owner: str, user: str, job_ids: Sequence[str]) -> None:
        """Drops what is left of jobs whose records are gone: their entries, and their ended batches."""
        if job_ids:
            user_key, archive = self.keys.user(owner, user), self.keys.archive(owner, user)
            await self._run("forget_gone", Done, user=user_key, archive=archive, ids=job_ids)

    async def erase(
        self, owner: str, user: str, folder: str, quiet_after: float, *, is_longer: bool = False, forgets: bool = False
    ) -> Remains:
        """What lives of a user, and until when files may come back to the user's folder.

        The first call with a ``quiet_after`` (s) notes that time, and it is known for a day more. With ``is_longer``, a
        later call may put it off. ``forgets`` drops the user's tag, if nothing lives; the operator's limit of the
        user stays. One call and 3 billed commands, 5 at most.
        """
        return await self._run(
            "erase",
            Remains,
            user=self.keys.user(owner, user),
            erasure=self.keys.erasure(folder),
            quiet_after=timedelta(seconds=quiet_after),
            is_longer=is_longer,
            kept_for=timedelta(seconds=round(quiet_after) + SLACK),
            forgets=forgets,
        )

    async def trim(self) -> Trimmed:
        """Drops from the history what the store surely no longer keeps; moves the oldest entries beyond MAX_LISTED into
        the archives of their users, some at a time.

        One call and 3 billed commands, 5 when there were too many, and 3 for each user whose entries move.
        """
        # It is in order of submission, but a job is known for so long after its end; an erasure must find all of them.
        known = max(self._settings.task_ttl, FOLLOW_TTL)
        lasts = max(queue.ttl + queue.deadline * queue.max_attempts for queue in self._settings.queue_list)
        kept_for = timedelta(seconds=round(known + lasts) + SLACK)
        oldest = self._clock.now() - round(kept_for.total_seconds() * 1000)
        return await self._run("trim", Trimmed, oldest=oldest, most=self.max_listed, kept_for=kept_for)


def fields_of(names: Sequence[str], values: Sequence[str | None]) -> dict[str, str]:
    """The fields that a record has, of those that were read."""
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


def _page_start(ms: int | None, bound: str) -> PageStart | None:
    return None if ms is None else PageStart(ms, bound)
