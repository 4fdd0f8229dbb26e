"""The verdict on polls notices each answer that no view may give, and excuses what a slow load may show."""

from collections.abc import Sequence

import httpx
import pytest

from tests.soak.pollers import fault_in
from tests.soak.sightings import Sighting, read, written
from tests.soak.watching import MAX_PAUSE, TTL, WRITTEN_WITHIN, faults_of

NEVER = 1e9


def poll(sent: float, status: str = "processing", *, took: float = 0.01, name: str = "a", **more: object) -> Sighting:
    values = {"code": 200, "pause": 1.0, "is_running": status == "processing", **more}
    return Sighting(name, "job_1", sent, sent + took, status=status, **values)  # type: ignore[arg-type]


def faults(polls: Sequence[Sighting], ended_at: float | None = None, healed_at: float = NEVER) -> list[str]:
    return list(faults_of(sorted(polls, key=lambda each: each.sent), ended_at, healed_at))


def test_a_job_that_is_seen_to_wait_run_fail_run_and_end_is_as_it_should_be() -> None:
    seen = [
        poll(0, "pending"),
        poll(1),
        poll(2, "pending", failures=1),
        poll(3, failures=1),
        poll(4, "completed"),
        poll(5, "completed", code=304, name="b"),
    ]
    assert faults(seen, ended_at=3.5) == []


def test_an_older_state_is_noticed_once_no_view_can_be_so_old() -> None:
    (fault,) = faults([poll(0), poll(1, "pending")])
    assert fault == "a saw (False, 0, False), when (False, 0, True) had been seen"
    assert len(faults([poll(0, "pending", failures=1), poll(1)])) == 1
    assert len(faults([poll(0, "completed"), poll(1, name="b")])) == 1


def test_a_view_may_be_as_old_as_the_cache_keeps_it() -> None:
    assert faults([poll(0, "completed"), poll(TTL - 0.01, name="b")]) == []


def test_a_poll_may_join_a_load_that_began_before() -> None:
    slow = poll(0, took=3, name="slow")
    seen = [slow, poll(1, "completed", name="b"), poll(2, took=1.01, name="c")]
    assert faults(seen) == []
    assert len(faults([*seen, poll(3.1, name="d")])) == 1


def test_an_end_that_is_not_seen_in_time_is_noticed() -> None:
    assert faults([poll(WRITTEN_WITHIN)], ended_at=0) == []
    (fault,) = faults([poll(WRITTEN_WITHIN + TTL + 0.1)], ended_at=0)
    assert fault == f"a saw processing {WRITTEN_WITHIN + 0.1:.1f} s after its end"


def test_a_refusal_needs_a_fault_and_a_pause_is_bounded() -> None:
    refused = poll(TTL + 1, "", code=503, pause=60)
    assert faults([refused]) == []
    assert faults([refused], healed_at=0) == ["503 1.0 s after the last fault"]
    assert faults([poll(0, pause=MAX_PAUSE + 1)]) == [f"Retry-After was {MAX_PAUSE + 1} s"]


DOCUMENT = {"id": "job_1", "metadata": {"work": "7"}}


@pytest.mark.parametrize(
    ("answer", "work", "fault"),
    [
        (httpx.Response(200, headers={"ETag": "x"}), "7", ""),
        (httpx.Response(304, headers={"ETag": "x"}), "7", ""),
        (httpx.Response(503, json={"code": "store_uncertain"}), "7", ""),
        (httpx.Response(200), "8", "the answer is that of job_1, work 7 instead of 8"),
        (httpx.Response(304, headers={"ETag": "y"}), "7", "304 to 'x' with 'y'"),
        (httpx.Response(503, json={"code": "queue_full"}), "7", '503: {"code":"queue_full"}'),
        (httpx.Response(500, text="oh"), "7", "500: oh"),
    ],
)
def test_a_poller_notices_an_answer_that_is_not_its_own(answer: httpx.Response, work: str, fault: str) -> None:
    assert fault_in(answer, DOCUMENT, "x", "job_1", work) == fault


def test_sightings_are_handed_on_as_lines() -> None:
    seen = [poll(1), poll(2, "completed", output="text")]
    assert list(read(map(written, seen))) == seen
