"""The job queue's verbs. Each is one script, one call, and safe to send twice."""

import json
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.clock import Clock
from shared.config.settings import Settings
from shared.config.timing import SUBMIT_MARGIN
from shared.errors import IdempotencyConflict, JobNotFound, QueueFull, StoreUncertain, UserLimitReached
from shared.jobqueue.follow_ups import FollowUps
from shared.jobqueue.replies import Admitted, Canceled, Claim, Claimed, Ended, Overdue
from shared.jobqueue.scripted import Scripted
from shared.jobqueue.terms import ms, provider_in
from shared.providers.failures import speaks_of_model
from shared.store import Store

MAX_RESCUES = 3  # a job whose submission was lost this often is poison
MAX_ENTRY = 200  # characters of an attempt's error that its history keeps


@dataclass(frozen=True)
class Ticket:
    """Who claims: what a claim is recognised by when it is sent again. ``claimed_at`` in ms of this process' clock."""

    token: str
    mark: int
    claimed_at: int


class JobQueue(Scripted):
    """What moves jobs, from the submit to the end."""

    def __init__(self, store: Store, settings: Settings, clock: Clock, follow_ups: FollowUps | None = None) -> None:
        super().__init__(store, settings, clock)
        self.follow_ups = follow_ups or FollowUps(clock)
        self._unanswered: list[Ticket] = []

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
    ) -> Admitted:
        """Admits the job whose first fields are given; see SubmitRequest.fields.

        By ``token``, chosen anew for each call, a repeat of this call is told from another with the same id. With a
        ``cost``, ``score`` is a head start (the fair policy). ``user_queued`` is how many tasks the user may have, if
        not what the settings say. Raises IdempotencyConflict, UserLimitReached or QueueFull; nothing is written then.
        """
        flat = [part for pair in fields.items() for part in pair]
        t, s = self._terms, self._settings
        reply = await self._run(
            "enqueue",
            [
                self.keys.index, self.keys.job(job_id), self.keys.user(fields["owner"], fields["user"]),
                self.keys.stats, self.keys.root,
            ],
            [
                job_id, token or secrets.token_hex(8), fingerprint, fields["created_at"], self._clock.lease_now(),
                fields["lane"], str(score), "1" if start else "0", t.lease, fields["adoption"], t.limit, t.concurrency,
                t.providers, t.lanes, t.user_limit, str(user_queued or s.user_queued), t.queue_size,
                fields["expire_at"], fields["model"], cost, t.heirs, *flat,
            ],
        )  # fmt: skip
        return self._admitted(reply)

    def _admitted(self, reply: Sequence[str]) -> Admitted:
        match reply:
            case ["started", attention]:
                return Admitted("started", attention=attention == "1")
            case ["queued" | "backlog" as word, position, attention]:
                return Admitted(word, position=int(position) if position else None, attention=attention == "1")
            case ["duplicate"]:
                return Admitted("duplicate")
            case ["user_limit", live, allowed]:
                raise UserLimitReached(int(live), int(allowed))
            case ["queue_full", waiting]:
                raise QueueFull(f"{waiting} jobs are waiting, which is all this deployment holds.", retry_after=30)
            case _:
                raise IdempotencyConflict

    async def claim(self, want: int, *, tick: bool = False) -> Claim:
        """Takes up to ``want`` jobs to submit now, and up to as many overdue ones to look at."""
        ticket = self._unanswered_ticket() or Ticket(
            secrets.token_hex(8),
            random.randint(1, 999),  # noqa: S311 (a hint for replays, not a secret)
            self._clock.now(),
        )
        t = self._terms
        try:
            reply = await self._run(
                "claim",
                [self.keys.index, self.keys.stats, self.keys.root, self.keys.outbox],
                [
                    ticket.token, self._now(), self._clock.lease_now(), t.lease, str(ticket.mark), str(want), t.limit,
                    t.concurrency, t.providers, t.lanes, t.check_interval, "1" if tick else "0", t.is_fair,
                ],
            )  # fmt: skip
        except StoreUncertain:
            self._unanswered.append(ticket)
            raise
        started, overdue, missing, expired, parked, follow_ups = reply
        return Claim(
            started=tuple(Claimed.of(row, ticket.claimed_at) for row in started),
            overdue=tuple(Overdue.of(row) for row in overdue),
            missing=int(missing),
            expired=tuple(expired),
            parked=int(parked),
            follow_ups=int(follow_ups),
        )

    def _unanswered_ticket(self) -> Ticket | None:
        """Takes out a claim of this process that was never answered, if what it may have got can still be submitted.

        Repeating its ticket brings those jobs, of which otherwise nobody would know that nothing was sent for them.
        Taken out, since two claims under one ticket would both get the same jobs.
        """
        s = self._settings
        usable = (s.lease - s.provider_timeout - s.timing_scale * SUBMIT_MARGIN) * 1000
        while self._unanswered:
            ticket = self._unanswered.pop()
            if self._clock.now() < ticket.claimed_at + usable:
                return ticket
        return None

    async def record(
        self, job_id: str, attempt: int, prediction: str, first_check: float | None = None, *, probe: str = ""
    ) -> str:
        """Notes the attempt's prediction: 'recorded', 'cancel_requested', 'already' or 'stale'.

        ``first_check`` s from now somebody asks about it; FIRST_CHECK_AFTER if not said. After 'cancel_requested'
        and 'stale' the prediction has to be cancelled at the provider. A ``probe`` that was accepted lifts its gate.
        """
        s = self._settings
        # Without webhooks nothing but questions brings news.
        check = (first_check or s.first_check_after) if s.webhooks_wanted else s.status_check_interval
        keys = [self.keys.index, self.keys.job(job_id), self.keys.owner(prediction), self.keys.root]
        gate = probe if probe.startswith("~p") else ""  # a model's circuit closes when a run has succeeded
        arguments = [job_id, str(attempt), prediction, self._now(), ms(check), self._terms.owner_ttl, gate]
        reply = await self._run("record", keys, arguments)
        word, is_unwanted, follow = (*reply, "0", "")[:3]
        self.follow_ups.note(follow)
        return "cancel_requested" if is_unwanted == "1" else str(word)

    async def finish(
        self, job_id: str, attempt: int, prediction: str, outcome: str, fields: Mapping[str, str]
    ) -> Ended:
        """Ends the job with ``outcome`` completed or canceled; what the store's state says may win over it.

        With ``files`` among the fields they are stored before the owner is told.
        """
        flat = [part for pair in fields.items() for part in pair]
        t = self._terms
        reply = await self._run(
            "finish",
            [*self._ending_keys(job_id), self.keys.owner(prediction)],
            [
                job_id,
                str(attempt),
                prediction,
                outcome,
                self._now(),
                t.ttl,
                t.owner_ttl,
                t.user_limit,
                t.lease if "files" in fields else "",
                *flat,
            ],
        )
        word, *rest = reply
        self.follow_ups.note(rest[3] if len(rest) > 3 else "")
        return Ended(
            word,
            outcome=rest[0] if rest else "",
            waiting=rest[1] == "1" if len(rest) > 1 else False,
            other=rest[2] if len(rest) > 2 else "",
        )

    async def fail(
        self, job_id: str, attempt: int, prediction: str, *, code: str, detail: str, retryable: bool
    ) -> Ended:
        """Ends a failed attempt: the job waits for its next one, or ends failed."""
        t = self._terms
        reply = await self._run(
            "fail",
            [*self._ending_keys(job_id), self.keys.owner(prediction)],
            [
                job_id, str(attempt), prediction, self._now(), t.ttl, code, detail, "1" if retryable else "0",
                f"{random.random():.4f}",  # noqa: S311 (jitter)
                t.retry_bonus, t.owner_ttl, t.user_limit, self._entry(attempt, code, detail, prediction),
                t.circuit_failures if speaks_of_model(code) else "0", t.circuit_pause,
            ],
        )  # fmt: skip
        outcome = self._outcome(reply)
        return Ended(reply[0], outcome=outcome, waiting=reply[0] in ("finished", "delayed"))

    def _entry(self, attempt: int, code: str, detail: str, prediction: str) -> str:
        """One attempt in a job's history; the entries joined by commas are the inside of a JSON array."""
        entry = {"attempt": attempt, "at": self._clock.now(), "code": code, "detail": detail[:MAX_ENTRY],
                 "prediction": prediction}  # fmt: skip
        return json.dumps(entry, separators=(",", ":"))

    async def snooze(
        self, job_id: str, attempt: int, *, delay: float, code: str, token: str = "", pause: bool = False
    ) -> str:
        """Puts back, for ``delay`` s, a job whose submission surely did not happen; no attempt is used up.

        With a ``token``, only if the attempt was begun by the enqueue that bore it. With ``pause``, its provider takes
        nothing from anybody for so long: all its jobs wait, and then one of them is the probe.
        """
        t = self._terms
        arguments = [
            job_id, str(attempt), self._now(), ms(delay), code, t.ttl, token, t.user_limit, "1" if pause else "0",
        ]  # fmt: skip
        reply = await self._run("snooze", self._ending_keys(job_id), arguments)
        self._outcome(reply)
        return str(reply[0])

    async def cancel(self, job_id: str, owner: str) -> Canceled:
        """Ends a waiting job, or asks for the end of a running one; raises JobNotFound for a job of somebody else."""
        t = self._terms
        arguments = [job_id, owner, secrets.token_hex(8), self._now(), t.ttl, t.user_limit]
        match await self._run("cancel", self._ending_keys(job_id), arguments):
            case ["canceled", follow]:
                self.follow_ups.note(follow)
                return Canceled("canceled")
            case ["cancel_requested", attempt, prediction, lane]:
                provider = provider_in(int(lane))
                return Canceled("cancel_requested", attempt=int(attempt), prediction=prediction, provider=provider)
            case ["already_terminal", outcome]:
                return Canceled("already_terminal", outcome=outcome)
            case _:
                raise JobNotFound

    async def rescue(self, job_id: str, attempt: int) -> str:
        """Decides about a submission whose lease lapsed: 'waiting', 'requeued', 'finished' or 'stale'."""
        t = self._terms
        entry = self._entry(attempt, "submission_unknown", "", "")
        arguments = [
            job_id, str(attempt), self._now(), self._clock.lease_now(), t.ttl, str(MAX_RESCUES), t.user_limit, entry,
        ]  # fmt: skip
        reply = await self._run("rescue", self._ending_keys(job_id), arguments)
        self._outcome(reply)
        return str(reply[0])

    async def expire(self, job_id: str) -> str:
        """Ends a job that has waited longer than its queue allows: 'finished', or 'stale' if it does not any more."""
        arguments = [job_id, self._now(), self._clock.lease_now(), self._terms.ttl, self._terms.user_limit]
        reply = await self._run("expire", self._ending_keys(job_id), arguments)
        self._outcome(reply)
        return str(reply[0])

    async def trip(self, job_id: str, attempt: int) -> None:
        """Counts a submission with no usable answer against its model's circuit, once."""
        t = self._terms
        if self._settings.circuit_failures:
            arguments = [str(attempt), self._now(), t.ttl, t.user_limit, t.circuit_failures, t.circuit_pause]
            await self._run("trip", self._ending_keys(job_id), arguments)

    async def adopt(self, job_id: str, attempt: int, candidates: Sequence[str]) -> tuple[str, str]:
        """Gives a lost submission the one candidate that is nobody's: 'adopted' and it, 'none', 'ambiguous'."""
        keys = [
            self.keys.index,
            self.keys.job(job_id),
            self.keys.stats,
            self.keys.owners,
            self.keys.jobs,
            self.keys.root,
        ]
        arguments = [job_id, str(attempt), self._now(), self._terms.owner_ttl, *candidates]
        word, prediction, follow = (*await self._run("adopt", keys, arguments), "", "")[:3]
        self.follow_ups.note(follow)
        return word, prediction

    async def rehome(self, user_key: str, job_ids: Sequence[str] = (), *, whole: bool = True) -> int:
        """Puts a user's live jobs back where the index or his set has lost them, and makes ready who may be.

        Looks at all that his set names, unless not ``whole``, and at the jobs named. Says how many had been lost.
        """
        keys = [self.keys.index, self.keys.stats, self.keys.root, user_key]
        return int(
            (
                await self._run(
                    "rehome",
                    keys,
                    [self._now(), self._terms.user_limit, self._terms.ttl, "1" if whole else "0", *job_ids],
                )
            )[1]
        )

    async def check(self, job_id: str) -> Overdue | None:
        """The job to ask the provider about, for one caller in the whole fleet; None for all others."""
        arguments = [job_id, self._now(), ms(self._settings.status_check_interval), self._terms.check_interval]
        reply = await self._run("check", [self.keys.index, self.keys.job(job_id)], arguments)
        if reply[0] != "ask":
            return None
        return Overdue.of([job_id, *reply[1:]])

    async def progress(self, job_id: str, attempt: int, prediction: str, percent: int) -> None:
        """Notes how far a running prediction has come, 0 to 100."""
        await self._run("progress", [self.keys.job(job_id)], [str(attempt), prediction, str(percent)])

    def _outcome(self, reply: Sequence[str]) -> str:
        """How a job ended, if it did; notes what is left to do for it."""
        if reply[0] != "finished":
            return ""
        self.follow_ups.note(reply[2])
        return reply[1]

    def _ending_keys(self, job_id: str) -> list[str]:
        return [self.keys.index, self.keys.job(job_id), self.keys.stats, self.keys.root]
