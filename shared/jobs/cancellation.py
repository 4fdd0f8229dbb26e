"""Cancels jobs."""

from shared.budget import Budget
from shared.dispatch.dispatcher import Dispatcher
from shared.dispatch.reconciler import Reconciler
from shared.errors import JobNotFound
from shared.jobqueue import Canceled, JobQueue, Records
from shared.jobqueue.record import is_job_id
from shared.log import log


class Cancellation:
    """Cancels a waiting job at once, and a running one with its provider."""

    def __init__(self, queue: JobQueue, records: Records, reconciler: Reconciler, dispatcher: Dispatcher) -> None:
        self._queue = queue
        self._records = records
        self._reconciler = reconciler
        self._dispatcher = dispatcher

    async def cancel(self, caller: str, job_id: str, budget: Budget, *, by_user: str | None = None) -> Canceled:
        """Cancels the job and returns what happened. A running job keeps its slot until its provider confirms.

        Raises JobNotFound for a job of another owner. ``by_user`` cancels with a token, which costs one read more:
        another user's job is not found either.
        """
        if by_user is not None:
            await self._require(job_id, by_user)
        canceled = await self.ask_for_end(caller, job_id)
        if not canceled.prediction:
            return canceled
        prediction = await self._reconciler.cancel_prediction(canceled.provider, canceled.prediction, job_id)
        if prediction is None:
            return canceled  # a tick or a poll asks again; the provider's deadline ends the run at the latest
        ended = await self._reconciler.apply(
            job_id, canceled.attempt, canceled.provider, prediction, incarnation=canceled.incarnation
        )
        if ended.makes_room:
            await self._dispatcher.run(budget)
        return Canceled("canceled") if ended.outcome == "canceled" else canceled

    async def _require(self, job_id: str, user: str) -> None:
        if not is_job_id(job_id) or (await self._records.read(job_id)).user != user:  # mutant: job to cancel
            raise JobNotFound

    async def ask_for_end(self, caller: str, job_id: str) -> Canceled:
        """Ends a waiting job, or notes that a running one is to end; the next dispatch asks its provider.

        Raises JobNotFound for a job of another owner.
        """
        if not is_job_id(job_id):
            raise JobNotFound
        canceled = await self._queue.cancel(job_id, caller)
        log.info("cancel", job=job_id, owner=caller, word=canceled.word)
        return canceled
