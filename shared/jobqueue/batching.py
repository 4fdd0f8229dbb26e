"""The verbs of batches: many jobs that are one task of their user."""

import secrets
from collections.abc import Mapping, Sequence

from shared.errors import BatchNotFound, NotFailed, Problem, QueueFull
from shared.jobqueue.batch import BatchRecord
from shared.jobqueue.reads import BatchRead
from shared.jobqueue.replies import BatchCanceled, Created, Refusal, Retried
from shared.jobqueue.scripted import Scripted
from shared.jobqueue.spending import bound_of, ledger_of
from shared.jobqueue.state import CancelWord
from shared.signing.shares import share_of

Pairs = Mapping[str, str]


class BatchQueue(Scripted):
    """Creates, reads, cancels and retries batches; their jobs move like all others."""

    async def create(
        self,
        batch_id: str,
        fingerprint: str,
        batch: Pairs,
        common: Pairs,
        jobs: Sequence[tuple[int, Pairs]],
        cost: str,
        *,
        max_waiting: int | None = None,
    ) -> Created:
        """Admits the jobs, each given as its score and the fields it does not share.

        All or none are admitted. ``max_waiting`` takes the place of MAX_KEY_QUEUED. Raises IdempotencyConflict,
        UserLimitReached, UserQueueFull, KeyQueueFull, QueueFull or BudgetExceeded.
        """
        parts = [_flat(batch), _flat(common)]
        parts += [[f"{batch_id}_{n}", str(score), *_flat(own)] for n, (score, own) in enumerate(jobs)]
        return await self._run(
            "batch_create",
            Created,
            batch=self.keys.batch(batch_id),
            user=self.keys.user(common["owner"], common["user"]),
            batch_queue=self.keys.batch_queue(batch_id),
            batch_id=batch_id,
            fingerprint=fingerprint,
            now=int(common["created_at"]),
            cost=int(cost) if cost else None,
            active=self.keys.active(common["owner"]),
            key_weight=self._settings.key_weight(common["owner"]),
            ledger=ledger_of(self._settings, common["owner"], common["user"], int(common["created_at"])),
            bounds=[bound_of({**common, **own}) for _, own in jobs],
            lane=int(common["lane"]),
            share=int(common["share"]),
            expire_at=int(common["expire_at"]),
            widths=[len(part) for part in parts],
            fields=[piece for part in parts for piece in part],
            **({} if max_waiting is None else {"key_queued": max_waiting}),
        )

    async def read(self, batch_id: str, first: int = 0, count: int = 0) -> BatchRecord:
        """The batch, with the results of ``count`` of its jobs from number ``first`` on. Raises BatchNotFound."""
        found = await self._run(
            "batch_read",
            BatchRead,
            batch=self.keys.batch(batch_id),
            batch_queue=self.keys.batch_queue(batch_id),
            batch_id=batch_id,
            first=first,
            count=count,
        )
        if not found.fields:
            raise BatchNotFound
        return BatchRecord(
            batch_id,
            found.fields,
            live=found.live,
            running=frozenset(found.running),
            first=first,
            results=found.results,
        )

    async def cancel(self, batch_id: str, owner: str) -> CancelWord:
        """Ends what waits and asks for the end of what runs: 'canceled', 'cancel_requested' or 'already_terminal'.

        Raises BatchNotFound for a batch of another owner.
        """
        reply = await self._run(
            "batch_cancel",
            BatchCanceled,
            batch=self.keys.batch(batch_id),
            batch_id=batch_id,
            owner=owner,
            token=secrets.token_hex(8),
        )
        if reply.word == "already_terminal":
            return reply.word
        return "cancel_requested" if reply.requested else "canceled"

    async def retry(
        self,
        batch_id: str,
        owner: str,
        user: str,
        *,
        canceled_too: bool,
        cost: str,
        user_queued: int | None = None,
        hook: Mapping[str, str] | None = None,
    ) -> int:
        """Makes new jobs for those that failed; says how many. Raises BatchNotFound, UserLimitReached, UserQueueFull,
        KeyQueueFull, QueueFull or BudgetExceeded.

        ``user_queued`` takes the place of MAX_USER_QUEUED. ``hook`` has the fields of the owner's default hook, which
        new jobs that use it get in place of those of the old jobs.
        """
        raised = {} if user_queued is None else {"user_queued": user_queued}
        reply = await self._run(
            "batch_retry",
            Retried,
            batch=self.keys.batch(batch_id),
            batch_queue=self.keys.batch_queue(batch_id),
            user=self.keys.user(owner, user),
            batch_id=batch_id,
            owner=owner,
            token=secrets.token_hex(8),
            canceled_too=canceled_too,
            cost=int(cost) if cost else None,
            active=self.keys.active(owner),
            key_weight=self._settings.key_weight(owner),
            share=share_of(self._settings.signing_key, owner, user),
            ledger=ledger_of(self._settings, owner, user, self._clock.now()),
            hook=hook or {},
            **raised,
        )
        return reply.count

    async def redrive(
        self, batch_id: str, job_id: str, user_queued: int, *, dry_run: bool, hook: Mapping[str, str] | None = None
    ) -> str:
        """Retries the batch of a failed job, past its user's limit; returns the id of the job in its place.

        A repeat returns the same. A dry run returns the id that the job would have. Raises NotFailed, BatchNotFound,
        KeyQueueFull, QueueFull or BudgetExceeded.
        """
        batch = await self.read(batch_id)
        number = int(job_id.removeprefix(f"{batch_id}_").partition("r")[0])
        if batch.job_ids[number] != job_id:
            return batch.job_ids[number]
        if batch.statuses[number] != "failed":
            raise NotFailed
        if dry_run:
            return f"{batch_id}_{number}r{batch.rounds + 1}"
        await self.retry(
            batch_id,
            batch.owner,
            batch.user,
            canceled_too=batch.policy == "all_or_nothing",
            cost=batch.cost,
            user_queued=user_queued,
            hook=hook,
        )
        return (await self.read(batch_id)).job_ids[number]

    def _refused(self, refusal: Refusal) -> Problem:
        match refusal.word:
            case "not_found":
                return BatchNotFound()
            case "queue_full":
                detail = f"{refusal.waiting} jobs are waiting, and this batch would not fit as well."
                return QueueFull(detail, retry_after=30)
            case _:
                return super()._refused(refusal)


def _flat(pairs: Pairs) -> list[str]:
    return [part for pair in pairs.items() for part in pair]
