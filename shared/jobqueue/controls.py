"""What an operator and an owner may turn: live limits, pauses, and the priority of a waiting job."""

from collections.abc import Mapping

from shared.errors import JobNotFound
from shared.jobqueue.scripted import Scripted


class Controls(Scripted):
    """Changes how jobs move, without a deploy."""

    async def set_gates(self, gates: Mapping[str, int | None]) -> dict[str, int]:
        """Sets the named gates, lifts those given as None, and tells all that stand now; see prelude.lua for names."""
        flat = [part for name, value in gates.items() for part in (name, "" if value is None else str(value))]
        reply = await self._run("limit", [self.keys.index], flat)
        return {reply[n]: int(reply[n + 1]) for n in range(0, len(reply), 2)}

    async def limit_user(self, owner: str, user: str, concurrency: int | None) -> None:
        """How many jobs of this user may be ready or at a provider; None for the deployment's limit, 0 pauses him."""
        keys = [self.keys.index, self.keys.user(owner, user), self.keys.stats, self.keys.root]
        value = "" if concurrency is None else str(concurrency)
        await self._run("limit_user", keys, [self._now(), self._terms.ttl, self._terms.user_limit, value])

    async def reprioritize(self, job_id: str, owner: str, priority: int) -> bool:
        """Moves a waiting job to where it would stand with this priority; False if it does not wait any more.

        Raises JobNotFound for a job of somebody else.
        """
        keys = [self.keys.index, self.keys.job(job_id), self.keys.stats, self.keys.root]
        t = self._terms
        arguments = [job_id, owner, str(priority), t.priority_unit, self._now(), t.ttl, t.user_limit]
        word = (await self._run("reprioritize", keys, arguments))[0]
        if word == "not_found":
            raise JobNotFound
        return bool(word == "moved")
