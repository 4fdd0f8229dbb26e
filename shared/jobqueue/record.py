"""A job as the store holds it, with the types behind its text. What its owner sees is in shared/documents."""

import json
import re
from collections.abc import Mapping
from typing import Final, TypedDict, cast

from shared.jobqueue.state import JobState, Outcome, Status
from shared.storage.files import read_files

JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
READ_FIELDS = (
    "owner", "user", "queue", "provider", "model", "tier", "priority", "metadata", "state", "outcome", "attempt",
    "snoozes", "prediction", "progress", "created_at", "submitted_at", "started_at", "ended_at", "due_at", "overdue_at",
    "checked_at", "output", "error_code", "error_detail", "error_retryable", "cancel_requested", "snooze_code", "lane",
    "expire_at", "max_attempts", "history", "batch", "incarnation", "lost", "missed", "adopt_until",
    "retry_of", "redriven_as", "files", "storing", "notified_at", "kept_at", "refusals", "key_tasks",
    "charged",
)  # fmt: skip
# What a list shows of a job; and what the operator sees of a dead letter.
SUMMARY_FIELDS = (
    "owner", "user", "queue", "provider", "model", "priority", "state", "outcome", "batch", "created_at", "ended_at",
    "storing", "error_code", "error_retryable",
)  # fmt: skip
LETTER_FIELDS = (*SUMMARY_FIELDS, "error_detail", "attempt", "snoozes", "history")
# What was asked for with a job, to ask for it again.
REQUEST_FIELDS = (
    "owner", "user", "queue", "provider", "model", "input", "tier", "priority", "metadata", "hook_url", "hook_events",
    "hook_default", "state", "outcome", "batch", "redriven_as", "incarnation",
)  # fmt: skip


class FailedAttempt(TypedDict):
    """What a job keeps of an attempt that failed or was lost; ``at`` in ms."""

    attempt: int
    at: int
    code: str
    detail: str
    prediction: str


class JobRecord:
    """One job. A field that was not read is as one that the job does not have: None, '', 0 or False.

    Times are in ms; ``metadata`` and ``output`` are JSON text. Raises KeyError without a state, or for an end without
    an outcome, and ValueError for text that cannot be what a field holds.
    """

    def __init__(self, job_id: str, fields: Mapping[str, str]) -> None:
        def moment(name: str) -> int | None:
            return int(text) if (text := fields.get(name)) else None

        text = fields.get
        self.id: Final = job_id
        self.owner: Final = text("owner", "")
        self.user: Final = text("user", "")
        # What was asked for
        self.queue: Final = text("queue", "")
        self.provider: Final = text("provider", "")
        self.model: Final = text("model", "")
        self.tier: Final = text("tier", "")
        self.priority: Final = int(text("priority", "0"))
        self.metadata: Final = text("metadata", "{}")
        self.batch: Final = fields.get("batch")
        self.incarnation: Final = text("incarnation", "")
        self.retry_of: Final = fields.get("retry_of")
        self.redriven_as: Final = fields.get("redriven_as")
        # Where it is
        self.state: Final = JobState(fields["state"])
        self.outcome: Final = cast(Outcome, fields["outcome"]) if self.state is JobState.DONE else None
        self.lane: Final = int(text("lane", "0"))
        self.attempt: Final = int(text("attempt", "0"))
        self.snoozes: Final = int(text("snoozes", "0"))
        self.max_attempts: Final = int(text("max_attempts", "0"))
        self.prediction: Final = text("prediction", "")
        self.progress: Final = moment("progress")  # percent
        self.is_cancel_requested: Final = text("cancel_requested") == "1"
        self.is_lost: Final = self.state is JobState.SUBMITTING and text("lost", "0") == text("attempt")
        self.snooze_code: Final = text("snooze_code", "")
        self.key_tasks: Final = text("key_tasks", "")
        self.refusals: Final = int(text("refusals", "0"))  # by its provider, since it last took the job
        self.is_storing: Final = text("storing") == "1"  # it has ended, and its files are still being copied
        # When
        self.created_at: Final = int(text("created_at", "0"))
        self.submitted_at: Final = moment("submitted_at")
        self.started_at: Final = moment("started_at")
        self.ended_at: Final = moment("ended_at")
        self.notified_at: Final = moment("notified_at")  # before all files were final
        self.kept_at: Final = moment("kept_at")
        self.due_at: Final = moment("due_at")
        self.overdue_at: Final = moment("overdue_at")
        self.checked_at: Final = moment("checked_at")
        self.adopt_until: Final = moment("adopt_until")
        attempt, _, missed_at = text("missed", "").partition(":")
        self.missed_at: Final = int(missed_at) if attempt == text("attempt") and missed_at else None
        self.expire_at: Final = moment("expire_at")
        # What came of it
        self.output: Final = fields.get("output")
        self.files: Final = read_files(fields.get("files"))
        self.charged: Final = moment("charged")  # micro-dollars; None before its end, and without a price
        self.error_code: Final = text("error_code", "")
        self.error_detail: Final = text("error_detail", "")
        self.is_error_retryable: Final = text("error_retryable") == "1"
        self.failed_attempts: Final[list[FailedAttempt]] = json.loads(f"[{text('history', '')}]")

    @property
    def is_terminal(self) -> bool:
        return self.state is JobState.DONE

    @property
    def status(self) -> Status:
        return self.state.public or cast(Outcome, self.outcome)

    @property
    def attempts(self) -> int:
        """How many attempts were begun; those put back without a submission do not count."""
        return self.attempt - self.snoozes

    @property
    def is_waiting(self) -> bool:
        """Whether it cannot start before others make room, or before time has passed."""
        return self.state.is_waiting

    def is_due(self, now: int) -> bool:
        """Whether a delayed job's time has come."""
        return self.state is JobState.DELAYED and (self.due_at or 0) <= now

    def is_overdue(self, now: int, gap: int) -> bool:
        """Whether the provider may be asked about a running job; ``gap`` ms at least lie between two questions."""
        if self.state is not JobState.RUNNING:
            return False
        return now >= (self.overdue_at or 0) and now >= (self.checked_at or 0) + gap


class RequestRecord(JobRecord):
    """A job with what was asked for: ``input`` as JSON text, and where its events go."""

    def __init__(self, job_id: str, fields: Mapping[str, str]) -> None:
        super().__init__(job_id, fields)
        self.input: Final = fields.get("input", "")
        self.hook_url: Final = fields.get("hook_url", "")
        self.hook_default: Final = fields.get("hook_default", "")
        self.hook_events: Final = [event for event in fields.get("hook_events", "").split(",") if event]


def is_job_id(text: str) -> bool:
    """Whether a job could have this id; what could not is not looked up."""
    return JOB_ID.fullmatch(text) is not None
