"""The verbs of batches: many jobs that are one task of their user."""

import secrets
from collections.abc import Mapping, Sequence

from shared.clock import Clock
from shared.config.settings import Settings
from shared.errors import BatchNotFound, IdempotencyConflict, QueueFull, UserLimitReached
from shared.jobqueue.batch import BatchRecord
from shared.jobqueue.follow_ups import FollowUps
from shared.jobqueue.scripted import Scripted
from shared.store import Store

Pairs = Mapping[str, str]
NO_ROOM = "{} jobs are waiting, and this batch would not fit beside them."


class BatchQueue(Scripted):
    """Creates, reads, cancels and retries batches; their jobs move like all others."""

    def __init__(self, store: Store, settings: Settings, clock: Clock, follow_ups: FollowUps | None = None) -> None:
        super().__init__(store, settings, clock)
        self.follow_ups = follow_ups or FollowUps(clock)

    async def create(
        self, batch_id: str, fingerprint: str, batch: Pairs, common: Pairs, jobs: Sequence[tuple[int, Pairs]], cost: str
    ) -> str:
        """Admits the jobs, each given as its score and the fields it does not share: 'created' or 'duplicate'.

        All or none are admitted. Raises IdempotencyConflict, UserLimitReached or QueueFull.
        """
        parts = [_flat(batch), _flat(common)]
        parts += [[f"{batch_id}_{n}", str(score), *_flat(own)] for n, (score, own) in enumerate(jobs)]
        reply = await self._run(
            "batch_create",
            batch=self.keys.batch(batch_id),
            user=self.keys.user(common["owner"], common["user"]),
            batch_queue=self.keys.batch_queue(batch_id),
            batch_id=batch_id,
            fingerprint=fingerprint,
            now=int(common["created_at"]),
            cost=int(cost) if cost else None,
            lane=int(common["lane"]),
            expire_at=int(common["expire_at"]),
            widths=[len(part) for part in parts],
            fields=[piece for part in parts for piece in part],
        )
        match reply:
            case ["created" | "duplicate" as word]:
                return str(word)
            case ["user_limit", live, allowed]:
                raise UserLimitReached(int(live), int(allowed))
            case ["queue_full", waiting]:
                raise QueueFull(NO_ROOM.format(waiting), retry_after=30)
            case _:
                raise IdempotencyConflict

    async def read(self, batch_id: str, first: int = 0, count: int = 0) -> BatchRecord:
        """The batch, with the results of ``count`` of its jobs from number ``first`` on. Raises BatchNotFound."""
        flat, live, running, results = await self._run(
            "batch_read",
            batch=self.keys.batch(batch_id),
            batch_queue=self.keys.batch_queue(batch_id),
            batch_id=batch_id,
            first=first,
            count=count,
        )
        if not flat:
            raise BatchNotFound
        fields = {flat[n]: flat[n + 1] for n in range(0, len(flat), 2)}
        return BatchRecord(batch_id, fields, live=live, running=frozenset(running), first=first, results=results)

    async def cancel(self, batch_id: str, owner: str) -> str:
        """Ends what waits and asks for the end of what runs: 'canceled', 'cancel_requested' or 'already_terminal'.

        Raises BatchNotFound for a batch of somebody else.
        """
        reply = await self._run(
            "batch_cancel",
            batch=self.keys.batch(batch_id),
            batch_id=batch_id,
            owner=owner,
            token=secrets.token_hex(8),
        )
        match reply:
            case ["canceled", _, requested, follow]:
                self.follow_ups.note(follow)
                return "canceled" if requested == "0" else "cancel_requested"
            case ["already_terminal"]:
                return "already_terminal"
            case _:
                raise BatchNotFound

    async def retry(self, batch_id: str, owner: str, user: str, *, canceled_too: bool, cost: str) -> int:
        """Makes new jobs for those that failed; says how many. Raises BatchNotFound or UserLimitReached."""
        reply = await self._run(
            "batch_retry",
            batch=self.keys.batch(batch_id),
            batch_queue=self.keys.batch_queue(batch_id),
            user=self.keys.user(owner, user),
            batch_id=batch_id,
            owner=owner,
            token=secrets.token_hex(8),
            canceled_too=canceled_too,
            cost=int(cost) if cost else None,
        )
        match reply:
            case ["retried", count]:
                return int(count)
            case ["user_limit", live, allowed]:
                raise UserLimitReached(int(live), int(allowed))
            case ["queue_full", waiting]:
                raise QueueFull(NO_ROOM.format(waiting), retry_after=30)
            case _:
                raise BatchNotFound


def _flat(pairs: Pairs) -> list[str]:
    return [part for pair in pairs.items() for part in pair]
