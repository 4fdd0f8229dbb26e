"""WaveSpeed's answers about a task, and what they mean."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import respx

from shared.providers.base import (
    Found,
    Prediction,
    PredictionGone,
    ProviderUnavailable,
    Wanted,
)
from shared.providers.failures import classify_failure
from shared.providers.wavespeed import WaveSpeed, prediction_of
from tests.providers.wavespeed import BASE, envelope, task

# --- reads


@pytest.mark.parametrize(
    ("status", "ours"),
    [
        ("created", "running"),
        ("processing", "running"),
        ("completed", "completed"),
        ("failed", "failed"),
        ("timeout", "failed"),
        ("cancelled", "canceled"),
        ("canceled", "canceled"),
        ("deleted", "canceled"),
        ("brand-new", "running"),
    ],
)
@respx.mock
async def test_every_status_is_mapped_and_an_unknown_one_counts_as_running(
    wavespeed: WaveSpeed, status: str, ours: str
) -> None:
    respx.get(f"{BASE}/predictions/t1/result").respond(200, json=envelope(**task(status=status)))
    assert (await wavespeed.get("t1", 5)).status == ours


@respx.mock
async def test_a_finished_task_has_its_outputs_its_model_and_its_seconds(wavespeed: WaveSpeed) -> None:
    done = task(status="completed", outputs=["https://o.example/1.mp4"], executionTime=2500)
    respx.get(f"{BASE}/predictions/t1/result").respond(200, json=envelope(**done))
    assert await wavespeed.get("t1", 5) == Prediction(
        "t1",
        "completed",
        output=["https://o.example/1.mp4"],
        model="bytedance/seedance-v1",
        seconds=2.5,
        metrics={"predict_time": 2.5},
    )


@pytest.mark.parametrize(
    ("fields", "code", "retryable"),
    [
        ({"code": 1200, "error": "refused"}, "content_policy", False),
        ({"code": 1401, "error": "size"}, "invalid_input", False),
        ({"code": 1402, "error": "Failed to download image."}, "invalid_input", False),
        ({"code": 5003}, "provider_down", True),
        ({"code": 5004}, "timeout", True),
        ({"status": "timeout"}, "timeout", True),
        ({"error": "CUDA out of memory"}, "provider_down", True),
        ({"code": 1405, "error": "something odd"}, "unknown", True),
        ({"code": ["?"], "error": None}, "unknown", True),
    ],
)
def test_failures_are_classified_by_code_and_text(fields: dict[str, Any], code: str, retryable: bool) -> None:
    failed = prediction_of(task(**{"status": "failed", **fields}))
    assert classify_failure(failed.error) == (code, retryable)


@pytest.mark.parametrize(
    ("changes", "output", "seconds"),
    [
        ({"outputs": None}, None, None),
        ({"outputs": "no list"}, None, None),
        ({"outputs": []}, None, None),
        ({"outputs": [{"a": 1}]}, [{"a": 1}], None),
        ({"executionTime": "long"}, None, None),
        ({"executionTime": -1}, None, None),
        ({"executionTime": 10**400}, None, None),
        ({"timings": {"inference": 1500}}, None, 1.5),
        ({"timings": [1]}, None, None),
    ],
)
def test_malformed_fields_of_a_task_are_left_out(changes: dict[str, Any], output: Any, seconds: float | None) -> None:
    read = prediction_of(task(status="completed", **changes))
    assert (read.output, read.seconds) == (output, seconds)


@pytest.mark.parametrize(
    "body", [None, [], "x", {}, {"id": "t"}, {"id": 1, "status": "x"}, {"data": {"id": "t"}}, {"id": "t", "status": []}]
)
def test_a_body_without_a_task_is_refused(body: Any) -> None:
    with pytest.raises(ValueError, match="prediction"):
        prediction_of(body)


@pytest.mark.parametrize(("status", "body"), [(404, {}), (200, envelope(404, "no such task"))])
@respx.mock
async def test_an_unknown_task_is_gone(wavespeed: WaveSpeed, status: int, body: Any) -> None:
    respx.get(f"{BASE}/predictions/t1/result").respond(status, json=body)
    with pytest.raises(PredictionGone):
        await wavespeed.get("t1", 5)


@pytest.mark.parametrize(
    ("status", "body"), [(500, {}), (401, {}), (200, envelope(500, "oops")), (200, "<html>"), (200, envelope())]
)
@respx.mock
async def test_any_other_answer_counts_as_no_answer(wavespeed: WaveSpeed, status: int, body: Any) -> None:
    respx.get(f"{BASE}/predictions/t1/result").respond(status, json=body)
    with pytest.raises(ProviderUnavailable):
        await wavespeed.get("t1", 5)


@respx.mock
async def test_a_read_whose_answer_is_lost_is_not_repeated(wavespeed: WaveSpeed) -> None:
    route = respx.get(f"{BASE}/predictions/t1/result").mock(side_effect=httpx.ReadTimeout("x"))
    with pytest.raises(ProviderUnavailable, match="ReadTimeout"):
        await wavespeed.get("t1", 5)
    assert route.call_count == 1


@respx.mock
async def test_cancel_and_list_do_nothing_and_make_no_call(wavespeed: WaveSpeed) -> None:
    now = datetime.now(UTC)
    assert await wavespeed.cancel("t1", 5) is None
    assert await wavespeed.find(Wanted("a/b", {}, now, now), 5) == Found()
    assert not respx.calls
