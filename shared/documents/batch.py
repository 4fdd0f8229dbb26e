"""A batch as its owner sees it: its status, its jobs' statuses, and a page of their results."""

import json
from collections.abc import Iterator
from typing import TypedDict

from shared.clock import iso
from shared.documents.file import ResultDocument, UrlOf, result_document
from shared.documents.job import StoredError, error_document
from shared.jobqueue.batch import BatchRecord, Counts, Policy, batch_status, counts_of, ended_of
from shared.jobqueue.state import Status


class CountsDocument(TypedDict):
    """The number of jobs in a batch, and the number with each status."""

    expected: int
    pending: int
    processing: int
    completed: int
    failed: int
    canceled: int


class BatchJobDocument(TypedDict):
    """One job of a batch, by its place in it, from 0."""

    number: int
    id: str
    status: Status


class BatchResult(ResultDocument):
    """The result of one job of a batch."""

    number: int
    status: Status
    error: StoredError | None


class BatchLinks(TypedDict):
    """Paths where a batch can be followed, cancelled and retried."""

    status: str
    cancel: str
    retry: str


class BatchDocument(TypedDict):
    """``GET /api/batches/{batch_id}``; ``results`` and ``next_first`` are set only if results were requested."""

    id: str
    status: Status
    policy: Policy
    user_id: str
    queue: str
    counts: CountsDocument
    progress: str  # such as 5/10
    percent: int
    created_at: str
    ended_at: str | None
    jobs: list[BatchJobDocument]
    results: list[BatchResult]
    next_first: int | None
    metadata: dict[str, str]
    links: BatchLinks


def batch_document(batch: BatchRecord, url_of: UrlOf = str, *, gone_before: int = 0) -> BatchDocument:
    """Returns the batch's document. Copies of jobs that ended at ``gone_before`` (ms) or earlier are no longer kept."""
    counts = counts_of(batch.statuses)
    ended, following = ended_of(counts), batch.first + len(batch.results)
    return {
        "id": batch.id,
        "status": batch_status(batch.policy, counts, has_ended=batch.ended_at is not None),
        "policy": batch.policy,
        "user_id": batch.user,
        "queue": batch.queue,
        "counts": counts_document(batch.expected, counts),
        "progress": f"{ended}/{batch.expected}",
        "percent": ended * 100 // batch.expected,
        "created_at": iso(batch.created_at),
        "ended_at": iso(batch.ended_at),
        "jobs": [
            {"number": number, "id": job_id, "status": status}
            for number, (job_id, status) in enumerate(zip(batch.job_ids, batch.statuses, strict=True))
        ],
        "results": list(_results(batch, url_of, gone_before)),
        "next_first": following if batch.results and following < batch.expected else None,
        "metadata": json.loads(batch.metadata),
        "links": {
            "status": f"/api/batches/{batch.id}",
            "cancel": f"/api/batches/{batch.id}/cancel",
            "retry": f"/api/batches/{batch.id}/retry",
        },
    }


def counts_document(expected: int, counts: Counts) -> CountsDocument:
    """Returns the number of jobs, and the number with each status."""
    return {
        "expected": expected,
        "pending": counts["pending"],
        "processing": counts["processing"],
        "completed": counts["completed"],
        "failed": counts["failed"],
        "canceled": counts["canceled"],
    }


def _results(batch: BatchRecord, url_of: UrlOf, gone_before: int) -> Iterator[BatchResult]:
    """Yields the requested page of results, in the jobs' order."""
    for number, result in enumerate(batch.results, batch.first):
        has_failed = bool(result.error_code) and batch.statuses[number] != "completed"
        yield {
            "number": number,
            "status": batch.statuses[number],
            **result_document(result.output, result.files, url_of, is_kept=result.ended_at > gone_before),
            "error": error_document(result.error_code, result.error_detail) if has_failed else None,
        }
