"""The job queue's verbs. Each is one script, one call, and safe to send twice."""

import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.clock import Clock
from shared.errors import IdempotencyConflict, JobNotFound, QueueFull, StoreUncertain, UserLimitReached
from shared.job import READ_FIELDS, Job
from shared.jobqueue.keys import Keys
from shared.jobqueue.priority import RETRY_POINTS
from shared.jobqueue.replies import Admitted, Canceled, Claim, Claimed, Ended, Overdue, QueueCounts, Stats
from shared.jobqueue.scripts import script
from shared.settings import Settings
from shared.store import Store
from shared.timing import SUBMIT_MARGIN

MAX_RESCUES = 3  # a job whose submission was lost this often is poison


@dataclass(frozen=True)
class Ticket:
    """Who claims: what a claim is recognised by when it is sent again. ``claimed_at`` in ms of this process' clock."""

    token: str
    mark: int
    claimed_at: int


def ms(seconds: float) -> str:
    """A duration in s as the scripts take it."""
    return str(round(seconds * 1000))


class JobQueue:
    """All state of all jobs, in one store under one prefix."""

    def __init__(self, store: Store, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self.keys = Keys(settings.prefix)
        self._unanswered: list[Ticket] = []
        self._ttl = str(settings.task_ttl)
        self._limit = str(settings.max_concurrent_tasks)
        self._concurrency = ",".join(str(queue.concurrency) for queue in settings.queue_list)
        self._adoption = ms(settings.cancel_after + settings.adoption_margin)
        # s; an hour more than anything can be adopted
        self._owner_ttl = str(round(settings.lease + settings.cancel_after + settings.adoption_margin) + 3600)
        self._max_attempts = str(1 + settings.queue_max_retries)

    async def enqueue(
        self,
        job_id: str,
        fingerprint: str,
        fields: Mapping[str, str],
        *,
        score: int,
        start: bool,
        token: str = "",
    ) -> Admitted:
        """Admits the job whose first fields are given (owner, user and queue_number among them).

        By ``token``, chosen anew for each call, a repeat of this call is told from another with the same id.
        Raises IdempotencyConflict, UserLimitReached or QueueFull; nothing is written then.
        """
        flat = [part for pair in fields.items() for part in pair]
        reply = await self._run(
            "enqueue",
            [
                self.keys.index, self.keys.job(job_id), self.keys.user(fields["owner"], fields["user"]),
                self.keys.stats, self.keys.jobs,
            ],
            [
                job_id, token or secrets.token_hex(8), fingerprint, fields["created_at"], self._clock.lease_now(),
                fields["queue_number"], str(score), "1" if start else "0", ms(self._settings.lease), self._adoption,
                self._limit, self._concurrency, str(self._settings.max_user_tasks), str(self._settings.max_queue_size),
                *flat,
            ],
        )  # fmt: skip
        return self._admitted(reply)

    def _admitted(self, reply: Sequence[str]) -> Admitted:
        match reply:
            case ["started", attention]:
                return Admitted("started", attention=attention == "1")
            case ["queued", position, attention]:
                return Admitted("queued", position=int(position) if position else None, attention=attention == "1")
            case ["duplicate"]:
                return Admitted("duplicate")
            case ["user_limit", live]:
                allowed = self._settings.max_user_tasks
                detail = f"This user has {live} live tasks and may have {allowed}. Wait until one has ended."
                raise UserLimitReached(detail, field="user_id", retry_after=5)
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
            reply = await self._run(
                "claim",
                [self.keys.index, self.keys.stats, self.keys.jobs],
                [
                    ticket.token, str(self._clock.now()), self._clock.lease_now(), ms(self._settings.lease),
                    self._adoption, str(ticket.mark), str(want), self._limit, self._concurrency,
                    ms(self._settings.check_interval), "1" if tick else "0",
                ],
            )  # fmt: skip
        except StoreUncertain:
            self._unanswered.append(ticket)
            raise
        started, overdue, missing = reply
        return Claim(
            started=tuple(Claimed.of(row, ticket.claimed_at) for row in started),
            overdue=tuple(Overdue.of(row) for row in overdue),
            missing=int(missing),
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

    async def record(self, job_id: str, attempt: int, prediction: str, first_check: float | None = None) -> str:
        """Notes the attempt's prediction: 'recorded', 'cancel_requested', 'already' or 'stale'.

        ``first_check`` s from now somebody asks about it; FIRST_CHECK_AFTER if not said. After 'cancel_requested'
        and 'stale' the prediction has to be cancelled at the provider.
        """
        s = self._settings
        # Without webhooks nothing but questions brings news.
        check = (first_check or s.first_check_after) if s.webhooks_wanted else s.status_check_interval
        keys = [self.keys.index, self.keys.job(job_id), self.keys.owner(prediction)]
        arguments = [job_id, str(attempt), prediction, str(self._clock.now()), ms(check), self._owner_ttl]
        reply = await self._run("record", keys, arguments)
        return "cancel_requested" if reply == ["recorded", "1"] else str(reply[0])

    async def finish(
        self, job_id: str, attempt: int, prediction: str, outcome: str, fields: Mapping[str, str]
    ) -> Ended:
        """Ends the job with ``outcome`` completed or canceled; what the store's state says may win over it."""
        flat = [part for pair in fields.items() for part in pair]
        reply = await self._run(
            "finish",
            [
                self.keys.index,
                self.keys.job(job_id),
                self.keys.stats,
                self.keys.users,
                self.keys.owner(prediction),
            ],
            [job_id, str(attempt), prediction, outcome, str(self._clock.now()), self._ttl, self._owner_ttl, *flat],
        )
        word, *rest = reply
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
        s = self._settings
        bonus = round(RETRY_POINTS * s.priority_seconds_per_point * 1000) if s.priority_policy == "offset" else 0
        reply = await self._run(
            "fail",
            [
                self.keys.index, self.keys.job(job_id), self.keys.stats, self.keys.users, self.keys.dead,
                self.keys.owner(prediction),
            ],
            [
                job_id, str(attempt), prediction, str(self._clock.now()), self._ttl, code, detail,
                "1" if retryable else "0", self._max_attempts, str(s.queue_retry_delay),
                f"{random.random():.4f}",  # noqa: S311 (jitter)
                str(bonus), self._owner_ttl,
            ],
        )  # fmt: skip
        outcome = reply[1] if reply[0] == "finished" else ""
        return Ended(reply[0], outcome=outcome, waiting=reply[0] in ("finished", "delayed"))

    async def snooze(self, job_id: str, attempt: int, *, delay: float, code: str, token: str = "") -> str:
        """Puts back, for ``delay`` s, a job whose submission surely did not happen; no attempt is used up.

        With a ``token``, only if the attempt was begun by the enqueue that bore it.
        """
        keys = [self.keys.index, self.keys.job(job_id), self.keys.stats, self.keys.users]
        arguments = [job_id, str(attempt), str(self._clock.now()), ms(delay), code, self._ttl, token]
        return str((await self._run("snooze", keys, arguments))[0])

    async def cancel(self, job_id: str, owner: str) -> Canceled:
        """Ends a waiting job, or asks for the end of a running one; raises JobNotFound for a job of somebody else."""
        reply = await self._run(
            "cancel",
            [self.keys.index, self.keys.job(job_id), self.keys.stats, self.keys.users],
            [job_id, owner, secrets.token_hex(8), str(self._clock.now()), self._ttl],
        )
        match reply:
            case ["canceled"]:
                return Canceled("canceled")
            case ["cancel_requested", attempt, prediction, provider]:
                return Canceled("cancel_requested", attempt=int(attempt), prediction=prediction, provider=provider)
            case ["already_terminal", outcome]:
                return Canceled("already_terminal", outcome=outcome)
            case _:
                raise JobNotFound

    async def rescue(self, job_id: str, attempt: int) -> str:
        """Decides about a submission whose lease lapsed: 'waiting', 'requeued', 'finished' or 'stale'."""
        reply = await self._run(
            "rescue",
            [self.keys.index, self.keys.job(job_id), self.keys.stats, self.keys.users, self.keys.dead],
            [
                job_id, str(attempt), str(self._clock.now()), self._clock.lease_now(), self._ttl, self._max_attempts,
                str(MAX_RESCUES),
            ],
        )  # fmt: skip
        return str(reply[0])

    async def adopt(self, job_id: str, attempt: int, candidates: Sequence[str]) -> tuple[str, str]:
        """Gives a lost submission the one candidate that is nobody's: 'adopted' and it, 'none', 'ambiguous'."""
        keys = [self.keys.index, self.keys.job(job_id), self.keys.stats, self.keys.owners, self.keys.jobs]
        arguments = [job_id, str(attempt), str(self._clock.now()), self._owner_ttl, *candidates]
        word, *prediction = await self._run("adopt", keys, arguments)
        return word, prediction[0] if prediction else ""

    async def rehome(self, user_key: str, job_ids: Sequence[str] = ()) -> int:
        """Puts a user's live jobs back into the index where it has lost them; says how many."""
        keys = [self.keys.index, self.keys.stats, self.keys.jobs, user_key]
        return int((await self._run("rehome", keys, [str(self._clock.now()), *job_ids]))[1])

    async def walk_users(self, count: int) -> list[str]:
        """Walks past ``count`` keys of the store from where the last walk stopped: the users' keys among them."""
        cursor = await self._store.execute("HGET", self.keys.stats, "sweep_cursor") or "0"
        following, users = await self._store.execute(
            "SCAN", cursor, "MATCH", f"{self.keys.users}*", "COUNT", str(count)
        )
        await self._store.execute("HSET", self.keys.stats, "sweep_cursor", str(following))
        return list(users)

    async def request_of(self, job_id: str) -> tuple[str, str]:
        """The job's model and its input as JSON text; empty if the job is lost."""
        model, given = await self._store.execute("HMGET", self.keys.job(job_id), "model", "input")
        return model or "", given or ""

    async def check(self, job_id: str) -> Overdue | None:
        """The job to ask the provider about, for one caller in the whole fleet; None for all others."""
        s = self._settings
        arguments = [job_id, str(self._clock.now()), ms(s.status_check_interval), ms(s.check_interval)]
        reply = await self._run("check", [self.keys.index, self.keys.job(job_id)], arguments)
        if reply[0] != "ask":
            return None
        return Overdue.of([job_id, *reply[1:]])

    async def progress(self, job_id: str, attempt: int, prediction: str, percent: int) -> None:
        """Notes how far a running prediction has come, 0 to 100."""
        await self._run("progress", [self.keys.job(job_id)], [str(attempt), prediction, str(percent)])

    async def read(self, job_id: str) -> Job:
        """The job as it stands, without its input; one command. Raises JobNotFound."""
        values = await self._store.execute("HMGET", self.keys.job(job_id), *READ_FIELDS)
        fields = {name: value for name, value in zip(READ_FIELDS, values, strict=True) if value is not None}
        if "state" not in fields:
            raise JobNotFound
        return Job.of(job_id, fields)

    async def stats(self) -> Stats:
        """What waits and runs in each queue, and the counters."""
        queues = self._settings.queue_list
        keys = [self.keys.index, self.keys.stats, self.keys.dead]
        reply = await self._run("stats", keys, [str(len(queues))])
        delayed, dead, counts, flat = reply
        per_queue = tuple(
            QueueCounts(queue.name, int(counts[2 * n]), int(counts[2 * n + 1]), queue.concurrency)
            for n, queue in enumerate(queues)
        )
        counters = {flat[n]: int(flat[n + 1]) for n in range(0, len(flat), 2) if flat[n] != "sweep_cursor"}
        return Stats(per_queue, int(delayed), int(dead), counters)

    async def last_tick(self) -> int | None:
        """When the last tick ran, ms by the store's clock; one command, which also shows that the store answers."""
        value = await self._store.execute("HGET", self.keys.stats, "tick_at")
        return int(value) if value else None

    async def _run(self, verb: str, keys: list[str], arguments: list[str]) -> Any:
        return await self._store.execute("EVAL", script(verb).text, str(len(keys)), *keys, *arguments)
