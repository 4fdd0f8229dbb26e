"""Settles a submission of unknown outcome by the operator's word."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.budget import Budget
from shared.dispatch.dispatcher import Dispatcher
from shared.dispatch.reconciler import Reconciler
from shared.documents.operating import SettledJob
from shared.errors import JobNotFound, NotUnknown
from shared.jobqueue import JobQueue, Records
from shared.jobqueue.record import is_job_id
from shared.log import log


class Settlement(BaseModel):
    """The body of ``POST /api/operate/jobs/{id}/settle``: what became of the job's current submission."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    outcome: Literal["made", "not_made"]
    prediction: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")] | None = None

    @model_validator(mode="after")
    def _has_what_was_made(self) -> "Settlement":
        if (self.outcome == "made") != (self.prediction is not None):
            raise ValueError('a prediction goes with "made", and with nothing else')
        return self


class Settlements:
    """Settles unknown outcomes, which else wait for a webhook, for the provider's list, or for a long time."""

    def __init__(self, queue: JobQueue, records: Records, reconciler: Reconciler, dispatcher: Dispatcher) -> None:
        self._queue = queue
        self._records = records
        self._reconciler = reconciler
        self._dispatcher = dispatcher

    async def settle(self, job_id: str, settlement: Settlement, budget: Budget) -> SettledJob:
        """Applies the operator's word and returns what became of the job.

        Raises JobNotFound, NotUnknown for a job whose submission has a known outcome or is under way, and
        InvalidRequest for a prediction that the provider does not have or that belongs to another attempt.
        """
        if not is_job_id(job_id):
            raise JobNotFound
        job = await self._records.read(job_id)
        if not job.is_lost:
            raise NotUnknown
        if settlement.prediction is not None:
            ended = await self._reconciler.adopt_named(job, settlement.prediction)
        else:
            ended = await self._queue.rescue(job.id, job.attempt, incarnation=job.incarnation, proof="operator")
            if not ended.frees_slot:
                raise NotUnknown
        if ended.makes_room:
            await self._dispatcher.run(budget)
        settled = await self._records.read(job_id)
        log.warning("settled", job=job_id, attempt=job.attempt, outcome=settlement.outcome, status=settled.status)
        return {"id": job_id, "status": settled.status, "prediction": settled.prediction or None}
