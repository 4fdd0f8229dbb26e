"""The verbs that admit, start and end jobs. Each is one script, one call, and safe to send twice."""

import asyncio
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from shared.clock import Clock
from shared.config.settings import Settings
from shared.config.timing import SUBMIT_MARGIN
from shared.errors import StoreError, StoreUncertain
from shared.jobqueue.attempts import Attempts, Ticket
from shared.jobqueue.follow_ups import FollowUps
from shared.jobqueue.replies import Admitted, Canceled, Claim, Ended, Rehomed
from shared.jobqueue.spending import bound_of, ledger_of
from shared.log import log
from shared.store import Store

MAYBE_APPLIED = (StoreUncertain, asyncio.CancelledError)  # how a call may end whose jobs were taken all the same


class JobQueue(Attempts):
    """What moves jobs, from the submit to the end."""

    def __init__(self, store: Store, settings: Settings, clock: Clock, follow_ups: FollowUps | None = None) -> None:
        super().__init__(store, settings, clock, follow_ups)
        self._unanswered: list[Ticket] = []
        self._expects = False  # whether jobs waited when this process last looked

    async def enqueue(
        self,
        job_id: str,
        fingerprint: str,
        fields: Mapping[str, str],
        *,
        score: int,
        start: bool,
        token: str = "",
        cost: str = "",
        user_queued: int | None = None,
        max_waiting: int | None = None,
    ) -> Admitted:
        """Admits the job whose first fields are given; see SubmitRequest.fields.

        A new ``token`` for each call separates a repeat of this call from another call with the same id. With a
        ``cost``, ``score`` is a head start (the fair policy). ``user_queued`` is how many tasks the user may have,
        whatever the shares of the user and the key; None: as the settings say. ``max_waiting`` takes the place of
        MAX_KEY_QUEUED, and the field ``key_tasks`` that of MAX_KEY_TASKS. Raises IdempotencyConflict,
        UserLimitReached, UserQueueFull, KeyQueueFull, QueueFull or BudgetExceeded; nothing is written then.
        """
        # An operator's redrive is bound by no share.
        shares: dict[str, int | None] = {} if user_queued is None else {"key_queued": None, "user_waiting": None}
        if max_waiting is not None:
            shares["key_queued"] = max_waiting
        if "key_tasks" in fields:
            shares["key_tasks"] = int(fields["key_tasks"])
        return await self._run(
            "enqueue",
            Admitted,
            job=self.keys.job(job_id),
            user=self.keys.user(fields["owner"], fields["user"]),
            id=job_id,
            token=token or secrets.token_hex(8),
            fingerprint=fingerprint,
            now=int(fields["created_at"]),
            lane=int(fields["lane"]),
            share=int(fields["share"]),
            score=score,
            start=start,
            adoption=timedelta(milliseconds=int(fields["adoption"])),
            user_queued=user_queued or self._settings.user_queued,
            expire_at=int(fields["expire_at"]),
            model=fields["model"],
            cost=int(cost) if cost else None,
            active=self.keys.active(fields["owner"]),
            key_weight=self._settings.key_weight(fields["owner"]),
            ledger=ledger_of(self._settings, fields["owner"], fields["user"], int(fields["created_at"])),
            bound=bound_of(fields),
            fields=fields,
            **shares,
        )

    async def claim(self, want: int, *, tick: bool = False) -> Claim:
        """Takes up to ``want`` jobs to submit now, and up to as many overdue ones to look at."""
        earlier = self._unanswered_ticket()
        ticket = earlier or self._new_ticket()
        try:
            claim = await self._run(
                "claim", Claim,
                token=ticket.token, mark=ticket.mark, ticket_age=self._age(ticket), want=want, is_tick=tick,
            )  # fmt: skip
        except (StoreError, asyncio.CancelledError) as error:
            if earlier or isinstance(error, MAYBE_APPLIED):  # mutant: failed repeat
                self._unanswered.append(ticket)
            raise
        return self._taken(claim, ticket)

    async def finish_and_claim(
        self,
        job_id: str,
        attempt: int,
        prediction: str,
        outcome: str,
        fields: Mapping[str, str],
        *,
        want: int,
        bill: str = "",
        foreign: int = 0,
        ended_at: int | None = None,
        incarnation: str = "",
    ) -> Ended:
        """Ends a job as ``finish`` does, and claims up to ``want`` jobs as ``claim`` does, in one call.

        ``claimed`` is None if none waited, or if this end is not the job's. A repeat answers the same jobs. An end with
        a time of its own claims nothing: that would be the time of a submission.
        """
        if not want or ended_at is not None:
            return await self.finish(
                job_id, attempt, prediction, outcome, fields,
                bill=bill, foreign=foreign, ended_at=ended_at, incarnation=incarnation,
            )  # fmt: skip
        earlier = self._unanswered_ticket()
        ticket = earlier or self._new_ticket()
        try:
            ended = await self.finish(
                job_id, attempt, prediction, outcome, fields,
                bill=bill, foreign=foreign, incarnation=incarnation, ticket=ticket, want=want,
                expects=self._expects or earlier is not None,
            )  # fmt: skip
        except (StoreError, asyncio.CancelledError) as error:
            if earlier or isinstance(error, MAYBE_APPLIED):  # mutant: failed repeat of an end
                self._unanswered.append(ticket)
            raise
        if earlier and ended.claimed is None:
            self._unanswered.append(earlier)  # this call has not claimed
        self._expects = ended.claimed is not None and bool(ended.claimed.started)
        return replace(ended, claimed=ended.claimed and self._taken(ended.claimed, ticket))

    def _new_ticket(self) -> Ticket:
        mark = random.randint(1, 999)  # noqa: S311 (a hint for replays, not a secret)
        return Ticket(secrets.token_hex(8), mark, self._clock.now())

    @staticmethod
    def _taken(claim: Claim, ticket: Ticket) -> Claim:
        return replace(claim, started=tuple(replace(job, claimed_at=ticket.claimed_at) for job in claim.started))

    def _unanswered_ticket(self) -> Ticket | None:
        """Takes out a claim of this process that was never answered, if what it may have got can still be submitted.

        A repeat of its ticket brings those jobs; otherwise it would stay unknown that no submission was made for them.
        The ticket is taken out, since two claims under one ticket would both get the same jobs.
        """
        s = self._settings
        usable = (s.lease - s.provider_timeout - s.timing_scale * SUBMIT_MARGIN) * 1000
        while self._unanswered:
            ticket = self._unanswered.pop()
            if self._clock.now() < ticket.claimed_at + usable:
                return ticket
        return None

    async def cancel(self, job_id: str, owner: str) -> Canceled:
        """Ends a waiting job, or asks for the end of a running one; raises JobNotFound for one of another owner."""
        token = secrets.token_hex(8)
        return await self._run("cancel", Canceled, job=self.keys.job(job_id), id=job_id, owner=owner, token=token)

    async def expire(self, job_id: str) -> Ended:
        """Ends a job that has waited longer than its queue allows, if it does so still."""
        return await self._run("expire", Ended, job=self.keys.job(job_id), id=job_id)

    async def rehome(self, user_key: str, job_ids: Sequence[str] = (), *, whole: bool = True) -> int:
        """Puts a user's live jobs back where the index or the user's set has lost them, and makes ready what may be.

        A job with a score of an earlier PRIORITY_POLICY gets one of the present. Looks at the jobs named and, if
        ``whole``, at all in the user's set. Returns how many had been lost.
        """
        reply = await self._run("rehome", Rehomed, user=user_key, whole=whole, ids=job_ids)
        if reply.rescored:
            log.info("jobs_rescored", count=reply.rescored)
        return reply.rehomed
