"""Answers to applications that are neither a job, nor a batch, nor a list: one type a call."""

from typing import Literal, NotRequired, TypedDict

from shared.config.hooks import Event
from shared.documents.job import JobLinks
from shared.jobqueue.state import CancelWord, Outcome, Status
from shared.json_value import Json

WebhookWord = Literal["finished", "already", "stale", "unknown", "delayed", "running"]


class Receipt(TypedDict):
    """``POST /api/submit``: the accepted job; its place in the queue if it waits and this call has accepted it."""

    id: str
    status: Status
    queue: str
    queue_position: int | None
    created_at: str
    links: JobLinks


class RedriveReceipt(Receipt):
    """``POST /api/jobs/{id}/retry``: the job made of a failed one."""

    retry_of: str


class CanceledJob(TypedDict):
    """``POST /api/jobs/{id}/cancel``; ``status`` is there if the job had ended before."""

    id: str
    result: CancelWord
    links: JobLinks
    status: NotRequired[Outcome]


class ChangedJob(TypedDict):
    """``PATCH /api/jobs/{id}``."""

    id: str
    priority: int
    links: JobLinks


class JobOutput(TypedDict):
    """``GET /api/jobs/{id}/result`` of an output that is not a URL."""

    output: Json


class CanceledBatch(TypedDict):
    """``POST /api/batches/{batch_id}/cancel``."""

    id: str
    result: CancelWord


class RetriedBatch(TypedDict):
    """``POST /api/batches/{batch_id}/retry``: how many jobs run again."""

    id: str
    retried: int


class HooksDocument(TypedDict):
    """``GET /api/hooks``: the API key's default URL and events, and each secret that signs what it gets."""

    url: str | None
    events: list[Event]
    secrets: list[str]


class PreparedUpload(TypedDict):
    """``POST /api/uploads``: what to send where until when, and the URL that a model can read afterwards."""

    upload_url: str
    method: Literal["PUT"]
    headers: dict[str, str]
    url: str
    expires_at: str


class ErasedUser(TypedDict):
    """``DELETE /api/users/{user_id}``: what this call has removed, and how many jobs stay."""

    jobs: int
    files: int
    live: int
    is_complete: bool


class AppliedWebhook(TypedDict):
    """``POST /api/webhook/{provider}``: what the report did to its job."""

    result: WebhookWord
