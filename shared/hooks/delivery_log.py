"""The log of deliveries: an event's tries as its owner sees them, and redelivery."""

import json
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from shared.clock import iso
from shared.config.access import may_read
from shared.config.settings import Settings
from shared.documents.delivery import (
    DeliveriesDocument,
    DeliveryDocument,
    TryDocument,
    UndeliveredEvent,
)
from shared.errors import BatchNotFound, JobNotFound, NoSuchEvent
from shared.hooks.event import NotedTry, event_type
from shared.hooks.subscription import BATCH
from shared.jobqueue import EventRecord, Outbox, PageStart
from shared.jobqueue.outbox import JOB_EVENTS, event_records
from shared.jobqueue.reads import GivenUp
from shared.jobqueue.record import is_job_id
from shared.signing.derived import event_id_for

FIELDS = ("owner", "incarnation", "state", "outcome", "rounds", "hook_url", "hook_lane")


class JobRedelivery(BaseModel):
    """The body of ``POST /api/jobs/{id}/redeliver``; the default event is the job's end."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    event: Literal["job.processing", "job.completed", "job.files", "job.failed", "job.canceled"] | None = None


class BatchRedelivery(BaseModel):
    """The body of ``POST /api/batches/{id}/redeliver``; a batch has one event, its latest end."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    event: Literal["batch.completed"] | None = None


class DeliveryLog:
    """Shows the tries to deliver events, and starts redeliveries."""

    def __init__(self, outbox: Outbox, settings: Settings) -> None:
        self._outbox = outbox
        self._settings = settings

    async def of_job(self, caller: str, job_id: str) -> DeliveriesDocument:
        """Returns the events of the caller's job; JobNotFound for any other job.

        One command, two if an event is still pending.
        """
        return await self._document(job_id, JOB_EVENTS, await self._job(caller, job_id))

    async def of_batch(self, caller: str, batch_id: str) -> DeliveriesDocument:
        """Returns the events of the caller's batch: one for each end. A retried batch costs one more command."""
        fields = await self._batch(caller, batch_id)
        events = _ends_of(fields)
        if len(events) > 1:
            fields = await self._outbox.read(batch_id, events, FIELDS)
        return await self._document(batch_id, events, fields)

    async def redeliver_of_job(self, caller: str, job_id: str, wanted: JobRedelivery) -> None:
        """Makes an event a follow-up of this call, which then delivers it; NoSuchEvent if it has not happened."""
        fields = await self._job(caller, job_id)
        event = wanted.event.partition(".")[2] if wanted.event else fields.get("outcome", "")
        if event not in JOB_EVENTS:
            raise NoSuchEvent
        await self._outbox.redeliver(job_id, event, caller)

    async def redeliver_of_batch(self, caller: str, batch_id: str, wanted: BatchRedelivery) -> None:
        """Does the same for a batch's latest end; NoSuchEvent if a retried batch has not ended again."""
        fields = await self._batch(caller, batch_id)
        try:
            await self._outbox.redeliver(batch_id, _ends_of(fields)[-1], caller)
        except JobNotFound:
            raise BatchNotFound from None

    async def undelivered(self, start: PageStart) -> tuple[list[UndeliveredEvent], PageStart | None]:
        """Returns a page of all applications' undelivered events, the latest first, and where the next one starts."""
        rows, following = await self._outbox.undelivered(start)
        return [self._given_up(row) for row in rows], following

    async def _job(self, caller: str, job_id: str) -> dict[str, str]:
        fields = await self._outbox.read(job_id, JOB_EVENTS, FIELDS) if is_job_id(job_id) else {}
        if not may_read(caller, fields.get("owner")):
            raise JobNotFound
        return fields

    async def _batch(self, caller: str, batch_id: str) -> dict[str, str]:
        fields = await self._outbox.read(batch_id, (BATCH,), FIELDS) if is_job_id(batch_id) else {}
        if not may_read(caller, fields.get("owner")):
            raise BatchNotFound
        return fields

    async def _document(self, holder: str, events: Sequence[str], fields: dict[str, str]) -> DeliveriesDocument:
        records = event_records(fields, events)
        pending = [record.event for record in records if record.state == "pending"]
        due = await self._outbox.due(fields.get("hook_lane", ""), holder, pending) if pending else {}
        return {
            "id": holder,
            "hook_url": fields.get("hook_url") or None,
            "deliveries": [
                self._delivery(holder, fields.get("incarnation", ""), record, due.get(record.event))
                for record in records
            ],
        }

    def _delivery(self, holder: str, incarnation: str, record: EventRecord, due: int | None) -> DeliveryDocument:
        return {
            "event_id": event_id_for(self._settings.signing_key, holder, incarnation, record.event),
            "type": event_type(record.event),
            "state": record.state,
            "next_try_at": iso(due),
            "tries": [_shown(entry) for entry in record.entries],
        }

    def _given_up(self, found: GivenUp) -> UndeliveredEvent:
        event, _, holder = found.row.partition("|")
        is_batch = event.startswith(BATCH)
        event_id = event_id_for(self._settings.signing_key, holder, found.incarnation, event)
        return {
            "event_id": event_id if found.is_kept else None,
            "type": event_type(event),
            "job_id": None if is_batch else holder,
            "batch_id": holder if is_batch else None,
            "given_up_at": iso(found.at),
        }


def _ends_of(fields: dict[str, str]) -> list[str]:
    """Returns the events of a batch's ends, the latest last: one more for each retry; see ending.lua."""
    return [BATCH, *(f"{BATCH}{number}" for number in range(1, int(fields.get("rounds", "0")) + 1))]


def _shown(entry: str) -> TryDocument:
    tried: NotedTry = json.loads(entry)
    return {
        "at": iso(tried["at"]),
        "status": tried["status"],
        "duration_ms": tried["duration_ms"],
        "answer": tried["answer"],
        "error": tried["error"],
    }
