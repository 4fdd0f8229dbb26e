"""A job as the operator sees it: all that is kept of it, except for its input and its output."""

import json
from typing import Literal, TypedDict

from shared.clock import iso
from shared.documents.job import DeadLetter, dead_letter
from shared.jobqueue.record import JobRecord
from shared.jobqueue.state import JobState
from shared.json_value import Json

Step = Literal[
    "created", "attempt_failed", "submitted", "started", "checked", "ended", "notified", "files_stored",
    "due", "next_check", "adoption_ends", "expires",
]  # fmt: skip


class TimelineEntry(TypedDict):
    """A step of a job; one that is ahead has a time in the future."""

    at: str
    step: Step


class InspectedJob(DeadLetter):
    """``GET /api/operate/jobs/{id}``. ``prediction`` is the provider's id of the last run that is known.

    ``state`` is the store's. ``snoozes`` counts submissions that did not happen; ``refusals`` those that the provider
    refused since it last took the job. ``is_unknown``: no answer came to its submission. ``held_by`` says what put it
    aside last.
    """

    state: str
    tier: str
    max_attempts: int
    snoozes: int
    refusals: int
    prediction: str | None
    held_by: str | None
    is_unknown: bool
    cancel_requested: bool
    retry_of: str | None
    redriven_as: str | None
    metadata: dict[str, str]
    timeline: list[TimelineEntry]


class InputDocument(TypedDict):
    """``GET /api/operate/jobs/{id}/input``: what the job was submitted with."""

    id: str
    key: str
    user_id: str
    model: str
    input: dict[str, Json]


def inspected_job(job: JobRecord) -> InspectedJob:
    """Returns all that is kept of the job, except for its input and its output."""
    return {
        **dead_letter(job),
        "state": job.state.value,
        "tier": job.tier,
        "max_attempts": job.max_attempts,
        "snoozes": job.snoozes,
        "refusals": job.refusals,
        "prediction": job.prediction or None,
        "held_by": job.snooze_code or None,
        "is_unknown": job.is_lost,
        "cancel_requested": job.is_cancel_requested,
        "retry_of": job.retry_of,
        "redriven_as": job.redriven_as,
        "metadata": json.loads(job.metadata),
        "timeline": _timeline(job),
    }


def _timeline(job: JobRecord) -> list[TimelineEntry]:
    """Returns the job's steps in the order of their times; what a state makes void is left out."""
    at_provider = job.state in (JobState.SUBMITTING, JobState.RUNNING)
    steps: list[tuple[int | None, Step]] = [
        (job.created_at, "created"),
        *((entry["at"], "attempt_failed") for entry in job.failed_attempts),
        (job.submitted_at, "submitted"),
        (job.started_at, "started"),
        (job.checked_at, "checked"),
        (job.ended_at, "ended"),
        (job.notified_at, "notified"),
        (job.kept_at, "files_stored"),
        (job.due_at if job.state is JobState.DELAYED else None, "due"),
        (job.overdue_at if at_provider else None, "next_check"),
        (job.adopt_until if job.is_lost else None, "adoption_ends"),
        (job.expire_at if job.is_waiting else None, "expires"),
    ]
    known = sorted(((at, step) for at, step in steps if at), key=lambda entry: entry[0])
    return [{"at": iso(at), "step": step} for at, step in known]
