"""What the operator sees of all API keys: jobs by where they are, and the users with limits of their own.

A filter chooses a part of the index, so that few jobs have to be read:

    status          part                                      with an owner
    ended, any      the history                               the same; other owners' entries cost nothing
    pending         the backlogs, delayed jobs, ready ones    the shares of the owner's waiting jobs
    processing      the slots                                 the shares of the owner's jobs at the providers
    live            all of these, in this order               both, in this order
"""

from collections.abc import Sequence
from typing import Literal

from shared.config.providers import NUMBERS
from shared.frozen import dataclass
from shared.jobqueue.constants import ALARMS, BAND, HISTORY, READY, SLOT_SHARES, WAITING_SHARES
from shared.jobqueue.history import Page, PageStart, fields_of
from shared.jobqueue.reads import JobsBrowsed, UserLimits
from shared.jobqueue.record import SUMMARY_FIELDS, JobRecord
from shared.jobqueue.scripted import Scripted
from shared.jobqueue.state import Status
from shared.signing.shares import share_of, shares_of_key

SCANNED = 1000  # keys of the store that one step past the users' sets walks past

Wanted = Status | Literal["live", "ended", ""]


@dataclass(frozen=True)
class JobFilter:
    """Which jobs are wanted: '' is any; created from ``after`` on and before ``before`` (ms)."""

    owner: str
    user: str
    queue: str
    model: str
    provider: str
    batch: str
    status: Wanted
    after: int
    before: int


@dataclass(frozen=True)
class OwnLimit:
    """A user's own concurrency."""

    owner: str
    user: str
    concurrency: int


class Overview(Scripted):
    """Lists across owners, and changes nothing."""

    async def jobs(self, wanted: JobFilter, start: PageStart | None = None, limit: int = 20) -> Page:
        """Jobs that fit; in the history the newest first, among live ones those that start last.

        One call and 2 billed commands, plus one for each job read, 100 at most; twice that for live jobs of an owner of
        whom none waits. A page may be empty and not the last.
        A job that moves between the pages may be shown twice, or not at all.
        """
        parts = self._parts(wanted)
        number, position = (start.ms, start.bound) if start else (0, "")
        high, low = parts[number]
        resumed_high, _, bound = position.partition(" ")
        found = await self._run(
            "browse",
            JobsBrowsed,
            high=resumed_high or str(high),
            low=str(low),
            bound=bound,
            page_size=limit,
            owner=wanted.owner,
            user=wanted.user,
            queue=wanted.queue,
            model=wanted.model,
            provider=wanted.provider,
            batch=wanted.batch,
            status=wanted.status,
            after=wanted.after,
            before=wanted.before,
            queue_number=self._queue_number(wanted.queue),
            provider_number=NUMBERS.get(wanted.provider),
            names=SUMMARY_FIELDS,
        )
        following = PageStart(number, f"{found.high} {found.bound}") if found.high else None
        if following is None and number + 1 < len(parts):
            following = PageStart(number + 1, "")
            if not found.jobs:
                return await self.jobs(wanted, following, limit)
        jobs = tuple(JobRecord(row.id, fields_of(SUMMARY_FIELDS, row.values)) for row in found.jobs)
        return Page(jobs, following)

    def _parts(self, wanted: JobFilter) -> Sequence[tuple[int, int]]:
        """The highest and the lowest score of each part, in their order: what waits comes before what runs."""
        if wanted.status not in ("pending", "processing", "live"):
            return [(HISTORY * BAND + wanted.before - 1, HISTORY * BAND + wanted.after)]
        waiting, slots = (ALARMS * BAND - 1, READY * BAND), (READY * BAND - 1, 0)
        live = [(ALARMS * BAND - 1, 0)]
        if wanted.owner:
            shares = shares_of_key(wanted.owner)
            if wanted.user:
                share = share_of(self._settings.signing_key, wanted.owner, wanted.user)
                shares = range(share, share + 1)
            waiting, slots = (
                (ALARMS * BAND + beginning + shares[-1], ALARMS * BAND + beginning + shares[0])
                for beginning in (WAITING_SHARES, SLOT_SHARES)
            )
            live = [waiting, slots]
        return {"pending": [waiting], "processing": [slots], "live": live}[wanted.status]

    def _queue_number(self, name: str) -> int | None:
        """The number of a queue; None for any, and for one that is no longer configured: its jobs are read."""
        return next((queue.number for queue in self._settings.queue_list if queue.name == name), None)

    async def user_limits(self, cursor: str) -> tuple[list[OwnLimit], str]:
        """The users' own limits that one step past 1,000 keys of the store meets, and where the next step begins.

        '0' begins, and ends. A user may be met twice. One call and one billed command; one more call if it meets
        users with live jobs or limits, with one command for each.
        """
        following, found = await self._store.execute(
            "SCAN", cursor, "MATCH", f"{self.keys.users}*", "COUNT", str(SCANNED)
        )
        users = sorted({key.removeprefix(self.keys.users) for key in found})
        if not users:
            return [], str(following)
        limits = (await self._run("user_limits", UserLimits, users=users)).limits
        own = [(user.partition(":"), limit) for user, limit in zip(users, limits, strict=True) if limit]
        return [OwnLimit(owner, name, int(limit)) for (owner, _, name), limit in own], str(following)
