"""The job queue's verbs. Each is one script, one call, and safe to send twice."""

import json
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from shared.clock import Clock
from shared.config.settings import Settings
from shared.config.timing import SUBMIT_MARGIN
from shared.errors import IdempotencyConflict, JobNotFound, QueueFull, StoreUncertain, UserLimitReached
from shared.jobqueue.follow_ups import FollowUps
from shared.jobqueue.replies import Admitted, Canceled, Claim, Claimed, Ended, Overdue
from shared.jobqueue.scripted import Scripted
from shared.jobqueue.terms import provider_in
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
        reply = await self._run(
            "enqueue",
            job=self.keys.job(job_id),
            user=self.keys.user(fields["owner"], fields["user"]),
            id=job_id,
            token=token or secrets.token_hex(8),
            fingerprint=fingerprint,
            now=int(fields["created_at"]),
            lane=int(fields["lane"]),
            score=score,
            start=start,
            adoption=timedelta(milliseconds=int(fields["adoption"])),
            user_queued=user_queued or self._settings.user_queued,
            expire_at=int(fields["expire_at"]),
            model=fields["model"],
            cost=int(cost) if cost else None,
            fields=fields,
        )
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
        try:
            reply = await self._run("claim", token=ticket.token, mark=ticket.mark, want=want, is_tick=tick)
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
        gate = probe if probe.startswith("~p") else ""  # a model's circuit closes when a run has succeeded
        reply = await self._run(
            "record",
            job=self.keys.job(job_id),
            owner=self.keys.owner(prediction),
            id=job_id,
            attempt=attempt,
            prediction=prediction,
            first_check=timedelta(seconds=check),
            probe=gate,
        )
        word, is_unwanted, follow = (*reply, "0", "")[:3]
        self.follow_ups.note(follow)
        return "cancel_requested" if is_unwanted == "1" else str(word)

    async def finish(
        self, job_id: str, attempt: int, prediction: str, outcome: str, fields: Mapping[str, str]
    ) -> Ended:
        """Ends the job with ``outcome`` completed or canceled; what the store's state says may win over it.

        With ``files`` among the fields they are stored before the owner is told.
        """
        reply = await self._run(
            "finish",
            job=self.keys.job(job_id),
            owner=self.keys.owner(prediction),
            id=job_id,
            attempt=attempt,
            prediction=prediction,
            outcome=outcome,
            store_lease=timedelta(seconds=self._settings.lease) if "files" in fields else None,
            fields=fields,
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
        reply = await self._run(
            "fail",
            job=self.keys.job(job_id),
            owner=self.keys.owner(prediction),
            id=job_id,
            attempt=attempt,
            prediction=prediction,
            code=code,
            detail=detail,
            retryable=retryable,
            jitter=random.random(),  # noqa: S311
            entry=self._entry(attempt, code, detail, prediction),
            circuit_failures=self._settings.circuit_failures if speaks_of_model(code) else 0,
        )
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
        reply = await self._run(
            "snooze",
            job=self.keys.job(job_id),
            id=job_id,
            attempt=attempt,
            delay=timedelta(seconds=delay),
            code=code,
            token=token,
            pause=pause,
        )
        self._outcome(reply)
        return str(reply[0])

    async def cancel(self, job_id: str, owner: str) -> Canceled:
        """Ends a waiting job, or asks for the end of a running one; raises JobNotFound for a job of somebody else."""
        token = secrets.token_hex(8)
        match await self._run("cancel", job=self.keys.job(job_id), id=job_id, owner=owner, token=token):
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
        reply = await self._run(
            "rescue",
            job=self.keys.job(job_id),
            id=job_id,
            attempt=attempt,
            max_rescues=MAX_RESCUES,
            entry=self._entry(attempt, "submission_unknown", "", ""),
        )
        self._outcome(reply)
        return str(reply[0])

    async def expire(self, job_id: str) -> str:
        """Ends a job that has waited longer than its queue allows: 'finished', or 'stale' if it does not any more."""
        reply = await self._run("expire", job=self.keys.job(job_id), id=job_id)
        self._outcome(reply)
        return str(reply[0])

    async def trip(self, job_id: str, attempt: int) -> None:
        """Counts a submission with no usable answer against its model's circuit, once."""
        if self._settings.circuit_failures:
            await self._run("trip", job=self.keys.job(job_id), attempt=attempt)

    async def adopt(self, job_id: str, attempt: int, candidates: Sequence[str]) -> tuple[str, str]:
        """Gives a lost submission the one candidate that is nobody's: 'adopted' and it, 'none', 'ambiguous'."""
        reply = await self._run("adopt", job=self.keys.job(job_id), id=job_id, attempt=attempt, candidates=candidates)
        word, prediction, follow = (*reply, "", "")[:3]
        self.follow_ups.note(follow)
        return word, prediction

    async def rehome(self, user_key: str, job_ids: Sequence[str] = (), *, whole: bool = True) -> int:
        """Puts a user's live jobs back where the index or his set has lost them, and makes ready who may be.

        Looks at all that his set names, unless not ``whole``, and at the jobs named. Says how many had been lost.
        """
        reply = await self._run("rehome", user=user_key, whole=whole, ids=job_ids)
        return int(reply[1])

    async def check(self, job_id: str) -> Overdue | None:
        """The job to ask the provider about, for one caller in the whole fleet; None for all others."""
        gap = timedelta(seconds=self._settings.status_check_interval)
        reply = await self._run("check", job=self.keys.job(job_id), id=job_id, gap=gap)
        if reply[0] != "ask":
            return None
        return Overdue.of([job_id, *reply[1:]])

    async def progress(self, job_id: str, attempt: int, prediction: str, percent: int) -> None:
        """Notes how far a running prediction has come, 0 to 100."""
        job = self.keys.job(job_id)
        await self._run("progress", job=job, attempt=attempt, prediction=prediction, progress=percent)

    def _outcome(self, reply: Sequence[str]) -> str:
        """How a job ended, if it did; notes what is left to do for it."""
        if reply[0] != "finished":
            return ""
        self.follow_ups.note(reply[2])
        return reply[1]
