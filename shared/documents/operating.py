"""Documents for operators and the scheduler: limits, statistics, ticks, redrives and health."""

from typing import Literal, NotRequired, TypedDict

from shared.documents.job import OwnedJob
from shared.jobqueue.state import Status


class LimitDocument(TypedDict):
    """The limit in force, and the configured one; they differ if an operator has set a live limit."""

    concurrency: int
    configured: int
    paused: bool


class PauseReason(TypedDict):
    """Since when a provider refuses submissions, its last refusal, and how many there were, of which models.

    ``status`` is the HTTP status of the answer, or WaveSpeed's own code.
    """

    since: str
    code: str
    status: int
    refused_at: str
    refusals: int
    models: list[str]


class ProviderLimit(LimitDocument):
    """The limits of a provider, and the end of a pause after its refusals.

    ``paused_until`` is null once a job may try; ``pause`` stays until the provider accepts one.
    """

    creates_per_minute: float
    paused_until: str | None
    pause: PauseReason | None


class OpenCircuit(TypedDict):
    """A failing model, and when one job tries it again.

    ``model`` is the version, if jobs name one. ``of_one_user``: only one user's jobs fail, and wait.
    """

    provider: str
    model: str
    open_until: str
    of_one_user: bool


class LimitsDocument(TypedDict):
    """``GET /api/operate/limits``."""

    system: LimitDocument
    queues: dict[str, LimitDocument]
    providers: dict[str, ProviderLimit]
    circuits: list[OpenCircuit]


class UserLimitDocument(TypedDict):
    """A user's own limit, which holds in place of the configured one; ``key`` names the API key."""

    key: str
    user_id: str
    concurrency: int


class UserLimitsPage(TypedDict):
    """``GET /api/operate/user-limits``, in no order; a page may be empty and not the last."""

    users: list[UserLimitDocument]
    configured: int
    next_cursor: str | None


class QueueDocument(TypedDict):
    """The number of one queue's jobs at a provider, and of its ready jobs."""

    running: int
    ready: int
    concurrency: int


class KeyDocument(TypedDict):
    """The number of one API key's jobs at the providers, and of its waiting jobs; and how many it may have."""

    running: int
    max_running: int
    waiting: int
    max_waiting: int


class UnknownJob(TypedDict):
    """A job that waits for the outcome of its submission."""

    id: str
    submitted_at: str


class RoomMade(TypedDict):
    """``POST /api/operate/make-room``: how many jobs were deleted; ``next_cursor`` is null when all were looked at."""

    deleted: int
    next_cursor: str | None


class SettledJob(TypedDict):
    """``POST /api/operate/jobs/{id}/settle``: the job after it; ``prediction`` is null if it has none."""

    id: str
    status: Status
    prediction: str | None


class Times(TypedDict):
    """How many were timed, and the seconds that half, 95 and 99 of a hundred stayed below; null without any."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None


class JobCounts(TypedDict):
    """What jobs did. ``submitted`` counts accepted jobs and refused calls; groups have no refusals.

    ``started`` counts submissions to providers, once their job has ended. ``success_rate`` is the completed part of
    those that completed or failed; null without any.
    """

    submitted: int
    accepted: int
    refused: dict[str, int]
    started: int
    completed: int
    failed: dict[str, int]
    canceled: int
    success_rate: float | None
    wait: Times
    run: Times
    store: Times
    tell: Times


class Statistics(TypedDict):
    """``GET /api/process-queue``. ``counters`` count all jobs since the store was empty.

    With STATISTICS, ``recent`` is the last hour and the minutes of this one, and ``counters`` has ``refused``.
    ``keys`` is empty where there is one API key: then its jobs are all jobs.
    ``unknown`` counts the submissions whose outcome is unknown; ``unknown_jobs`` has up to 100 of them, oldest first.
    """

    queues: dict[str, QueueDocument]
    keys: dict[str, KeyDocument]
    running: int
    max_running: int
    delayed: int
    backlog: int
    dead: int
    counters: dict[str, int]
    unknown: int
    unknown_jobs: list[UnknownJob]
    last_tick_age_seconds: int | None
    limits: LimitsDocument
    storage_mode: str
    oldest_startable_age_seconds: NotRequired[int | None]
    recent: NotRequired[JobCounts]


class TickReport(TypedDict):
    """``POST /api/process-queue``: the tick's work in jobs; ``followed_up`` counts rows of the outbox."""

    started: int
    looked_at: int
    missing: int
    expired: int
    failed: int
    followed_up: int
    rounds: int
    duration_ms: int


class RedrivenJob(TypedDict):
    """A dead letter, and the new job that the redrive creates, or would create."""

    id: str
    redriven_as: str


class SkippedJob(TypedDict):
    """A job that was not redriven, and the error's code."""

    id: str
    code: str


class RedriveReport(TypedDict):
    """``POST /api/operate/dead-letters/redrive``."""

    redriven: list[RedrivenJob]
    skipped: list[SkippedJob]
    stopped_by: Literal["queue_full", "out_of_time"] | None
    next_cursor: str | None
    dry_run: bool


class BulkReport(TypedDict):
    """``POST /api/operate/cancel`` and ``.../purge``: what became of how many jobs, and which were skipped.

    A dry run counts the jobs by their status, and shows the first ten of a call in ``sample``.
    """

    counts: dict[str, int]
    sample: list[OwnedJob]
    skipped: list[SkippedJob]
    stopped_by: Literal["storage_unavailable", "out_of_time"] | None
    next_cursor: str | None
    dry_run: bool


class StoreHealth(TypedDict):
    """Whether the store answers, and how fast, or with which error."""

    mode: str
    reachable: bool
    latency_ms: NotRequired[float]
    code: NotRequired[str]


Trouble = Literal[
    "jobs_not_started",
    "provider_paused",
    "circuit_open",
    "tick_is_late",
    "store_refuses",
    "submissions_unknown",
    "webhooks_refused",
]


class Health(TypedDict):
    """``GET /api/health``. It names no job, user or model, since anybody may call it.

    ``degraded_by`` says what is beyond its bound; ``status`` is then ``degraded``.
    """

    status: Literal["ok", "degraded"]
    degraded_by: list[Trouble]
    store: StoreHealth
    last_tick_age_seconds: int | None
    tick_is_late: bool
    oldest_startable_age_seconds: int | None
    paused_providers: list[str]
    open_circuits: int
    unknown_submissions: int
    webhook_refused_age_seconds: int | None


class Unavailable(TypedDict):
    """``GET /api/health`` with 503."""

    status: Literal["unavailable"]
    store: StoreHealth
