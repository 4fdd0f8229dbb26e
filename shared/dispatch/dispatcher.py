"""Starts jobs: claims as many as the limits allow, and submits each to its provider once."""

import asyncio
import random
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from shared import tracing
from shared.budget import Budget
from shared.clock import Clock
from shared.config.providers import NUMBERS, REGISTRY
from shared.config.settings import Settings
from shared.config.timing import SUBMIT_MARGIN
from shared.dispatch.bills import FREE
from shared.dispatch.durations import Durations
from shared.dispatch.mark import mark_of
from shared.dispatch.reconciler import Reconciler
from shared.dispatch.traces import attributes_of, attributes_of_outcome, trace_claims
from shared.jobqueue import Claim, Claimed, Ended, JobQueue, Overdue
from shared.json_value import read_object
from shared.log import log
from shared.providers.base import Accepted, Rejected, Submission, SubmissionOutcome, Throttled, Unknown
from shared.providers.loading import Providers

MAX_AT_ONCE = 20  # jobs that one round starts
MAX_ROUNDS = 50


@dataclass
class Report:
    """The work of one run, in jobs."""

    rounds: int = 0
    started: int = 0
    looked_at: int = 0
    missing: int = 0
    expired: int = 0
    failed: int = 0
    follow_ups: int = 0  # rows of the outbox, due or not; only a tick knows them
    followed_up: int = 0  # rows of the outbox that the run has worked on
    throttled: bool = False
    has_made_room: bool = False  # in its last round a slot or a seat became free
    is_more: bool = False  # another round should follow

    def add(self, other: "Report") -> None:
        """Adds the counts of a further run."""
        for name in ("rounds", "started", "looked_at", "missing", "expired", "failed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Dispatcher:
    """Moves jobs from the queue to their providers."""

    def __init__(
        self,
        queue: JobQueue,
        providers: Providers,
        reconciler: Reconciler,
        durations: Durations,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._providers = providers
        self._reconciler = reconciler
        self._durations = durations
        self._settings = settings
        self._clock = clock
        self._most = min(MAX_AT_ONCE, settings.max_concurrent_tasks)

    def want(self, budget: Budget) -> int:
        """How many jobs a claim may bring at once; 0 if the budget forbids another submission."""
        return self._most if budget.allows_submission(self._settings) else 0

    async def run(
        self, budget: Budget, *, tick: bool = False, max_rounds: int = MAX_ROUNDS, claimed: Claim | None = None
    ) -> Report:
        """Claims and starts jobs, in rounds, until no job can move or the budget forbids another submission.

        The first round has what the caller has ``claimed`` already, if anything: these jobs are its own to start.
        Another round follows only if the last one freed a slot or claimed all it asked for, so an idle run is one call.
        No round follows after a provider has refused to accept more.
        """
        report = Report()
        while report.rounds < max_rounds and not report.throttled:
            if claimed is None and not self.want(budget):
                break
            began_at = tracing.clock() if claimed is None else None
            claim, claimed = claimed or await self._queue.claim(self._most, tick=tick and report.rounds == 0), None
            trace_claims(claim, began_at)
            report.rounds += 1
            report.started += len(claim.started)
            report.looked_at += len(claim.overdue)
            if claim.missing:
                report.missing += claim.missing
                log.error("jobs_missing", count=claim.missing)
            report.expired += len(claim.expired)
            report.follow_ups += claim.follow_ups
            freed = await asyncio.gather(
                *(self._guarded(self.start(job, report), report, job=job.id) for job in claim.started),
                *(self._guarded(self._look_at(job), report, job=job.id) for job in claim.overdue),
                *(self._guarded(self._expire(job_id), report, job=job_id) for job_id in claim.expired),
            )
            # mutant: stuck user
            moved = [await self._guarded(self._rehome(user), report, user=user) for user in claim.stuck]
            for user, jobs in claim.foreign_jobs.items():
                await self._guarded(self._rehome(user, jobs), report, user=user)
            # A parked job leaves its slot to others, or its seat.
            report.has_made_room = bool(any(freed) or claim.parked or any(moved))
            report.is_more = report.has_made_room or max(len(claim.started), len(claim.overdue)) >= self._most
            if not report.is_more:
                break
        return report

    async def follow(
        self, ended: Ended, budget: Budget, *, provider: str, job_id: str, max_rounds: int = MAX_ROUNDS
    ) -> None:
        """Starts the jobs that an end has claimed or made room for, if any.

        At the same time it cancels the prediction that the end has made useless: its provider may be slow.
        """
        if not ended.makes_room:
            return
        work: list[Awaitable[object]] = [self.run(budget, max_rounds=max_rounds, claimed=ended.claimed)]
        if ended.claimed is not None:
            work.append(self._reconciler.cancel_other(ended, provider, job_id))
        await asyncio.gather(*work)

    async def _look_at(self, job: Overdue) -> bool:
        return (await self._reconciler.look_at(job)).frees_slot

    async def _expire(self, job_id: str) -> bool:
        log.warning("expired", job=job_id)
        return (await self._queue.expire(job_id)).frees_slot

    async def _rehome(self, user: str, jobs: Sequence[str] = ()) -> bool:
        """Gives a user's seats away anew; returns True, as jobs may start now that could not before."""
        await self._queue.rehome(self._queue.keys.users + user, jobs, whole=bool(jobs))
        return True

    async def _guarded(self, work: Awaitable[bool], report: Report, **about: str) -> bool:
        """Does the work of one job or user and logs its error, so the round's other jobs are recorded all the same."""
        try:
            return await work
        except Exception as error:
            report.failed += 1
            log.exception("round_job_failed", **about, error=type(error).__name__)
            return False

    async def start(self, job: Claimed, report: Report | None = None) -> bool:
        """Submits a claimed job and records the outcome; returns whether another job may start now."""
        # mutant: lease left
        if self._lease_left(job) < self._settings.provider_timeout + self._settings.timing_scale * SUBMIT_MARGIN:
            # The platform has paused or slowed this function since its claim. A submission now could outlive the lease.
            log.warning("lease_too_short", job=job.id, attempt=job.attempt)
            snoozed = await self._queue.snooze(
                job.id, job.attempt, delay=0, code="lease_too_short", incarnation=job.incarnation
            )
            return snoozed.frees_slot
        began = time.monotonic()
        try:
            provider, submission = self._providers[job.provider], self._submission(job)
        except (ValueError, KeyError):
            # An unreadable record would be claimed again and again; no create call was sent for it.
            detail = "The stored job cannot be read."
            return await self._fail(job, "unreadable", detail)
        about = {"http.request.method": "POST", **attributes_of(job)}
        with tracing.step("create", "client", job.id, job.incarnation, about) as span:
            outcome = await provider.create(submission, self._settings.provider_timeout)
            span.set(attributes_of_outcome(outcome))
        log.info(
            "submission",
            job=job.id,
            attempt=job.attempt,
            user=job.user,
            queue=job.queue,
            provider=job.provider,
            outcome=type(outcome).__name__.lower(),
            duration_ms=round((time.monotonic() - began) * 1000),
        )
        if report is not None and isinstance(outcome, Throttled):
            # An unreachable provider has no pause, so this run stops. After another refusal the next claim decides.
            report.throttled = outcome.code == "provider_down"
        return await self._record(job, outcome)

    def _lease_left(self, job: Claimed) -> float:
        return self._settings.lease - (self._clock.now() - job.claimed_at) / 1000

    def _submission(self, job: Claimed) -> Submission:
        s = self._settings
        url = None
        if s.webhooks_wanted and s.public_base_url:
            query = urlencode({**mark_of(s, job.provider, job.id, job.attempt, job.incarnation), **s.bypass_query})
            url = f"{s.public_base_url.rstrip('/')}/api/webhook/{job.provider}?{query}"
        return Submission(
            job_id=job.id,
            attempt=job.attempt,
            model=job.model,
            input=read_object(job.input),
            webhook_url=url,
            cancel_after=int(job.deadline),
        )

    async def _record(self, job: Claimed, outcome: SubmissionOutcome) -> bool:
        match outcome:
            case Accepted(prediction):
                check = self._durations.first_check(job.model, self._settings.first_check_after)
                recorded = await self._queue.record(
                    job.id, job.attempt, prediction.id, check, probe=job.probe, incarnation=job.incarnation
                )
                if recorded.is_unwanted:  # mutant: late prediction
                    canceled = await self._reconciler.cancel_prediction(job.provider, prediction.id, job.id)
                    if canceled is not None and recorded.cancel_requested:
                        ended = await self._reconciler.apply(
                            job.id, job.attempt, job.provider, canceled, incarnation=job.incarnation
                        )
                        return ended.frees_slot
                return bool(job.probe)  # a successful probe lets the others start
            case Rejected(code, detail, may_pass):
                return await self._fail(job, code, detail, once=may_pass)
            case Throttled(code, retry_after, status):
                if code in ("billing", "provider_auth"):
                    log.error(
                        "provider_account", provider=job.provider, code=code, status=status, job=job.id, model=job.model
                    )
                    retry_after *= self._settings.timing_scale  # the provider did not ask for this time
                delay = retry_after * (1 + random.random() / 4)  # noqa: S311 (jitter)
                log.warning(
                    "provider_refused",
                    provider=job.provider,
                    code=code,
                    status=status,
                    seconds=round(delay),
                    job=job.id,
                    model=job.model,
                    is_pause=code != "provider_down",
                )
                # A refusal may concern all jobs, so it pauses the provider. An unreachable one pauses nothing.
                snoozed = await self._queue.snooze(
                    job.id,
                    job.attempt,
                    delay=delay,
                    code=code,
                    status=status,
                    pause=code != "provider_down",
                    incarnation=job.incarnation,
                )
                return snoozed.frees_slot
            case Unknown(detail):
                # The slot stays taken, because the job may be running at the provider.
                log.error("submission_unknown", job=job.id, attempt=job.attempt, provider=job.provider, detail=detail)
                has_list = REGISTRY[NUMBERS[job.provider]].has_list
                # By then a proxy that still held the request has given it up too.
                look_in = self._settings.provider_timeout if has_list else None
                await self._queue.trip(job.id, job.attempt, incarnation=job.incarnation, look_in=look_in)
                return False

    async def _fail(self, job: Claimed, code: str, detail: str, *, once: bool = False) -> bool:
        """Ends an attempt for which nothing runs at the provider; ``once`` is as for Attempts.fail."""
        ended = await self._queue.fail(
            job.id,
            job.attempt,
            "",
            code=code,
            detail=detail,
            retryable=False,
            bill=FREE,
            once=once,
            incarnation=job.incarnation,
        )
        return ended.frees_slot
