"""The statistics' documents, and the functions that make rows of sums. Times are in seconds."""

from typing import TypedDict

from shared.documents.operating import JobCounts, Statistics, Times
from shared.sums import EVENTS, Amounts, histogram, parts


class StatisticsStep(TypedDict):
    """One step, with its groups."""

    at: str
    jobs: JobCounts
    groups: dict[str, JobCounts]


class OtherCounts(TypedDict):
    """What belongs to no queue and no model: events, calls of providers, the cache, copies and deliveries."""

    events: dict[str, int]
    provider_calls: dict[str, int]
    cache: dict[str, int]
    copies: dict[str, int]
    copied_bytes: int
    deliveries: dict[str, int]


class StatisticsDocument(TypedDict):
    """``GET /api/operate/statistics``: all of the time, its groups, its steps, and the queue as it is now.

    ``is_kept`` is false without STATISTICS; then all counts are 0.
    """

    begins_at: str
    ends_at: str
    step_seconds: int
    is_kept: bool
    jobs: JobCounts
    groups: dict[str, JobCounts]
    others: OtherCounts
    steps: list[StatisticsStep]
    now: Statistics


def job_counts(amounts: Amounts) -> JobCounts:
    """Returns a row of amounts."""
    refused, failed = parts(amounts, "refused"), parts(amounts, "failed")
    accepted, completed = amounts.get("accepted", 0), amounts.get("completed", 0)
    ended = completed + sum(failed.values())
    return {
        "submitted": accepted + sum(refused.values()),
        "accepted": accepted,
        "refused": refused,
        "started": amounts.get("started", 0),
        "completed": completed,
        "failed": failed,
        "canceled": amounts.get("canceled", 0),
        "success_rate": round(completed / ended, 4) if ended else None,
        "wait": _times(amounts, "wait"),
        "run": _times(amounts, "run"),
        "store": _times(amounts, "store"),
        "tell": _times(amounts, "tell"),
    }


def other_counts(amounts: Amounts) -> OtherCounts:
    """Returns what belongs to no series."""
    return {
        "events": {name: amounts[name] for name in (*EVENTS, "unreadable") if name in amounts},
        "provider_calls": parts(amounts, "calls"),
        "cache": parts(amounts, "cache"),
        "copies": parts(amounts, "copies"),
        "copied_bytes": amounts.get("copied_bytes", 0),
        "deliveries": parts(amounts, "deliveries"),
    }


def _times(amounts: Amounts, name: str) -> Times:
    found = histogram(amounts, name)
    p50, p95, p99 = (found.quantile(part) for part in (0.5, 0.95, 0.99))
    return {"count": found.count, "p50": p50, "p95": p95, "p99": p99}
