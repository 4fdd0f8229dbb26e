"""Answers to applications that are neither a job, nor a batch, nor a list: one type per call."""

from typing import Literal, NotRequired, TypedDict

from shared.config.hooks import Event
from shared.documents.job import JobLinks
from shared.jobqueue.state import CancelWord, Outcome, Status
from shared.json_value import Json

WebhookWord = Literal["finished", "already", "stale", "replaced", "unknown", "delayed", "running"]


class Receipt(TypedDict):
    """``POST /api/submit``: the accepted job; its position if it waits and this call has accepted it."""

    id: str
    status: Status
    queue: str
    queue_position: int | None
    created_at: str
    links: JobLinks


class JobToken(TypedDict):
    """A token that reads one job, until it expires."""

    token: str
    expires_at: str


class IssuedToken(JobToken):
    """``POST /api/tokens``: a token for one user."""

    user_id: str
    scopes: list[str]


class TokenReceipt(Receipt):
    """``POST /api/submit`` with ``"token": true``."""

    token: JobToken


class RedriveReceipt(Receipt):
    """``POST /api/jobs/{id}/retry``: the new job for a failed one."""

    retry_of: str


class CanceledJob(TypedDict):
    """``POST /api/jobs/{id}/cancel``; it has a ``status`` if the job had ended before."""

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


class OutputPiece(TypedDict):
    """``GET /api/jobs/{id}/result?from=0``: a piece of the output's JSON, and the path of the next one."""

    text: str
    next: str | None


class CanceledBatch(TypedDict):
    """``POST /api/batches/{batch_id}/cancel``."""

    id: str
    result: CancelWord


class RetriedBatch(TypedDict):
    """``POST /api/batches/{batch_id}/retry``: how many jobs run again."""

    id: str
    retried: int


class HooksDocument(TypedDict):
    """``GET /api/hooks``: the API key's default URL and events, and each secret that signs its events."""

    url: str | None
    events: list[Event]
    secrets: list[str]


class PreparedUpload(TypedDict):
    """``POST /api/uploads``: the request that uploads the file, its expiry, and the URL that a model can read then."""

    upload_url: str
    method: Literal["PUT"]
    headers: dict[str, str]
    url: str
    expires_at: str


class ErasedUser(TypedDict):
    """``DELETE /api/users``: how much this call has deleted, and how many jobs live.

    ``repeat_at``: an upload URL or a copy from before may bring a file back until then; null if none can.
    """

    jobs: int
    files: int
    live: int
    is_complete: bool
    repeat_at: str | None


class AppliedWebhook(TypedDict):
    """``POST /api/webhook/{provider}``: the report's effect on its job."""

    result: WebhookWord
