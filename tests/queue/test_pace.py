"""The pause until the next poll, and between two questions to the provider, near and after a run's usual end."""

from types import SimpleNamespace
from typing import Any

from shared.jobqueue import Outlook
from shared.jobqueue.state import JobState
from shared.jobs.pace import pause_of, question_gap
from tests.world import settings_for

NOW = 1_800_000_000_000
USUAL = Outlook(p50=60_000, p90=70_000)


def run_of(age: int) -> Any:
    """A running job of this age in ms, about which the provider has just been asked."""
    return SimpleNamespace(state=JobState.RUNNING, submitted_at=NOW - age, checked_at=NOW, is_cancel_requested=False)


def test_a_run_near_its_usual_end_is_polled_each_two_seconds() -> None:
    assert pause_of(run_of(57_000), USUAL, settings_for(None), NOW, is_reported=True) == 2.0


def test_a_late_run_is_asked_about_soon() -> None:
    assert question_gap(run_of(79_000), USUAL, settings_for(None), NOW, is_reported=True) == 2.0
    assert question_gap(run_of(60_000), USUAL, settings_for(None), NOW, is_reported=True) == 30.0
