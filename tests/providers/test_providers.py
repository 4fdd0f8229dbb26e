"""What each answer of Replicate proves, against canned answers and the simulator."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import respx
from hypothesis import given, settings
from hypothesis import strategies as st

from local.simulator.running import RunningSimulator
from shared.errors import Unauthenticated
from shared.providers.base import (
    Accepted,
    Prediction,
    PredictionGone,
    ProviderUnavailable,
    Rejected,
    Submission,
    Throttled,
    Unknown,
    Wanted,
)
from shared.providers.failures import clean
from shared.providers.loading import Providers
from shared.providers.progress import MAX_LINE, lines_from_end, progress_of
from shared.providers.replicate_api import Replicate, prediction_of, request_of
from tests.world import settings_for

BASE = "https://api.replicate.com/v1"
VERSION = "ab" * 32


def submission(
    model: str = "acme/video", webhook: str | None = "https://s.example/w?job=1", **given: Any
) -> Submission:
    return Submission("job_1", 1, model, {"prompt": "x", **given}, webhook, 90)


def anything_since(moment: datetime) -> Wanted:
    """A submission that each listed prediction may belong to: it says nothing of its input."""
    return Wanted("acme/video", {}, moment, moment + timedelta(days=1))


@pytest.fixture
async def replicate() -> AsyncIterator[Replicate]:
    provider = Replicate(settings_for(None, replicate_api_token="r8_token"))
    yield provider
    await provider.close()


@pytest.mark.parametrize(
    ("model", "path", "version"),
    [
        ("acme/video", "models/acme/video/predictions", None),
        ("deployments/acme/prod", "deployments/acme/prod/predictions", None),
        (f"acme/video:{VERSION}", "predictions", VERSION),
        (VERSION, "predictions", VERSION),
    ],
)
def test_each_form_of_a_model_has_its_path(model: str, path: str, version: str | None) -> None:
    got, body = request_of(submission(model))
    assert got == path and body.get("version") == version
    assert body["webhook_events_filter"] == ["completed"]
    assert "webhook" not in request_of(submission(model, webhook=None))[1]


@respx.mock
async def test_a_create_sends_token_input_webhook_and_deadline(replicate: Replicate) -> None:
    route = respx.post(f"{BASE}/models/acme/video/predictions").respond(201, json={"id": "p1", "status": "starting"})
    assert await replicate.create(submission(), 15) == Accepted(Prediction("p1", "running"))
    request = route.calls.last.request
    assert request.headers["authorization"] == "Bearer r8_token" and request.headers["cancel-after"] == "90s"
    assert json.loads(request.content)["input"] == {"prompt": "x"}


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (429, {"detail": "Request was throttled. Your rate limit resets in ~30s."}, Throttled("rate_limited", 30)),
        (429, {"detail": "slow down", "retry_after": 7}, Throttled("rate_limited", 7)),
        (429, {"retry_after": 1e9}, Throttled("rate_limited", 120)),
        (429, {"retry_after": "nan"}, Throttled("rate_limited", 1)),
        (429, "busy", Throttled("rate_limited", 30)),
        (429, {"retry_after": 10**400}, Throttled("rate_limited", 30)),
        (402, {"title": "Insufficient credit"}, Throttled("billing", 60)),
        (401, {}, Throttled("provider_auth", 60)),
        (403, {}, Throttled("provider_auth", 60)),
        (422, {"detail": "prompt is\nrequired"}, Rejected("invalid_input", "prompt is required")),
        (
            404,
            {"detail": "The requested resource could not be found."},
            Rejected(
                "model_not_found",
                "Replicate runs no model of this name. Name a community model with its version: owner/model:version. "
                "The provider says: The requested resource could not be found.",
                may_pass=True,
            ),
        ),
        (400, [], Rejected("invalid_input", "status 400")),
        (408, {}, Unknown("status 408")),
        (409, {}, Unknown("status 409")),
        (302, {}, Unknown("status 302")),
        (500, {"detail": "oops"}, Unknown("status 500")),
        (503, {}, Unknown("status 503")),
        (201, {"status": "starting"}, Unknown("the answer holds no prediction")),
        (201, "<html>", Unknown("the answer holds no prediction")),
    ],
)
@respx.mock
async def test_each_answer_to_a_create_has_its_outcome(
    replicate: Replicate, status: int, body: Any, outcome: Any
) -> None:
    respx.post(f"{BASE}/models/acme/video/predictions").respond(status, json=body)
    assert await replicate.create(submission(), 15) == outcome


@respx.mock
async def test_a_404_is_tried_once_more(replicate: Replicate) -> None:
    respx.post(f"{BASE}/models/acme/video/predictions").respond(404, text="<html>Not found</html>")
    outcome = await replicate.create(submission(), 15)
    assert isinstance(outcome, Rejected) and outcome.may_pass and "owner/model:version" in outcome.detail


@pytest.mark.parametrize(
    ("error", "is_sure"),
    [
        (httpx.ConnectError, True),
        (httpx.ConnectTimeout, True),
        (httpx.PoolTimeout, True),
        (httpx.LocalProtocolError, True),
        (httpx.UnsupportedProtocol, True),
        (httpx.ReadTimeout, False),
        (httpx.WriteTimeout, False),
        (httpx.ReadError, False),
        (httpx.WriteError, False),
        (httpx.RemoteProtocolError, False),
    ],
)
@respx.mock
async def test_only_a_create_that_was_never_sent_is_surely_not_created(
    replicate: Replicate, error: type[httpx.TransportError], is_sure: bool
) -> None:
    route = respx.post(f"{BASE}/models/acme/video/predictions").mock(side_effect=error("x"))
    outcome = await replicate.create(submission(), 15)
    assert isinstance(outcome, Throttled if is_sure else Unknown)
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("status", "ours"),
    [
        ("starting", "running"),
        ("processing", "running"),
        ("succeeded", "completed"),
        ("failed", "failed"),
        ("canceled", "canceled"),
        ("aborted", "canceled"),
        ("brand-new", "running"),
    ],
)
def test_every_status_is_mapped_and_an_unknown_one_counts_as_running(status: str, ours: str) -> None:
    assert prediction_of({"id": "p", "status": status}).status == ours


@pytest.mark.parametrize(
    "body", [None, [], "x", {}, {"id": "p"}, {"id": 1, "status": "x"}, {"id": "p", "status": None}]
)
def test_a_body_without_a_prediction_is_refused(body: Any) -> None:
    with pytest.raises(ValueError, match="prediction"):
        prediction_of(body)


@pytest.mark.parametrize(
    ("logs", "percent"),
    [
        (" 12%|█▏        | 6/50 [00:01<00:10]\n 42%|████▏     | 21/50", 42),
        ("\r  0%|          | 0/50 [00:00<?, ?it/s]\r 30%|███       | 15/50 [00:01<00:02]", 30),
        ("100%|██████████| 50/50", 99),
        ("Denoising:  64%|██████▍   | 32/50 [00:04<00:02,  7.9it/s]", 64),
        ("[=====>      ] 45.5%", 45),
        ("45% [####----]", 45),
        ("Frames ━━━━━━━━━━ 71% 0:00:12", 71),
        ("done: 7.5%", 7),
        ("Progress: 33 %", 33),
        ("Video generation 12% complete", 12),
        ("88%", 88),
        (" 42%|████▏     | 21/50\nGPU memory 45% used", 42),
        (" 42%|████▏     | 21/50\ndiscount 20%|off", 42),
        ("GPU memory 45% used", None),
        ("GPU utilization: 97%", None),
        ("using 90% quality", None),
        ("saved 12% of the tokens", None),
        ("loss 0.3, accuracy 81%", None),
        ("Progress: 333%", None),
        ("Loading pipeline components...: 100%|██████████| 7/7", None),
        ("Fetching 4 files:  50%|█████     | 2/4\nready", None),
        ("* Extracting 4 files:  50%|█████     | 2/4", None),
        (" 10%|█         | 5/50\nUploading: 100%|██████████| 1/1", 10),
        ("no numbers", None),
        ("", None),
        (None, None),
        ({"a": 1}, None),
    ],
)
def test_progress_is_that_of_the_last_line_that_looks_like_a_bar(logs: Any, percent: int | None) -> None:
    assert progress_of(logs) == percent


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(alphabet="0123456789%.|[]=#>█ :-\nabProgressdone", max_size=4000))
def test_progress_of_any_log_is_a_percentage_or_none(logs: str) -> None:
    assert progress_of(logs) in (None, *range(100))


@pytest.mark.parametrize("part", ["1%", "[=", " [", "█", "a:", "9 ", "done", "(", "= "])
def test_no_log_makes_its_reader_slow(part: str) -> None:
    """A reader that goes back and forth would need minutes; the tests' timeout ends it."""
    assert progress_of(part * 4000) in (None, *range(100))


@pytest.mark.parametrize("line", ["step" + " " * 3900 + "x", "step\t " * 600, "x" * 3000, "[" + " " * 3900 + "] 7%"])
def test_a_line_is_matched_without_its_blanks_and_its_length_is_bounded(line: str) -> None:
    lines = [*lines_from_end(f"1%\n{line}")]
    assert len(lines) == 2 and all(len(found) <= MAX_LINE and "   " not in found for found in lines)


@pytest.mark.parametrize(
    ("logs", "percent"),
    [
        ("step" + " " * 3900 + "42%", 42),
        ("step" + " " * 3900 + "x", None),
        ("[" + " " * 150 + "] 0%", 0),
        ("7%|" + " " * 3900 + "| 3/50", 7),
    ],
)
def test_blanks_change_no_progress(logs: str, percent: int | None) -> None:
    assert progress_of(logs) == percent


def test_foreign_text_is_kept_short_and_on_one_line() -> None:
    assert clean("a\r\nb\x1b[31m" + "x" * 1000).startswith("a b [31mxxx")
    assert len(clean("x" * 1000)) == 500


def test_an_unregistered_provider_is_refused() -> None:
    with pytest.raises(KeyError):
        Providers(settings_for(None))["acme"]


@pytest.fixture
async def simulated(simulator: RunningSimulator) -> AsyncIterator[Replicate]:
    simulator.reset()
    provider = Replicate(
        settings_for(
            None,
            replicate_api_token=simulator.token,
            replicate_base_url=simulator.url,
            replicate_webhook_secret=simulator.webhook_secret,
        )
    )
    yield provider
    await provider.close()


async def test_a_prediction_of_the_simulator_runs_to_its_end(simulated: Replicate, simulator: RunningSimulator) -> None:
    began = datetime.now(UTC) - timedelta(seconds=5)
    outcome = await simulated.create(submission(webhook=None, simulate={"seconds": 50, "start_delay": 0}), 15)
    assert isinstance(outcome, Accepted)
    simulator.advance(25)
    running = await simulated.get(outcome.prediction.id, 5)
    assert running.status == "running" and running.progress is not None and 30 <= running.progress <= 70
    simulator.advance(26)
    done = await simulated.get(outcome.prediction.id, 5)
    assert done.status == "completed" and done.output
    assert (await simulated.find(anything_since(began), 5)).doubtful == (done.id,)
    simulator.advance(3700)
    assert (await simulated.get(done.id, 5)).removed


async def test_a_prediction_of_the_simulator_can_be_cancelled(simulated: Replicate) -> None:
    outcome = await simulated.create(submission(webhook=None, simulate={"seconds": 50}), 15)
    assert isinstance(outcome, Accepted)
    canceled = await simulated.cancel(outcome.prediction.id, 5)
    assert canceled is not None and canceled.status == "canceled"


async def test_the_list_of_the_simulator_is_read_page_by_page(simulated: Replicate) -> None:
    began = datetime.now(UTC) - timedelta(seconds=5)
    for number in range(103):
        await simulated.create(submission(webhook=None, prompt=str(number)), 15)
    found = await simulated.find(anything_since(began), 15)
    assert len(set(found.doubtful)) == 103 and found.is_complete


async def test_the_deadline_of_a_create_is_kept(simulated: Replicate) -> None:
    outcome = await simulated.create(submission(webhook=None, simulate={"create": "apply_then_hang"}), 0.3)
    assert outcome == Unknown("TimeoutError")


async def test_reads_fail_in_two_ways_only(simulated: Replicate) -> None:
    with pytest.raises(PredictionGone):
        await simulated.get("nosuchprediction", 5)
    unreachable = Replicate(settings_for(None, replicate_base_url="http://127.0.0.1:1"))
    with pytest.raises(ProviderUnavailable):
        await unreachable.get("p", 5)
    assert await unreachable.cancel("p", 5) is None
    with pytest.raises(ProviderUnavailable):
        await unreachable.find(anything_since(datetime.now(UTC)), 5)
    await unreachable.close()


async def test_a_webhook_without_a_configured_secret_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        Replicate(settings_for(None)).verify({}, b"", 0)


@respx.mock
async def test_an_answer_nested_too_deeply_is_unknown(replicate: Replicate) -> None:
    respx.post(f"{BASE}/models/acme/video/predictions").respond(201, content=b"[" * 200_000)
    assert isinstance(await replicate.create(submission(), 15), Unknown)


@respx.mock
async def test_numbers_that_json_cannot_carry_become_null(replicate: Replicate) -> None:
    body = b'{"id": "p1", "status": "succeeded", "output": [NaN, 1e999, -Infinity, 1.5]}'
    respx.get(f"{BASE}/predictions/p1").respond(200, content=body)
    assert (await replicate.get("p1", 5)).output == [None, None, None, 1.5]


@respx.mock
async def test_a_next_page_at_another_host_is_not_fetched(replicate: Replicate) -> None:
    page = {"results": [], "next": "https://elsewhere.example/v1/predictions?cursor=x"}
    respx.get(url__startswith=f"{BASE}/predictions").respond(200, json=page)
    with pytest.raises(ProviderUnavailable):
        await replicate.find(anything_since(datetime.now(UTC)), 5)
