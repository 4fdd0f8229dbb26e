"""The verbs of an attempt, from its prediction to its end. Each is one script, one call, and safe to send twice."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from shared.jobqueue.replies import Adopted, Done, Ended, Overdue, Recorded, Reply
from shared.jobqueue.scripted import Scripted
from shared.providers.failures import speaks_of_model

MAX_RESCUES = 3  # a job whose adoption window has closed this often is poison
MAX_ENTRY = 200  # characters of an attempt's error that its history keeps
Proof = Literal["", "list", "operator"]
Candidacy = Literal["marked", "named", "alike", "doubtful"]


@dataclass(frozen=True)
class Ticket:
    """Who claims: what a claim is recognised by when it is sent again. ``claimed_at`` in ms of this process' clock."""

    token: str
    mark: int
    claimed_at: int


class Attempts(Scripted):
    """What happens to a job between its submission to the provider and the attempt's end.

    ``incarnation`` is the one of the job that the caller knows. If the job was deleted, and its id used again, the verb
    changes nothing.
    """

    async def record(
        self,
        job_id: str,
        attempt: int,
        prediction: str,
        first_check: float | None = None,
        *,
        probe: str = "",
        incarnation: str = "",
    ) -> Recorded:
        """Notes the attempt's prediction.

        ``first_check`` s from now a tick or a poll asks about it; FIRST_CHECK_AFTER if not said. A ``probe`` that was
        accepted lifts its gate.
        """
        s = self._settings
        # Without webhooks nothing but questions brings news.
        check = (first_check or s.first_check_after) if s.webhooks_wanted else s.status_check_interval
        gate = probe if probe.startswith("~p") else ""  # a model's circuit closes when a run has succeeded
        return await self._run(
            "record",
            Recorded,
            job=self.keys.job(job_id),
            job_of_prediction=self.keys.job_of_prediction(prediction),
            id=job_id,
            attempt=attempt,
            incarnation=incarnation,
            prediction=prediction,
            first_check=timedelta(seconds=check),
            probe=gate,
        )

    async def finish(
        self,
        job_id: str,
        attempt: int,
        prediction: str,
        outcome: str,
        fields: Mapping[str, str],
        *,
        bill: str = "",
        foreign: int = 0,
        ended_at: int | None = None,
        incarnation: str = "",
        ticket: Ticket | None = None,
        want: int = 0,
        expects: bool = False,
    ) -> Ended:
        """Ends the job with ``outcome`` completed or canceled; what the store's state says may win over it.

        ``bill`` is what the run has cost; see shared/dispatch/bills.py. '': what is not known, and so the most.

        With a ``ticket``, the same call claims ``want`` jobs if any wait; see JobQueue.finish_and_claim.

        With ``files`` among the fields, they are stored before the owner is notified. Those of ``foreign`` hosts are
        only counted: if there are any, there are no others. ``ended_at`` (ms) is now unless it is given.
        """
        return await self._run(
            "finish",
            Ended,
            job=self.keys.job(job_id),
            job_of_prediction=self.keys.job_of_prediction(prediction),
            id=job_id,
            attempt=attempt,
            incarnation=incarnation,
            prediction=prediction,
            outcome=outcome,
            bill=bill,
            store_lease=timedelta(seconds=self._settings.lease) if "files" in fields and not foreign else None,
            foreign=foreign,
            fields=fields,
            now=self._clock.now() if ended_at is None else ended_at,
            want=want if ticket else None,
            expects=expects,
            token=ticket.token if ticket else None,
            mark=ticket.mark if ticket else None,
            ticket_age=self._age(ticket) if ticket else None,
            is_tick=False,
        )

    def _age(self, ticket: Ticket) -> timedelta:
        return timedelta(milliseconds=max(0, self._clock.now() - ticket.claimed_at))

    async def fail(
        self,
        job_id: str,
        attempt: int,
        prediction: str,
        *,
        code: str,
        detail: str,
        retryable: bool,
        bill: str = "",
        once: bool = False,
        incarnation: str = "",
    ) -> Ended:
        """Ends a failed attempt: the job waits for its next one, or ends failed.

        ``bill`` is as for ``finish``. With ``once``, the job's first failure with this code is tried again, and the
        second one ends the job.
        """
        return await self._run(
            "fail",
            Ended,
            job=self.keys.job(job_id),
            job_of_prediction=self.keys.job_of_prediction(prediction),
            id=job_id,
            attempt=attempt,
            incarnation=incarnation,
            prediction=prediction,
            code=code,
            detail=detail,
            retryable=retryable,
            bill=bill,
            once=once,
            jitter=random.random(),  # noqa: S311 (no secret)
            entry=self._entry(attempt, code, detail, prediction),
            circuit_failures=self._settings.circuit_failures if speaks_of_model(code) else 0,
        )

    def _entry(self, attempt: int, code: str, detail: str, prediction: str) -> str:
        """One attempt in a job's history; the entries joined by commas are the inside of a JSON array."""
        entry = {"attempt": attempt, "at": self._clock.now(), "code": code, "detail": detail[:MAX_ENTRY],
                 "prediction": prediction}  # fmt: skip
        return json.dumps(entry, separators=(",", ":"))

    async def snooze(
        self,
        job_id: str,
        attempt: int,
        *,
        delay: float,
        code: str,
        status: int = 0,
        token: str = "",
        pause: bool = False,
        incarnation: str = "",
    ) -> Ended:
        """Puts back, for ``delay`` s, a job whose submission surely did not happen; no attempt is used up.

        With a ``token``, only if the enqueue with this token began the attempt. With ``pause``, the provider has
        refused the job, with this ``status``, and gets no submission for so long: all its jobs wait, and then another
        one is the probe. A job that is refused again and again, while others are accepted, ends.
        """
        return await self._run(
            "snooze",
            Ended,
            job=self.keys.job(job_id),
            id=job_id,
            attempt=attempt,
            incarnation=incarnation,
            delay=timedelta(seconds=delay),
            code=code,
            status=status,
            token=token,
            pause=pause,
        )

    async def rescue(
        self, job_id: str, attempt: int, *, incarnation: str = "", proof: Proof = "", took: float = 0.0
    ) -> Ended:
        """Decides about a submission of unknown outcome: it goes on waiting, or the job is put back, or ends.

        ``proof`` says that nothing was made: a complete list, asked for ``took`` s ago, or the operator's word.
        """
        return await self._run(
            "rescue",
            Ended,
            job=self.keys.job(job_id),
            id=job_id,
            attempt=attempt,
            incarnation=incarnation,
            max_rescues=MAX_RESCUES,
            entry=self._entry(attempt, "provider_down" if proof else "submission_unknown", "", ""),
            proof=proof,
            took=timedelta(seconds=took),
            jitter=random.random(),  # noqa: S311 (no secret)
        )

    async def trip(self, job_id: str, attempt: int, *, incarnation: str = "", look_in: float | None = None) -> None:
        """Notes that a submission got no usable answer, once, and counts it against its model's circuit.

        ``look_in`` s from now a caller asks for the provider's list; None: not before the lease is over.
        """
        look = None if look_in is None else timedelta(seconds=look_in)
        await self._run(
            "trip", Done, job=self.keys.job(job_id), id=job_id, attempt=attempt, incarnation=incarnation, look_in=look
        )

    async def adopt(
        self, job_id: str, attempt: int, candidates: Mapping[str, Candidacy], *, incarnation: str = ""
    ) -> Adopted:
        """Gives a submission of unknown outcome the one prediction that is surely its own; see adopt.lua."""
        return await self._run(
            "adopt",
            Adopted,
            job=self.keys.job(job_id),
            id=job_id,
            attempt=attempt,
            incarnation=incarnation,
            candidates=candidates,
        )

    async def check(self, job_id: str, gap: float | None = None) -> Overdue | None:
        """The job to ask the provider about, for one caller in the whole fleet; None for all others.

        Two questions are ``gap`` s apart at least, STATUS_CHECK_INTERVAL if not said.
        """
        between = timedelta(seconds=gap or self._settings.status_check_interval)
        reply = await self._run("check", Reply, job=self.keys.job(job_id), id=job_id, gap=between)
        return reply if isinstance(reply, Overdue) else None

    async def progress(
        self, job_id: str, attempt: int, prediction: str, percent: int, *, incarnation: str = ""
    ) -> Done:
        """Notes how far a running prediction has come, 0 to 100."""
        return await self._run(
            "progress",
            Done,
            job=self.keys.job(job_id),
            attempt=attempt,
            incarnation=incarnation,
            prediction=prediction,
            progress=percent,
        )
