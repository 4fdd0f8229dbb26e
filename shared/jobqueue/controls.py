"""What an operator and an owner may turn: live limits, pauses, and the priority of a waiting job."""

from collections.abc import Mapping

from shared.jobqueue.reads import Gates
from shared.jobqueue.replies import Done
from shared.jobqueue.scripted import Scripted


class Controls(Scripted):
    """Changes how jobs move, without a deploy."""

    async def set_gates(self, gates: Mapping[str, int | None]) -> Gates:
        """Sets the named gates, lifts those given as None, and returns all that hold now; see room.lua for names."""
        return await self._run("limit", Gates, gates=gates)

    async def limit_user(self, owner: str, user: str, concurrency: int | None) -> None:
        """Sets how many jobs of this user may be ready or at a provider; None: the default; 0: a pause."""
        await self._run("limit_user", Done, user=self.keys.user(owner, user), concurrency=concurrency)

    async def reprioritize(self, job_id: str, owner: str, priority: int) -> bool:
        """Moves a waiting job to its position with this priority; False if it no longer waits.

        Raises JobNotFound for a job of another owner.
        """
        job = self.keys.job(job_id)
        return (await self._run("reprioritize", Done, job=job, id=job_id, owner=owner, priority=priority)).has_changed

    async def note_refused_webhook(self) -> None:
        """Notes that a webhook of the provider's own was refused now; one plain command, which may be repeated."""
        await self._store.execute("HSET", self.keys.stats, "webhook_refused_at", str(self._clock.now()))
