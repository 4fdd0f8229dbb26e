"""WaveSpeed: what each answer proves, where the key goes, and which webhooks are believed."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import respx
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.config.settings import Settings
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
from shared.providers.failures import classify_failure
from shared.providers.wavespeed import WaveSpeed, WaveSpeedSettings, prediction_of
from shared.signing.webhooks import V1, V3, sign
from tests.world import settings_for

BASE = "https://api.wavespeed.ai/api/v3"
CREATE = f"{BASE}/bytedance/seedance-v1"
KEY = "ws-key-in-tests"
HOOK = "https://s.example/api/webhook/wavespeed?job=job_1&attempt=1&nonce=ab"
# The inputs are those of the vector for v1; the signature was computed by hand with the documented algorithm.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, STAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v3,10b86a1b42aed60c0e7357f88f229da774851852c039d27d6efa562dc8826a42"
HEADERS = {"webhook-id": ID, "webhook-timestamp": str(STAMP), "webhook-signature": SIGNATURE}


def submission(model: str = "bytedance/seedance-v1", webhook: str | None = HOOK, **given: Any) -> Submission:
    return Submission("job_1", 1, model, {"prompt": "x", **given}, webhook, 90)


def task(**changes: Any) -> dict[str, Any]:
    return {"id": "t1", "model": "bytedance/seedance-v1", "status": "created", "outputs": [], "error": "", **changes}


def envelope(code: Any = 200, message: str = "success", /, **data: Any) -> dict[str, Any]:
    return {"code": code, "message": message, **({"data": data} if data else {})}


def provider_for(secret: str | None = SECRET, base_url: str = BASE, **changes: Any) -> WaveSpeed:
    own = WaveSpeedSettings(wavespeed_api_key=KEY, wavespeed_webhook_secret=secret, wavespeed_base_url=base_url)
    return WaveSpeed(settings_for(None, **changes), own)


@pytest.fixture
async def wavespeed() -> AsyncIterator[WaveSpeed]:
    provider = provider_for()
    yield provider
    await provider.close()


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
    assert b"&" not in request.url.query, "the hook's own query is quoted, not joined to ours"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(request.content) == {"prompt": "x", "seed": 7}


@pytest.mark.parametrize("hook", [None, "http://127.0.0.1:8000/api/webhook/wavespeed?job=1"])
@respx.mock
async def test_without_a_webhook_it_could_reach_a_create_names_none(wavespeed: WaveSpeed, hook: str | None) -> None:
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
        (404, envelope(404, "no such model"), Rejected("invalid_input", "no such model")),
        (422, [], Rejected("invalid_input", "status 422")),
        (200, envelope(400, "bad size"), Rejected("invalid_input", "bad size")),
        (200, {"code": 404}, Rejected("invalid_input", "status 404")),
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
async def test_the_answer_to_a_create_proves_so_much_and_no_more(
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
async def test_a_refusal_that_quotes_the_caller_is_not_taken_for_a_want_of_credit(wavespeed: WaveSpeed) -> None:
    """Or one caller's prompt could stop the whole queue, again and again."""
    respx.post(CREATE).respond(400, json=envelope(400, "invalid size: insufficient credit"))
    assert isinstance(await wavespeed.create(submission(webhook=None), 15), Rejected)


@pytest.mark.parametrize(
    ("status", "code"), [(200, 200), (200, 0), (200, 1401), (200, 5004), (400, 400), (500, 500), (200, 429)]
)
@respx.mock
async def test_an_answer_that_names_a_task_proves_it_whatever_its_codes_say(
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
async def test_only_what_was_never_sent_is_surely_not_created(
    wavespeed: WaveSpeed, error: type[httpx.TransportError], is_sure: bool
) -> None:
    route = respx.post(CREATE).mock(side_effect=error("x"))
    outcome = await wavespeed.create(submission(webhook=None), 15)
    assert outcome == (Throttled("provider_down", 30) if is_sure else Unknown(error.__name__))
    assert route.call_count == 1


@respx.mock
async def test_an_answer_nested_beyond_reading_is_unknown(wavespeed: WaveSpeed) -> None:
    respx.post(CREATE).respond(200, content=b"[" * 200_000)
    assert isinstance(await wavespeed.create(submission(webhook=None), 15), Unknown)


# --- where the key goes


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
async def test_a_model_that_is_no_models_path_is_refused_and_nothing_is_sent(wavespeed: WaveSpeed, model: str) -> None:
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
async def test_an_id_cannot_lead_a_question_elsewhere(wavespeed: WaveSpeed) -> None:
    respx.get(url__startswith=f"{BASE}/predictions/").respond(404)
    for prediction_id in ("https://evil.example/", "//evil.example", "a/../../x?y#z"):
        with pytest.raises(PredictionGone):
            await wavespeed.get(prediction_id, 5)
    assert {call.request.url.host for call in respx.calls} == {"api.wavespeed.ai"}


# --- questions


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
async def test_every_status_is_understood_and_an_unknown_one_ends_nothing(
    wavespeed: WaveSpeed, status: str, ours: str
) -> None:
    respx.get(f"{BASE}/predictions/t1/result").respond(200, json=envelope(**task(status=status)))
    assert (await wavespeed.get("t1", 5)).status == ours


@respx.mock
async def test_a_finished_task_has_its_outputs_its_model_and_its_seconds(wavespeed: WaveSpeed) -> None:
    done = task(status="completed", outputs=["https://o.example/1.mp4"], executionTime=2500)
    respx.get(f"{BASE}/predictions/t1/result").respond(200, json=envelope(**done))
    assert await wavespeed.get("t1", 5) == Prediction(
        "t1", "completed", output=["https://o.example/1.mp4"], model="bytedance/seedance-v1", seconds=2.5
    )


@pytest.mark.parametrize(
    ("told", "code", "retryable"),
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
def test_failures_are_classified_by_code_and_text(told: dict[str, Any], code: str, retryable: bool) -> None:
    failed = prediction_of(task(**{"status": "failed", **told}))
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
def test_what_a_task_should_not_hold_is_left_out(changes: dict[str, Any], output: Any, seconds: float | None) -> None:
    read = prediction_of(task(status="completed", **changes))
    assert (read.output, read.seconds) == (output, seconds)


@pytest.mark.parametrize(
    "body", [None, [], "x", {}, {"id": "t"}, {"id": 1, "status": "x"}, {"data": {"id": "t"}}, {"id": "t", "status": []}]
)
def test_what_is_no_task_is_refused(body: Any) -> None:
    with pytest.raises(ValueError, match="prediction"):
        prediction_of(body)


@pytest.mark.parametrize(("status", "body"), [(404, {}), (200, envelope(404, "no such task"))])
@respx.mock
async def test_a_task_that_is_not_known_is_gone(wavespeed: WaveSpeed, status: int, body: Any) -> None:
    respx.get(f"{BASE}/predictions/t1/result").respond(status, json=body)
    with pytest.raises(PredictionGone):
        await wavespeed.get("t1", 5)


@pytest.mark.parametrize(
    ("status", "body"), [(500, {}), (401, {}), (200, envelope(500, "oops")), (200, "<html>"), (200, envelope())]
)
@respx.mock
async def test_any_other_answer_is_none(wavespeed: WaveSpeed, status: int, body: Any) -> None:
    respx.get(f"{BASE}/predictions/t1/result").respond(status, json=body)
    with pytest.raises(ProviderUnavailable):
        await wavespeed.get("t1", 5)


@respx.mock
async def test_a_lost_answer_to_a_question_is_not_asked_for_again(wavespeed: WaveSpeed) -> None:
    route = respx.get(f"{BASE}/predictions/t1/result").mock(side_effect=httpx.ReadTimeout("x"))
    with pytest.raises(ProviderUnavailable, match="ReadTimeout"):
        await wavespeed.get("t1", 5)
    assert route.call_count == 1


@respx.mock
async def test_nothing_is_cancelled_or_listed_and_nobody_is_called_for_it(wavespeed: WaveSpeed) -> None:
    now = datetime.now(UTC)
    assert await wavespeed.cancel("t1", 5) is None
    assert await wavespeed.find(Wanted("a/b", {}, now, now), 5) == []
    assert not respx.calls


# --- webhooks


def check(headers: dict[str, str], body: bytes = BODY, secret: str | None = SECRET, now: int = STAMP) -> None:
    provider_for(secret).verify(headers, body, now * 1000)


def test_the_vector_verifies_and_is_what_v3_signs() -> None:
    check(HEADERS)
    assert sign(SECRET, ID, STAMP, BODY, V3) == SIGNATURE


def test_each_of_several_secrets_will_do_while_one_is_rotated() -> None:
    check(HEADERS, secret=f"whsec_other, {SECRET}")
    check(HEADERS | {"webhook-signature": f"v1,AAAA v3,00 {SIGNATURE}"})


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_other"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(STAMP + 1)},
        {"webhook-timestamp": "1614265330.0"},
        {"webhook-timestamp": "\u0661"},
        {"webhook-timestamp": "9" * 400},
        {"webhook-signature": ""},
        {"webhook-signature": "v3,"},
        {"webhook-signature": SIGNATURE.removeprefix("v3,")},
        {"webhook-signature": SIGNATURE.replace("v3", "v1")},
        {"webhook-signature": SIGNATURE.replace("v3", "v4")},
        {"webhook-signature": SIGNATURE[:-2]},
        {"webhook-signature": "v3,é"},
        {"webhook-signature": "v3,\udc80"},
        {"webhook-signature": sign(SECRET, ID, STAMP, BODY, V1)},
        {"webhook-signature": "v3," + sign(SECRET, ID, STAMP, BODY, V1).removeprefix("v1,")},
        {"webhook-signature": " ".join(["v3,00"] * 100 + [SIGNATURE])},
    ],
)
def test_a_changed_or_malformed_header_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated):
        check(HEADERS | change)


@pytest.mark.parametrize("name", list(HEADERS))
def test_a_missing_header_is_refused(name: str) -> None:
    with pytest.raises(Unauthenticated):
        check({key: value for key, value in HEADERS.items() if key != name})


@pytest.mark.parametrize("offset", [-301, 301, 86_400])
def test_a_replay_outside_the_tolerance_is_refused(offset: int) -> None:
    with pytest.raises(Unauthenticated):
        check(HEADERS, now=STAMP + offset)


@pytest.mark.parametrize("secret", [None, "whsec_other", "whsec_", ",whsec_,"])
def test_without_the_right_secret_nothing_is_believed_not_even_what_an_empty_key_signs(secret: str | None) -> None:
    empty = hmac.new(b"", f"{ID}.{STAMP}.".encode() + BODY, hashlib.sha256).hexdigest()
    for signature in (SIGNATURE, f"v3,{empty}"):
        with pytest.raises(Unauthenticated):
            check(HEADERS | {"webhook-signature": signature}, secret=secret)


def test_a_secret_without_text_signs_nothing() -> None:
    with pytest.raises(ValueError, match="whsec_"):
        sign("whsec_", ID, STAMP, BODY, V3)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(), st.text(), st.text() | st.text(alphabet="v3, 0aé"), st.binary())
def test_whatever_the_headers_hold_the_answer_is_a_refusal(
    message_id: str, stamp: str, signed: str, body: bytes
) -> None:
    headers = {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": signed}
    for changed in (headers, headers | {"webhook-timestamp": str(STAMP)}):
        with pytest.raises(Unauthenticated):
            check(changed, body)


def test_a_webhook_is_the_task_itself_and_an_envelope_is_understood_too(wavespeed: WaveSpeed) -> None:
    done = task(status="completed", outputs=["https://o.example/1.png"], input={"prompt": "x"})
    assert wavespeed.read_webhook(json.dumps(done).encode()).output == ["https://o.example/1.png"]
    assert wavespeed.read_webhook(json.dumps(envelope(**done)).encode()).status == "completed"


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"\xff", b"{", b"[" * 200_000, b'{"id":"../x","status":"a"}'])
def test_a_webhook_that_holds_no_task_is_a_value_error(wavespeed: WaveSpeed, body: bytes) -> None:
    with pytest.raises(ValueError):
        wavespeed.read_webhook(body)


def test_numbers_that_json_cannot_carry_become_null(wavespeed: WaveSpeed) -> None:
    body = b'{"id": "t1", "status": "completed", "outputs": [NaN, 1e999, -Infinity, 1.5], "executionTime": 1e999}'
    read = wavespeed.read_webhook(body)
    assert (read.output, read.seconds) == ([None, None, None, 1.5], None)


# --- settings


def production(**changes: Any) -> Settings:
    return settings_for(None).model_copy(update={"sluice_env": "production", **changes})


@pytest.mark.parametrize(
    ("variables", "public", "faults"),
    [
        ({"KEY": KEY, "SECRET": SECRET}, "https://s.example", []),
        ({"KEY": KEY}, None, []),
        ({}, None, ["WAVESPEED_API_KEY is missing"]),
        ({"KEY": "<your key>"}, None, ["WAVESPEED_API_KEY is a placeholder"]),
        ({"KEY": KEY}, "https://s.example", ["WAVESPEED_WEBHOOK_SECRET is missing"]),
        ({"KEY": KEY, "SECRET": "changeme"}, "https://s.example", ["WAVESPEED_WEBHOOK_SECRET is a placeholder"]),
        ({"KEY": "clé"}, None, ["WAVESPEED_API_KEY must be printable ASCII"]),
        (
            {"KEY": KEY, "SECRET": f"{SECRET},whsec_"},
            "https://s.example",
            ["WAVESPEED_WEBHOOK_SECRET must be whsec_ followed by text; several are separated by commas"],
        ),
    ],
)
def test_what_production_lacks_is_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], public: str | None, faults: list[str]
) -> None:
    names = {"KEY": "WAVESPEED_API_KEY", "SECRET": "WAVESPEED_WEBHOOK_SECRET"}
    for short, name in names.items():
        monkeypatch.setenv(name, variables.get(short, ""))
    assert WaveSpeed.faults(production(public_base_url=public)) == faults


def test_development_may_do_without_any_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WaveSpeedSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    assert WaveSpeed.faults(settings_for(None)) == []
    assert WaveSpeedSettings.beside(settings_for(None)).wavespeed_base_url == BASE


def test_no_setting_shows_its_secret() -> None:
    own = WaveSpeedSettings(wavespeed_api_key=f" {KEY}\n", wavespeed_webhook_secret=SECRET)
    assert KEY not in repr(own) and SECRET not in repr(own)
    assert own.wavespeed_api_key is not None and own.wavespeed_api_key.get_secret_value() == KEY
