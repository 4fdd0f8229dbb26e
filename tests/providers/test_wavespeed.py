"""Creating a task at WaveSpeed: what each answer proves, and where the key is sent."""

import json
from typing import Any

import httpx
import pytest
import respx

from shared.providers.base import (
    Accepted,
    Prediction,
    PredictionGone,
    ProviderUnavailable,
    Rejected,
    Throttled,
    Unknown,
)
from shared.providers.wavespeed import NOT_FOUND, WaveSpeed
from tests.providers.wavespeed import BASE, CREATE, HOOK, KEY, envelope, submission, task

NO_MODEL = f"{NOT_FOUND} The provider says:"

# --- creates


@respx.mock
async def test_a_create_posts_the_input_with_the_key_and_the_webhook_in_the_query(wavespeed: WaveSpeed) -> None:
    route = respx.post(url__startswith=CREATE).respond(200, json=envelope(**task()))
    assert await wavespeed.create(submission(seed=7), 15) == Accepted(
        Prediction("t1", "running", model="bytedance/seedance-v1")
    )
    request = route.calls.last.request
    assert request.url.path == "/api/v3/bytedance/seedance-v1"
    assert dict(request.url.params) == {"webhook": HOOK}
    assert b"&" not in request.url.query, "the hook's own query is quoted, not joined to the create's"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(request.content) == {"prompt": "x", "seed": 7}


@pytest.mark.parametrize("hook", [None, "http://127.0.0.1:8000/api/webhook/wavespeed?job=1"])
@respx.mock
async def test_a_create_names_no_webhook_that_wavespeed_cannot_reach(wavespeed: WaveSpeed, hook: str | None) -> None:
    route = respx.post(CREATE).respond(200, json=envelope(**task()))
    await wavespeed.create(submission(webhook=hook), 15)
    assert route.calls.last.request.url.query == b""


@respx.mock
async def test_a_create_never_waits_for_the_result(wavespeed: WaveSpeed) -> None:
    route = respx.post(CREATE).respond(200, json=envelope(**task()))
    await wavespeed.create(submission(webhook=None, enable_sync_mode=True), 15)
    assert json.loads(route.calls.last.request.content) == {"prompt": "x"}


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (429, envelope(429, "slow down"), Throttled("rate_limited", 30)),
        (429, {"code": 429, "retry_after": 7}, Throttled("rate_limited", 7)),
        (429, envelope(429, "Your rate limit resets in ~45s."), Throttled("rate_limited", 45)),
        (429, {"retry_after": 1e9}, Throttled("rate_limited", 120)),
        (429, "busy", Throttled("rate_limited", 30)),
        (200, envelope(429, "resets in ~9s"), Throttled("rate_limited", 9)),
        (402, {}, Throttled("billing", 60)),
        (200, envelope(402, "pay first"), Throttled("billing", 60)),
        (400, envelope(400, "Insufficient credits. Please top up."), Throttled("billing", 60)),
        (403, envelope(403, "You have insufficient balance"), Throttled("billing", 60)),
        (200, envelope(400, "insufficient funds"), Throttled("billing", 60)),
        (200, envelope(1500, "insufficient credit"), Throttled("billing", 60)),
        (401, {}, Throttled("provider_auth", 60)),
        (403, {}, Throttled("provider_auth", 60)),
        (200, envelope(401, "invalid key"), Throttled("provider_auth", 60)),
        (400, envelope(400, "prompt is\nrequired"), Rejected("invalid_input", "prompt is required")),
        (404, envelope(404, "no such model"), Rejected("model_not_found", f"{NO_MODEL} no such model", may_pass=True)),
        (422, [], Rejected("invalid_input", "status 422")),
        (200, envelope(400, "bad size"), Rejected("invalid_input", "bad size")),
        (200, {"code": 404}, Rejected("model_not_found", f"{NO_MODEL} status 404", may_pass=True)),
        (408, {}, Unknown("status 408")),
        (409, {}, Unknown("status 409")),
        (200, envelope(408, "timeout"), Unknown("status 408")),
        (302, {}, Unknown("status 302")),
        (500, envelope(500, "oops"), Unknown("status 500")),
        (500, envelope(500, "insufficient credit"), Unknown("status 500")),
        (503, "<html>", Unknown("status 503")),
        (200, envelope(500, "oops"), Unknown("status 500")),
        (200, envelope(5004, "sync timed out"), Unknown("status 5004")),
        (200, envelope(), Unknown("the answer holds no prediction")),
        (200, envelope(id="../x", status="created"), Unknown("the answer holds no prediction")),
        (200, envelope("400", "a code that is no number"), Unknown("the answer holds no prediction")),
        (200, envelope(True, "neither is this"), Unknown("the answer holds no prediction")),
        (200, "<html>", Unknown("the answer holds no prediction")),
        (200, [], Unknown("the answer holds no prediction")),
    ],
)
@respx.mock
async def test_each_answer_to_a_create_has_its_outcome(
    wavespeed: WaveSpeed, status: int, body: Any, outcome: Any
) -> None:
    route = respx.post(CREATE).respond(status, json=body, headers={"location": f"{BASE}/elsewhere/model"})
    assert await wavespeed.create(submission(webhook=None), 15) == outcome
    assert route.call_count == len(respx.calls) == 1


@respx.mock
async def test_the_retry_after_header_of_a_429_is_kept(wavespeed: WaveSpeed) -> None:
    respx.post(CREATE).respond(429, headers={"retry-after": "12"})
    assert await wavespeed.create(submission(webhook=None), 15) == Throttled("rate_limited", 12)


@respx.mock
async def test_a_refusal_that_quotes_the_caller_is_not_taken_for_missing_credit(wavespeed: WaveSpeed) -> None:
    """Otherwise one caller's prompt could stop the whole queue, again and again."""
    respx.post(CREATE).respond(400, json=envelope(400, "invalid size: insufficient credit"))
    assert isinstance(await wavespeed.create(submission(webhook=None), 15), Rejected)


@pytest.mark.parametrize(
    ("status", "code"), [(200, 200), (200, 0), (200, 1401), (200, 5004), (400, 400), (500, 500), (200, 429)]
)
@respx.mock
async def test_an_answer_that_names_a_task_proves_it_with_any_code(
    wavespeed: WaveSpeed, status: int, code: int
) -> None:
    respx.post(CREATE).respond(status, json=envelope(code, **task(status="failed", error="bad image", code=1402)))
    outcome = await wavespeed.create(submission(webhook=None), 15)
    assert isinstance(outcome, Accepted)
    assert (outcome.prediction.id, outcome.prediction.status) == ("t1", "failed")


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
    wavespeed: WaveSpeed, error: type[httpx.TransportError], is_sure: bool
) -> None:
    route = respx.post(CREATE).mock(side_effect=error("x"))
    outcome = await wavespeed.create(submission(webhook=None), 15)
    assert outcome == (Throttled("provider_down", 30) if is_sure else Unknown(error.__name__))
    assert route.call_count == 1


@respx.mock
async def test_an_answer_nested_too_deeply_is_unknown(wavespeed: WaveSpeed) -> None:
    respx.post(CREATE).respond(200, content=b"[" * 200_000)
    assert isinstance(await wavespeed.create(submission(webhook=None), 15), Unknown)


# --- where the key is sent


@pytest.mark.parametrize(
    "model",
    [
        *("", "flux", "/etc/passwd", "a//b", "a/", "../../v2/model", "a/..", "a/./b", "a/.hidden"),
        *("https://evil.example/x", "//evil.example/x", "\\\\evil.example\\x", "evil.example:80/x", "@evil.example/x"),
        *("a/b?x=1", "a/b#x", "a/b%2e%2e", "a/b c", "a/b\r\nHost: evil.example", "a/é", "a/b:version"),
        *("predictions/delete", "predictions/t1/result", "Predictions/delete", "webhook/secret", "media/upload/binary"),
        *("billings/search", "user/usage_stats", "model/price"),
    ],
)
@respx.mock
async def test_a_model_without_a_models_path_is_refused_before_any_call(wavespeed: WaveSpeed, model: str) -> None:
    outcome = await wavespeed.create(submission(model), 15)
    assert isinstance(outcome, Rejected) and outcome.code == "invalid_input"
    assert not respx.calls


@pytest.mark.parametrize(
    "model", ["wavespeed-ai/flux-dev", "bytedance/seedance-v1-pro-i2v-720p", "wavespeed-ai/wan-2.1/t2v-720p"]
)
@respx.mock
async def test_models_of_two_and_more_parts_have_their_path(wavespeed: WaveSpeed, model: str) -> None:
    route = respx.post(f"{BASE}/{model}").respond(200, json=envelope(**task()))
    assert isinstance(await wavespeed.create(submission(model, webhook=None), 15), Accepted)
    assert route.call_count == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@respx.mock
async def test_no_redirect_is_followed(wavespeed: WaveSpeed, status: int) -> None:
    elsewhere = respx.route(host="evil.example").respond(200, json=envelope(**task()))
    respx.route(host="api.wavespeed.ai").respond(status, headers={"location": "https://evil.example/x"})
    assert await wavespeed.create(submission(), 15) == Unknown(f"status {status}")
    with pytest.raises(ProviderUnavailable):
        await wavespeed.get("t1", 5)
    assert not elsewhere.called


@respx.mock
async def test_an_id_cannot_send_a_read_to_another_host(wavespeed: WaveSpeed) -> None:
    respx.get(url__startswith=f"{BASE}/predictions/").respond(404)
    for prediction_id in ("https://evil.example/", "//evil.example", "a/../../x?y#z"):
        with pytest.raises(PredictionGone):
            await wavespeed.get(prediction_id, 5)
    assert {call.request.url.host for call in respx.calls} == {"api.wavespeed.ai"}
