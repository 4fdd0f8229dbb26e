"""What an operator and an owner may turn: live limits, pauses, and the priority of a waiting job."""

import secrets
from collections.abc import Mapping

from shared.errors import StoreUncertain
from shared.jobqueue.reads import Gates
from shared.jobqueue.replies import Done
from shared.jobqueue.scripted import Scripted

MAX_TRIES = 5  # while other changes come at the same time
MAX_MARK = 10**12 - 2  # a mark is a count; see kinds.py


class Controls(Scripted):
    """Changes how jobs move, without a deploy."""

    async def set_gates(self, gates: Mapping[str, int | None]) -> Gates:
        """Sets the named gates, lifts those given as None, and returns all that hold now; see room.lua for names.

        Two calls; one without gates.
        """
        if not gates:
            return await self._run("limit", Gates, gates=gates, seen=0, mark=0)
        for _ in range(MAX_TRIES):
            set_ = await self._run("limit", Gates, gates=gates, **await self._marks())
            if not set_.is_late:
                return set_
        raise StoreUncertain

    async def limit_user(self, owner: str, user: str, concurrency: int | None) -> None:
        """Sets how many jobs of this user may be ready or at a provider; None: the default; 0: a pause. Two calls."""
        for _ in range(MAX_TRIES):
            marks = await self._marks()
            set_ = await self._run(
                "limit_user", Done, user=self.keys.user(owner, user), concurrency=concurrency, **marks
            )
            if set_.has_changed:
                return
        raise StoreUncertain

    async def _marks(self) -> dict[str, int]:
        """Returns the mark of the last change, and a new one for the next; see prelude.lua."""
        seen = await self._store.execute("HGET", self.keys.stats, "limits_mark")
        return {"seen": int(seen or 0), "mark": 1 + secrets.randbelow(MAX_MARK)}

    async def reprioritize(self, job_id: str, owner: str, priority: int) -> bool:
        """Moves a waiting job to its position with this priority; False if it no longer waits.

        Raises JobNotFound for a job of another owner.
        """
        job = self.keys.job(job_id)
        return (await self._run("reprioritize", Done, job=job, id=job_id, owner=owner, priority=priority)).has_changed

    async def note_refused_webhook(self) -> None:
        """Notes that a webhook of the provider's own was refused now; one plain command, which may be repeated."""
        await self._store.execute("HSET", self.keys.stats, "webhook_refused_at", str(self._clock.now()))

    async def forget_refused_webhook(self) -> None:
        """Forgets that time: the provider's webhooks verify."""
        await self._store.execute("HDEL", self.keys.stats, "webhook_refused_at")
