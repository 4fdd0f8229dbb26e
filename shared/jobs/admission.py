"""Admits jobs: one script decides, and a job starts at once if there is room."""

import secrets

from shared import tracing
from shared.budget import Budget
from shared.clock import Clock, iso
from shared.config.settings import Settings
from shared.dispatch.dispatcher import Dispatcher
from shared.documents.answers import Receipt
from shared.documents.job import links
from shared.errors import ChangedMeanwhile, InvalidRequest, JobNotFound, LookupFailed, StoreError, StoreUncertain
from shared.jobqueue import Claimed, JobQueue, Records
from shared.jobqueue.state import Status
from shared.jobs.request import HookCheck, SubmitRequest, new_incarnation, queue_for
from shared.log import log
from shared.signing.derived import job_id_for

MAX_TRIES = 2  # while the job of the same key is deleted between two commands


class Admission:
    """Accepts submitted jobs."""

    def __init__(
        self,
        queue: JobQueue,
        records: Records,
        dispatcher: Dispatcher,
        settings: Settings,
        clock: Clock,
        check_hook: HookCheck,
    ) -> None:
        self._queue = queue
        self._records = records
        self._dispatcher = dispatcher
        self._settings = settings
        self._clock = clock
        self._check_hook = check_hook
        self.new_incarnation = new_incarnation

    async def submit(
        self,
        caller: str,
        request: SubmitRequest,
        idempotency_key: str | None,
        budget: Budget,
        *,
        by_user: str | None = None,
    ) -> Receipt:
        """Accepts a job and returns its receipt; the same job for the same key and body.

        ``by_user`` is the user who submits with a token: the keys of each user are apart.
        """
        job_id = self._job_id(caller, idempotency_key, by_user)
        # Not in admit: a redrive repeats an accepted request, and each delivery checks the host again anyway.
        if request.hook_url is not None:
            try:
                await self._check_hook(request.hook_url, caller)
            except (InvalidRequest, LookupFailed):
                # A repeat of an accepted request gets its answer, even if the host has failed since.
                if idempotency_key is None or not await self._is_known(job_id):
                    raise
        for _ in range(MAX_TRIES):  # mutant: deleted meanwhile
            try:
                return await self.admit(job_id, caller, request, budget)
            except JobNotFound:
                # The script knew the job, and it is deleted since: now the key is free.
                log.info("deleted_meanwhile", job=job_id)
        raise ChangedMeanwhile

    async def _is_known(self, job_id: str) -> bool:
        try:
            await self._records.read(job_id)
        except JobNotFound:
            return False
        return True

    async def admit(
        self,
        job_id: str,
        caller: str,
        request: SubmitRequest,
        budget: Budget,
        *,
        retry_of: str = "",
        start: bool = True,
        user_queued: int | None = None,
    ) -> Receipt:
        """Creates the job with this id if it does not exist; JobNotFound if it did, and was deleted before it was read.

        ``retry_of`` is the failed job that it repeats. Without ``start``, the job waits for a dispatch. ``user_queued``
        is as for JobQueue.enqueue.
        """
        queue = queue_for(self._settings, request.queue, request.provider)
        now = self._clock.now()
        start = start and self._settings.dispatch_on_submit and budget.allows_submission(self._settings)
        fields = request.fields(self._settings, caller, queue, now)
        fingerprint = request.fingerprint()
        if retry_of:
            # The id is derived from the failed job's, so it is the same request, even if it is written differently.
            fields["retry_of"] = fingerprint = retry_of
        score, cost = request.score_and_cost(self._settings, now)
        token = secrets.token_hex(8)
        about = {"gen_ai.request.model": request.model, "gen_ai.provider.name": fields["provider"]}
        with tracing.submitting("submit", queue.name, job_id, about) as span:
            fields["incarnation"] = tracing.carried(self.new_incarnation(), span)
            try:
                admitted = await self._queue.enqueue(
                    job_id, fingerprint, fields, score=score, cost=cost, start=start, token=token,
                    user_queued=user_queued, max_waiting=request.max_waiting,
                )  # fmt: skip
            except StoreUncertain:
                if start:
                    await self._put_back(job_id, token, fields["incarnation"])
                raise
            span.set({"sluice.word": admitted.word})
        log.info("submitted", job=job_id, owner=caller, user=request.user_id, queue=queue.name, word=admitted.word)
        if admitted.word == "duplicate":
            return await self.receipt(job_id)
        status: Status = "processing" if admitted.word == "started" else "pending"
        receipt = self._receipt(job_id, status, queue.name, admitted.position, now)
        claimed = Claimed(
            id=job_id,
            attempt=1,
            provider=fields["provider"],
            model=request.model,
            input=fields["input"],
            owner=caller,
            user=request.user_id,
            queue=queue.name,
            deadline=queue.deadline,
            claimed_at=now,
            incarnation=fields["incarnation"],
        )
        has_left = False
        try:
            if admitted.word == "started":
                has_left = await self._dispatcher.start(claimed)
            if admitted.attention and start:
                await self._dispatcher.run(budget)
        except Exception as error:
            # The job is in the store; a tick or a poll does the rest.
            log.exception("start_failed", job=job_id, error=type(error).__name__)
        # A job whose submission was refused does not run. Only then another command is worth the answer.
        return await self._receipt_of(receipt) if has_left else receipt  # mutant: refused

    async def _put_back(self, job_id: str, token: str, incarnation: str) -> None:
        """Puts the job back if the lost answer has started it: no create call was sent, so its lease need not lapse."""
        try:
            await self._queue.snooze(job_id, 1, delay=0, code="answer_lost", token=token, incarnation=incarnation)
        except StoreError as error:
            log.warning("put_back_failed", job=job_id, code=error.code, cause=error.cause)

    async def _receipt_of(self, receipt: Receipt) -> Receipt:
        """Returns the receipt with the job's status now, or as waiting for a retry if the store does not say."""
        try:
            return {**receipt, "status": (await self._records.read(receipt["id"])).status}
        except (StoreError, JobNotFound):
            return {**receipt, "status": "pending"}

    async def receipt(self, job_id: str) -> Receipt:
        """Returns the receipt of a job that was accepted before. Raises JobNotFound."""
        job = await self._records.read(job_id)
        return self._receipt(job_id, job.status, job.queue, None, job.created_at)

    @staticmethod
    def _receipt(job_id: str, status: Status, queue: str, position: int | None, created_at: int) -> Receipt:
        return {
            "id": job_id,
            "status": status,
            "queue": queue,
            "queue_position": position,
            "created_at": iso(created_at),
            "links": links(job_id),
        }

    def _job_id(self, caller: str, idempotency_key: str | None, by_user: str | None) -> str:
        if idempotency_key is None:
            return f"job_{secrets.token_hex(16)}"
        return job_id_for(self._settings.signing_key, caller, idempotency_key, by_user)
