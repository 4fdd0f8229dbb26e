"""A job as the store holds it and as its owner sees it. Its states are in state.py."""

import json
import re
from dataclasses import dataclass
from typing import Any

from shared.clock import iso
from shared.jobqueue.state import WAITING, JobState
from shared.providers.failures import error_class
from shared.storage.files import UrlOf, kept_output, read_files, shown, without_copies

JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
READ_FIELDS = (
    "owner", "user", "queue", "provider", "model", "tier", "priority", "metadata", "state", "outcome", "attempt",
    "snoozes", "prediction", "progress", "created_at", "submitted_at", "started_at", "ended_at", "due_at", "overdue_at",
    "checked_at", "output", "error_code", "error_detail", "error_retryable", "cancel_requested", "snooze_code", "lane",
    "expire_at", "max_attempts", "history", "batch",
    "retry_of", "redriven_as", "files", "storing", "kept_at",
)  # fmt: skip
# What a list tells of a job; and of a dead letter, to the operator.
SUMMARY_FIELDS = (
    "owner", "user", "queue", "provider", "model", "priority", "state", "outcome", "batch", "created_at", "ended_at",
    "storing", "error_code", "error_retryable",
)  # fmt: skip
LETTER_FIELDS = (*SUMMARY_FIELDS, "error_detail", "attempt", "snoozes", "history")


@dataclass(frozen=True)
class Job:
    """One job; ``fields`` are the store's, each text, absent ones missing."""

    id: str
    fields: dict[str, str]

    @classmethod
    def of(cls, job_id: str, fields: dict[str, str]) -> "Job":
        return cls(job_id, fields)

    @property
    def owner(self) -> str:
        return self.fields["owner"]

    @property
    def user(self) -> str:
        return self.fields["user"]

    @property
    def state(self) -> JobState:
        return JobState(self.fields["state"])

    @property
    def is_terminal(self) -> bool:
        return self.state is JobState.DONE

    @property
    def status(self) -> str:
        """pending, processing, completed, failed or canceled."""
        return self.state.public or self.fields["outcome"]

    @property
    def attempts(self) -> int:
        """How many attempts were begun; those put back without a submission do not count."""
        return int(self.fields.get("attempt", "0")) - int(self.fields.get("snoozes", "0"))

    def moment(self, name: str) -> int | None:
        """A time field in ms."""
        value = self.fields.get(name)
        return int(value) if value else None

    def is_due(self, now: int) -> bool:
        """Whether a delayed job's time has come."""
        return self.state is JobState.DELAYED and (self.moment("due_at") or 0) <= now

    def is_overdue(self, now: int, gap: int) -> bool:
        """Whether the provider may be asked about a running job; ``gap`` ms at least lie between two questions."""
        if self.state is not JobState.RUNNING:
            return False
        return now >= (self.moment("overdue_at") or 0) and now >= (self.moment("checked_at") or 0) + gap

    @property
    def waits(self) -> bool:
        """Whether somebody else has to make room, or time to pass, before it can start."""
        return self.state in WAITING

    @property
    def is_storing(self) -> bool:
        """Whether it has ended, and its files are still being copied."""
        return self.fields.get("storing") == "1"

    def document(self, explained: dict[str, Any], url_of: UrlOf, gone_before: int = 0) -> dict[str, Any]:
        """What the owner sees; ``explained`` is what explanation.py adds, ``url_of`` tells where files are read.

        ``gone_before`` as for ``result``.
        """
        f = self.fields
        progress = 100 if self.status == "completed" else int(f["progress"]) if f.get("progress") else None
        return {
            "id": self.id,
            "status": self.status,
            "stage": self._stage,
            "progress": progress,
            "queue": f["queue"],
            "provider": f["provider"],
            "model": f["model"],
            "user_id": f["user"],
            "tier": f["tier"],
            "priority": int(f["priority"]),
            "attempts": self.attempts,
            "max_attempts": int(f["max_attempts"]),
            "cancel_requested": f.get("cancel_requested") == "1",
            "created_at": iso(self.moment("created_at")),
            "submitted_at": iso(self.moment("submitted_at")),
            "started_at": iso(self.moment("started_at")),
            **explained,
            "due_at": iso(self.moment("due_at")) if self.state is JobState.DELAYED else None,
            "expires_at": iso(self.moment("expire_at")) if self.waits else None,
            "batch_id": f.get("batch"),
            "retry_of": f.get("retry_of"),
            "redriven_as": f.get("redriven_as"),
            "ended_at": iso(self.moment("ended_at")),
            **self.result(url_of, gone_before),
            "error": self._error(),
            "failed_attempts": self._failed_attempts(),
            "metadata": json.loads(f["metadata"]),
            "links": links(self.id),
        }

    def result(self, url_of: UrlOf, gone_before: int = 0) -> dict[str, Any]:
        """The output with our own copies in it, and the state of each file.

        Of a job that ended at the moment ``gone_before`` (ms) or earlier, no copies are kept any more.
        """
        f = self.fields
        files = read_files(f.get("files"))
        if files and (self.moment("ended_at") or 0) <= gone_before:
            files = without_copies(files)
        output = json.loads(f["output"]) if f.get("output") else None
        return {"output": kept_output(output, files, url_of), "files": shown(files, url_of)}

    def summary(self) -> dict[str, Any]:
        """What a list tells of it."""
        f, error = self.fields, self._error()
        return {
            "id": self.id,
            "status": self.status,
            "stage": self._stage,
            "queue": f["queue"],
            "provider": f["provider"],
            "model": f["model"],
            "user_id": f["user"],
            "priority": int(f["priority"]),
            "batch_id": f.get("batch"),
            "created_at": iso(self.moment("created_at")),
            "ended_at": iso(self.moment("ended_at")),
            "error": error and {name: error[name] for name in ("code", "class", "retryable")},
            "links": links(self.id),
        }

    def letter(self) -> dict[str, Any]:
        """What the operator is told of a dead letter; ``key`` names the application's API key."""
        return {
            **self.summary(),
            "key": self.owner,
            "attempts": self.attempts,
            "error": self._error(),
            "failed_attempts": self._failed_attempts(),
        }

    @property
    def _stage(self) -> str:
        if self.is_storing:
            return "storing"
        return JobState.QUEUED if self.state is JobState.BACKLOG else self.state

    def _failed_attempts(self) -> list[dict[str, Any]]:
        """Each attempt that failed or was lost, with its error, oldest first."""
        history = json.loads(f"[{self.fields.get('history', '')}]")
        return [{**entry, "at": iso(entry["at"]), "class": error_class(entry["code"])} for entry in history]

    def _error(self) -> dict[str, Any] | None:
        """Why the job failed, or why its last attempt did; None once it completed."""
        f = self.fields
        if not f.get("error_code") or self.status == "completed":
            return None
        document = error_document(f["error_code"], f.get("error_detail", ""))
        return {**document, "retryable": f.get("error_retryable") == "1"}


def error_document(code: str, detail: str) -> dict[str, Any]:
    """A stored error as its owner sees it."""
    return {"code": code, "class": error_class(code), "detail": detail}


def is_job_id(text: str) -> bool:
    """Whether a job could have this id; what could not is not looked up."""
    return JOB_ID.fullmatch(text) is not None


def links(job_id: str) -> dict[str, str]:
    """Where the job can be followed and cancelled, and where its result will be."""
    job = f"/api/jobs/{job_id}"
    return {"status": f"/api/status/{job_id}", "cancel": f"{job}/cancel", "result": f"{job}/result"}
