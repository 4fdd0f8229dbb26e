"""The verbs of batches: many jobs that are one task of their user."""

import secrets
from collections.abc import Mapping, Sequence

from shared.clock import Clock
from shared.config.settings import Settings
from shared.errors import BatchNotFound, IdempotencyConflict, QueueFull, UserLimitReached
from shared.jobqueue.follow_ups import FollowUps
from shared.jobqueue.replies import BatchRecord
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
        t = self._terms
        parts = [_flat(batch), _flat(common)]
        parts += [[f"{batch_id}_{n}", str(score), *_flat(own)] for n, (score, own) in enumerate(jobs)]
        reply = await self._run(
            "batch_create",
            [
                self.keys.index, self.keys.batch(batch_id), self.keys.user(common["owner"], common["user"]),
                self.keys.root, self.keys.batch_queue(batch_id),
            ],
            [
                batch_id, fingerprint, common["created_at"], t.user_limit, t.user_queued, t.queue_size, cost, t.heirs,
                common["lane"], common["expire_at"], ",".join(str(len(part)) for part in parts),
                *(piece for part in parts for piece in part),
            ],
        )  # fmt: skip
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
        keys = [self.keys.index, self.keys.batch(batch_id), self.keys.batch_queue(batch_id), self.keys.root]
        flat, live, running, results = await self._run(
            "batch_read", keys, [batch_id, self._terms.limit, str(first), str(count)]
        )
        if not flat:
            raise BatchNotFound
        fields = {flat[n]: flat[n + 1] for n in range(0, len(flat), 2)}
        return BatchRecord(batch_id, fields, frozenset(live), frozenset(running), first, tuple(results))

    async def cancel(self, batch_id: str, owner: str) -> str:
        """Ends what waits and asks for the end of what runs: 'canceled', 'cancel_requested' or 'already_terminal'.

        Raises BatchNotFound for a batch of somebody else.
        """
        t = self._terms
        keys = [self.keys.index, self.keys.batch(batch_id), self.keys.stats, self.keys.root]
        arguments = [batch_id, owner, secrets.token_hex(8), self._now(), t.ttl, t.user_limit]
        match await self._run("batch_cancel", keys, arguments):
            case ["canceled", _, requested, follow]:
                self.follow_ups.note(follow)
                return "canceled" if requested == "0" else "cancel_requested"
            case ["already_terminal"]:
                return "already_terminal"
            case _:
                raise BatchNotFound

    async def retry(self, batch_id: str, owner: str, user: str, *, canceled_too: bool, cost: str) -> int:
        """Makes new jobs for those that failed; says how many. Raises BatchNotFound or UserLimitReached."""
        t = self._terms
        keys = [
            self.keys.index, self.keys.batch(batch_id), self.keys.stats, self.keys.root,
            self.keys.batch_queue(batch_id), self.keys.user(owner, user),
        ]  # fmt: skip
        arguments = [
            batch_id, owner, secrets.token_hex(8), self._now(), t.ttl, t.user_limit, t.user_queued,
            "1" if canceled_too else "0", t.priority_unit, cost, t.queue_size,
        ]  # fmt: skip
        match await self._run("batch_retry", keys, arguments):
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
