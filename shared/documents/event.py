"""The ``data`` of an event's body: its job or batch at that time."""

import json
from collections.abc import Sequence
from typing import NotRequired, TypedDict

from shared.clock import iso
from shared.documents.batch import CountsDocument, counts_document
from shared.documents.file import FileDocument, UrlOf
from shared.documents.job import JobLinks, StoredError, cost_of, error_document, job_result, links
from shared.jobqueue.batch import OUTCOMES, BatchRecord, batch_status, counts_of
from shared.jobqueue.record import JobRecord
from shared.jobqueue.state import Status
from shared.json_value import Json


class JobEvent(TypedDict):
    """The data of a job's event; an end adds ``cost`` (US dollars), ``output`` and ``files``, a failure ``error``."""

    id: str
    status: str
    user_id: str
    queue: str
    model: str
    batch_id: str | None
    metadata: dict[str, str]
    created_at: str
    ended_at: str | None
    links: JobLinks
    cost: NotRequired[float | None]
    output: NotRequired[Json]
    files: NotRequired[list[FileDocument]]
    error: NotRequired[StoredError]


class BatchEventLinks(TypedDict):
    """The path of the batch's results."""

    status: str


class BatchEvent(TypedDict):
    """The data of ``batch.completed``: the number of jobs with each outcome."""

    id: str
    status: Status
    user_id: str
    queue: str
    counts: CountsDocument
    metadata: dict[str, str]
    created_at: str
    ended_at: str | None
    links: BatchEventLinks


def job_event(job: JobRecord, event: str, url_of: UrlOf, *, gone_before: int) -> JobEvent:
    """Returns the data of a job's event. Copies of a job that ended at ``gone_before`` (ms) or earlier are gone."""
    is_end = event != "processing"
    data: JobEvent = {
        "id": job.id,
        "status": "completed" if event == "files" else event,
        "user_id": job.user,
        "queue": job.queue,
        "model": job.model,
        "batch_id": job.batch,
        "metadata": json.loads(job.metadata),
        "created_at": iso(job.created_at),
        "ended_at": iso(job.ended_at) if is_end else None,
        "links": links(job.id),
    }
    if is_end:
        result = job_result(job, url_of, gone_before=gone_before)
        data |= {"cost": cost_of(job), "output": result["output"], "files": result["files"]}
    if event == "failed":
        data["error"] = error_document(job.error_code, job.error_detail)
    return data


def batch_event(batch: BatchRecord, noted: Sequence[int]) -> BatchEvent:
    """Returns the data of the event of a batch's end; its link leads to the results.

    ``noted`` is for a batch that was retried since: that end's time (ms), and the number of jobs with each outcome.
    """
    counts = counts_of(batch.statuses)
    if len(noted) == 1 + len(OUTCOMES):
        counts |= {"pending": 0, "processing": 0}
        counts |= dict(zip(OUTCOMES, noted[1:], strict=True))
    ended_at = noted[0] if noted else batch.ended_at
    return {
        "id": batch.id,
        "status": batch_status(batch.policy, counts, has_ended=ended_at is not None),
        "user_id": batch.user,
        "queue": batch.queue,
        "counts": counts_document(batch.expected, counts),
        "metadata": json.loads(batch.metadata),
        "created_at": iso(batch.created_at),
        "ended_at": iso(ended_at),
        "links": {"status": f"/api/batches/{batch.id}"},
    }
