"""Ended jobs that are only kept for their owners, and how they go without a script.

A full database may refuse every script, and still reads and deletes. So DEL is the only command here that writes. What
else names a deleted job is dropped later, as after an expiry.
"""

import asyncio
from collections.abc import Sequence

from shared.frozen import dataclass
from shared.jobqueue.outbox import JOB_EVENTS
from shared.jobqueue.scripted import Scripted

SCANNED = 100  # keys of the store that one step walks past
AT_ONCE = 20  # reads
FIELDS = ("state", "ended_at", "storing", "batch", *(f"s:{event}" for event in JOB_EVENTS))


@dataclass(frozen=True)
class Step:
    """A part of the walk: its ended jobs that nothing waits for, and where the next one begins; '0' at the end."""

    job_ids: tuple[str, ...]
    cursor: str


class Leftovers(Scripted):
    """Finds ended jobs and deletes them, with plain commands."""

    async def step(self, cursor: str, ended_before: int) -> Step:
        """The jobs of one step that ended before a moment (ms); one command, and one for each job in the step.

        A job is left out while its files are stored or an event of it is pending, and while its batch is live.
        """
        pattern = self.keys.jobs + "*"
        following, found = await self._store.execute("SCAN", cursor, "MATCH", pattern, "COUNT", str(SCANNED))
        job_ids = [key.removeprefix(self.keys.jobs) for key in found]
        ended: list[str] = []
        for first in range(0, len(job_ids), AT_ONCE):
            part = job_ids[first : first + AT_ONCE]
            may_go = await asyncio.gather(*(self._may_go(job_id, ended_before) for job_id in part))
            ended += [job_id for job_id, is_free in zip(part, may_go, strict=True) if is_free]
        return Step(tuple(ended), str(following))

    async def delete(self, job_ids: Sequence[str]) -> int:
        """Deletes the records of ended jobs; returns how many there still were. One command."""
        return int(await self._store.execute("DEL", *(self.keys.job(job_id) for job_id in job_ids))) if job_ids else 0

    async def _may_go(self, job_id: str, ended_before: int) -> bool:
        state, ended_at, storing, batch, *events = await self._store.execute("HMGET", self.keys.job(job_id), *FIELDS)
        is_over = state == "done" and int(ended_at or ended_before) < ended_before  # mutant: ended long ago
        if not is_over or storing == "1" or "pending" in events:  # mutant: nothing waits
            return False
        return not batch or await self._store.execute("HGET", self.keys.batch(batch), "ended_at") is not None
