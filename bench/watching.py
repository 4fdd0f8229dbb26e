"""What it costs to watch one run until its webhook comes, by shared/jobs/pace.py, in one process.

tests/queue/test_watching.py counts the same at the store.
"""

from dataclasses import dataclass

from shared.config.settings import Settings
from shared.jobqueue import Outlook
from shared.jobqueue.record import JobRecord
from shared.jobs.pace import pause_of, question_gap

BEGAN = 1_800_000_000_000


@dataclass(frozen=True)
class Watched:
    """How many polls there were, how many reached the store, and how many of these asked the provider."""

    polls: int
    reached: int
    questions: int


def watch(settings: Settings, seconds: float, every: float | None = None, *, is_known: bool = True) -> Watched:
    """Polls a run of so many s each ``every`` s, or as ``Retry-After`` asks; ``is_known``: its model has such runs."""
    usual = round(seconds * 1000) if is_known else 0
    outlook, at, checked_at, good_until = Outlook(p50=usual, p90=usual), 0.0, 0.0, -1.0
    polls = reached = questions = 0
    while True:
        polls, now = polls + 1, BEGAN + round(at * 1000)
        fields = {"state": "running", "submitted_at": str(BEGAN)}
        if checked_at:
            fields["checked_at"] = str(BEGAN + round(checked_at * 1000))
        job = JobRecord("job", fields)
        if at >= good_until:
            reached, good_until = reached + 1, at + settings.status_cache_ttl
            gap = question_gap(job, outlook, settings, now, is_reported=True)
            if settings.first_check_after <= at < seconds and at >= checked_at + gap:
                questions, checked_at = questions + 1, at
            if at >= seconds:
                return Watched(polls, reached, questions)
        at += every or -(-pause_of(job, outlook, settings, now, is_reported=True) // 1)
