"""A job's documents: in full, as a line of a list, and as a dead letter for operators."""

import json
from typing import Literal, NotRequired, TypedDict

from shared.clock import iso
from shared.config.spending import MICROS
from shared.documents.file import FileDocument, ResultDocument, UrlOf, result_document
from shared.jobqueue.record import JobRecord
from shared.jobqueue.state import JobState, Status
from shared.json_value import Json
from shared.providers.failures import ErrorClass, error_class

Stage = Literal["queued", "submitting", "running", "delayed", "storing", "done"]


class JobLinks(TypedDict):
    """Paths to follow a job, to cancel it, and to get its result."""

    status: str
    cancel: str
    result: str


StoredError = TypedDict("StoredError", {"code": str, "class": ErrorClass, "detail": str})
JobError = TypedDict("JobError", {"code": str, "class": ErrorClass, "detail": str, "retryable": bool})
ShortError = TypedDict("ShortError", {"code": str, "class": ErrorClass, "retryable": bool})
FailedAttemptDocument = TypedDict(
    "FailedAttemptDocument",
    {"attempt": int, "at": str, "code": str, "detail": str, "prediction": str, "class": ErrorClass},
)


class Explanation(TypedDict):
    """Why a job waits, and for how long; None for an unknown value."""

    queue_position: int | None
    waiting_reason: str | None
    eta_seconds: int | None
    eta_p90_seconds: int | None


class JobDocument(TypedDict):
    """The answer of ``GET /api/status/{id}``."""

    id: str
    status: Status
    stage: Stage
    progress: int | None  # percent
    queue: str
    provider: str
    model: str
    user_id: str
    tier: str
    priority: int
    attempts: int
    max_attempts: int
    cancel_requested: bool
    created_at: str
    submitted_at: str | None
    started_at: str | None
    queue_position: int | None
    waiting_reason: str | None
    eta_seconds: int | None
    eta_p90_seconds: int | None
    due_at: str | None
    expires_at: str | None
    batch_id: str | None
    retry_of: str | None
    redriven_as: str | None
    ended_at: str | None
    output: Json
    output_link: NotRequired[str]  # in place of an output for which the platform's answer has no room
    files: list[FileDocument]
    error: JobError | None
    cost: float | None
    failed_attempts: list[FailedAttemptDocument]
    metadata: dict[str, str]
    links: JobLinks


class _Listed(TypedDict):
    """The members of both a line of a list and a dead letter."""

    id: str
    status: Status
    stage: Stage
    queue: str
    provider: str
    model: str
    user_id: str
    priority: int
    batch_id: str | None
    created_at: str
    ended_at: str | None


class JobSummary(_Listed):
    """A line of ``GET /api/jobs``."""

    error: ShortError | None
    links: JobLinks


class OwnedJob(JobSummary):
    """A line of ``GET /api/operate/jobs``; ``key`` names the application's API key."""

    key: str


class DeadLetter(_Listed):
    """A line of ``GET /api/operate/dead-letters``, or a part of ``.../jobs/{id}``; ``key`` names the API key."""

    error: JobError | None
    links: JobLinks
    key: str
    attempts: int
    failed_attempts: list[FailedAttemptDocument]


class JobsPage(TypedDict):
    """The answer of ``GET /api/jobs``: the caller's jobs, newest first; ``next_cursor`` is null on the last page."""

    jobs: list[JobSummary]
    next_cursor: str | None


class OwnedJobsPage(TypedDict):
    """The answer of ``GET /api/operate/jobs``: all applications' jobs; ``next_cursor`` is null on the last page."""

    jobs: list[OwnedJob]
    next_cursor: str | None


class LettersPage(TypedDict):
    """The answer of ``GET /api/operate/dead-letters``: all applications' dead letters, the latest first."""

    dead_letters: list[DeadLetter]
    next_cursor: str | None


def job_document(job: JobRecord, explained: Explanation, url_of: UrlOf, *, gone_before: int = 0) -> JobDocument:
    """Returns the job in full. Copies of a job that ended at ``gone_before`` (ms) or earlier are no longer kept."""
    return {
        "id": job.id,
        "status": job.status,
        "stage": _stage(job),
        "progress": 100 if job.status == "completed" else job.progress,
        "queue": job.queue,
        "provider": job.provider,
        "model": job.model,
        "user_id": job.user,
        "tier": job.tier,
        "priority": job.priority,
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "cancel_requested": job.is_cancel_requested,
        "created_at": iso(job.created_at),
        "submitted_at": iso(job.submitted_at),
        "started_at": iso(job.started_at),
        **explained,
        "due_at": iso(job.due_at) if job.state is JobState.DELAYED else None,
        "expires_at": iso(job.expire_at) if job.is_waiting else None,
        "batch_id": job.batch,
        "retry_of": job.retry_of,
        "redriven_as": job.redriven_as,
        "ended_at": iso(job.ended_at),
        **job_result(job, url_of, gone_before=gone_before),
        "error": _error(job),
        "cost": cost_of(job),
        "failed_attempts": _failed_attempts(job),
        "metadata": json.loads(job.metadata),
        "links": links(job.id),
    }


def cost_of(job: JobRecord) -> float | None:
    """Returns what the job's runs have cost, in US dollars; None before its end, and without a price."""
    return None if job.charged is None else job.charged / MICROS


def job_result(job: JobRecord, url_of: UrlOf, *, gone_before: int) -> ResultDocument:
    """Returns the job's output with the copies' URLs, and each file's state; ``gone_before`` as in job_document."""
    return result_document(job.output, job.files, url_of, is_kept=(job.ended_at or 0) > gone_before)


def job_summary(job: JobRecord) -> JobSummary:
    """Returns the job as a line of a list."""
    error = _error(job)
    short: ShortError | None = error and {
        "code": error["code"],
        "class": error["class"],
        "retryable": error["retryable"],
    }
    return {**_listed(job), "error": short, "links": links(job.id)}


def owned_job(job: JobRecord) -> OwnedJob:
    """Returns the job as a line of the operator's list."""
    return {**job_summary(job), "key": job.owner}


def dead_letter(job: JobRecord) -> DeadLetter:
    """Returns the job as a dead letter."""
    return {
        **_listed(job),
        "error": _error(job),
        "links": links(job.id),
        "key": job.owner,
        "attempts": job.attempts,
        "failed_attempts": _failed_attempts(job),
    }


def error_document(code: str, detail: str) -> StoredError:
    """Returns a stored error as its owner sees it."""
    return {"code": code, "class": error_class(code), "detail": detail}


def links(job_id: str) -> JobLinks:
    """Returns the paths to follow the job, to cancel it, and to get its result."""
    job = f"/api/jobs/{job_id}"
    return {"status": f"/api/status/{job_id}", "cancel": f"{job}/cancel", "result": f"{job}/result"}


def _listed(job: JobRecord) -> _Listed:
    return {
        "id": job.id,
        "status": job.status,
        "stage": _stage(job),
        "queue": job.queue,
        "provider": job.provider,
        "model": job.model,
        "user_id": job.user,
        "priority": job.priority,
        "batch_id": job.batch,
        "created_at": iso(job.created_at),
        "ended_at": iso(job.ended_at),
    }


def _stage(job: JobRecord) -> Stage:
    if job.is_storing:
        return "storing"
    match job.state:
        case JobState.BACKLOG | JobState.QUEUED:
            return "queued"
        case JobState.SUBMITTING:
            return "submitting"
        case JobState.RUNNING:
            return "running"
        case JobState.DELAYED:
            return "delayed"
        case JobState.DONE:
            return "done"


def _failed_attempts(job: JobRecord) -> list[FailedAttemptDocument]:
    """Returns each attempt that failed or was lost, with its error, oldest first."""
    return [
        {
            "attempt": entry["attempt"],
            "at": iso(entry["at"]),
            "code": entry["code"],
            "detail": entry["detail"],
            "prediction": entry["prediction"],
            "class": error_class(entry["code"]),
        }
        for entry in job.failed_attempts
    ]


def _error(job: JobRecord) -> JobError | None:
    """Returns why the job, or its last attempt, failed; None for a completed job."""
    if not job.error_code or job.status == "completed":
        return None
    return {**error_document(job.error_code, job.error_detail), "retryable": job.is_error_retryable}
