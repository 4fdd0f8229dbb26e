"""Admits jobs: one script decides, and the job starts at once when there is room."""

import secrets
from typing import Any

from shared.budget import Budget
from shared.clock import Clock, iso
from shared.dispatcher import Dispatcher
from shared.errors import InvalidRequest, StoreError, StoreUncertain
from shared.job import links
from shared.jobqueue import Claimed, JobQueue, Records
from shared.log import log
from shared.queues import Queue
from shared.settings import Settings
from shared.signatures import job_id_for
from shared.submission import SubmitRequest


class Admission:
    """Takes submitted jobs in."""

    def __init__(
        self, queue: JobQueue, records: Records, dispatcher: Dispatcher, settings: Settings, clock: Clock
    ) -> None:
        self._queue = queue
        self._records = records
        self._dispatcher = dispatcher
        self._settings = settings
        self._clock = clock

    async def submit(
        self, caller: str, request: SubmitRequest, idempotency_key: str | None, budget: Budget
    ) -> dict[str, Any]:
        """The accepted job, with its links and place in the queue; the same job for the same key and body."""
        queue = self._check(request)
        now = self._clock.now()
        job_id = self._job_id(caller, idempotency_key)
        start = self._settings.dispatch_on_submit and budget.allows_submission(self._settings)
        fields = request.fields(self._settings, caller, queue, now)
        score, cost = request.standing(self._settings, now)
        token = secrets.token_hex(8)
        try:
            admitted = await self._queue.enqueue(
                job_id, request.fingerprint(), fields, score=score, cost=cost, start=start, token=token
            )
        except StoreUncertain:
            if start:
                await self._put_back(job_id, token)
            raise
        log.info("submitted", job=job_id, owner=caller, user=request.user_id, queue=queue.name, word=admitted.word)
        if admitted.word == "duplicate":
            job = await self._records.read(job_id)
            return self._receipt(job_id, job.status, queue, None, job.moment("created_at"))
        status = "processing" if admitted.word == "started" else "pending"
        receipt = self._receipt(job_id, status, queue, admitted.position, now)
        claimed = Claimed(
            id=job_id, attempt=1, provider=request.provider, model=request.model, input=fields["input"],
            owner=caller, user=request.user_id, queue=queue.name, deadline=queue.deadline, claimed_at=now,
        )  # fmt: skip
        try:
            if admitted.word == "started":
                await self._dispatcher.start(claimed)
            if admitted.attention and start:
                await self._dispatcher.run(budget)
        except Exception as error:
            # The job is in the store; what could not be done or recorded now is found by whoever comes next.
            log.exception("start_failed", job=job_id, error=type(error).__name__)
        return receipt

    async def _put_back(self, job_id: str, token: str) -> None:
        """If the lost answer was that the job has started: nothing was sent, so it need not wait for its lease."""
        try:
            await self._queue.snooze(job_id, 1, delay=0, code="answer_lost", token=token)
        except StoreError as error:
            log.warning("put_back_failed", job=job_id, code=error.code)

    @staticmethod
    def _receipt(
        job_id: str, status: str, queue: Queue, position: int | None, created_at: int | None
    ) -> dict[str, Any]:
        return {
            "id": job_id,
            "status": status,
            "queue": queue.name,
            "queue_position": position,
            "created_at": iso(created_at),
            "links": links(job_id),
        }

    def _check(self, request: SubmitRequest) -> Queue:
        """What only the deployment knows: its queues, providers and rules for hooks."""
        queue = next((q for q in self._settings.queue_list if q.name == request.queue), None)
        if queue is None:
            raise InvalidRequest("There is no such queue.", field="queue")
        if request.provider not in self._settings.provider_names:
            raise InvalidRequest("There is no such provider.", field="provider")
        if request.hook_url is not None:
            from shared.hooks import (
                check_hook_url,
            )  # loads httpx, which a submit without a hook and a start never needs

            check_hook_url(request.hook_url, self._settings)
        return queue

    def _job_id(self, caller: str, idempotency_key: str | None) -> str:
        if idempotency_key is None:
            return f"job_{secrets.token_hex(16)}"
        return job_id_for(self._settings.signing_key, caller, idempotency_key)
