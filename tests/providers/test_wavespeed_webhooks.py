"""Which webhooks of WaveSpeed are accepted, and which settings they need."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.config.settings import Settings
from shared.errors import Unauthenticated
from shared.providers.wavespeed import WaveSpeed, WaveSpeedSettings
from shared.signing.webhooks import V1, V3, sign
from tests.providers.wavespeed import (
    BASE,
    BODY,
    HEADERS,
    ID,
    KEY,
    SECRET,
    SIGNATURE,
    STAMP,
    envelope,
    provider_for,
    task,
)
from tests.world import settings_for

# --- webhooks


def check(headers: dict[str, str], body: bytes = BODY, secret: str | None = SECRET, now: int = STAMP) -> None:
    provider_for(secret).verify(headers, body, now * 1000)


def test_the_vector_verifies_and_is_what_v3_signs() -> None:
    check(HEADERS)
    assert sign(SECRET, ID, STAMP, BODY, V3) == SIGNATURE


def test_each_of_several_secrets_is_accepted_during_a_rotation() -> None:
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
def test_without_the_right_secret_no_signature_is_accepted_not_even_an_empty_keys(secret: str | None) -> None:
    empty = hmac.new(b"", f"{ID}.{STAMP}.".encode() + BODY, hashlib.sha256).hexdigest()
    for signature in (SIGNATURE, f"v3,{empty}"):
        with pytest.raises(Unauthenticated):
            check(HEADERS | {"webhook-signature": signature}, secret=secret)


def test_a_secret_without_text_signs_nothing() -> None:
    with pytest.raises(ValueError, match="whsec_"):
        sign("whsec_", ID, STAMP, BODY, V3)


PROVIDER = provider_for(SECRET)  # one for all examples


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(), st.text(), st.text() | st.text(alphabet="v3, 0aé"), st.binary())
def test_arbitrary_headers_are_refused(message_id: str, stamp: str, signed: str, body: bytes) -> None:
    headers = {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": signed}
    for changed in (headers, headers | {"webhook-timestamp": str(STAMP)}):
        with pytest.raises(Unauthenticated):
            PROVIDER.verify(changed, body, STAMP * 1000)


def test_a_webhook_may_be_the_task_itself_or_an_envelope(wavespeed: WaveSpeed) -> None:
    done = task(status="completed", outputs=["https://o.example/1.png"], input={"prompt": "x"})
    assert wavespeed.read_webhook(json.dumps(done).encode()).output == ["https://o.example/1.png"]
    assert wavespeed.read_webhook(json.dumps(envelope(**done)).encode()).status == "completed"


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"\xff", b"{", b"[" * 200_000, b'{"id":"../x","status":"a"}'])
def test_a_webhook_without_a_task_is_a_value_error(wavespeed: WaveSpeed, body: bytes) -> None:
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
        ({"KEY": "<your key>"}, None, ["WAVESPEED_API_KEY is a placeholder (<...>)"]),
        ({"KEY": KEY}, "https://s.example", ["WAVESPEED_WEBHOOK_SECRET is missing"]),
        (
            {"KEY": KEY, "SECRET": "changeme"},
            "https://s.example",
            ["WAVESPEED_WEBHOOK_SECRET is a placeholder (change-me)"],
        ),
        ({"KEY": "clé"}, None, ["WAVESPEED_API_KEY must be printable ASCII"]),
        (
            {"KEY": KEY, "SECRET": f"{SECRET},whsec_"},
            "https://s.example",
            ["WAVESPEED_WEBHOOK_SECRET must be whsec_ followed by text; several are separated by commas"],
        ),
    ],
)
def test_missing_settings_of_production_are_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], public: str | None, faults: list[str]
) -> None:
    names = {"KEY": "WAVESPEED_API_KEY", "SECRET": "WAVESPEED_WEBHOOK_SECRET"}
    for short, name in names.items():
        monkeypatch.setenv(name, variables.get(short, ""))
    assert WaveSpeed.faults(production(public_base_url=public)) == faults


def test_development_needs_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WaveSpeedSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    assert WaveSpeed.faults(settings_for(None)) == []
    assert WaveSpeedSettings.read(settings_for(None)).wavespeed_base_url == BASE


def test_no_setting_shows_its_secret() -> None:
    own = WaveSpeedSettings(wavespeed_api_key=f" {KEY}\n", wavespeed_webhook_secret=SECRET)
    assert KEY not in repr(own) and SECRET not in repr(own)
    assert own.wavespeed_api_key is not None and own.wavespeed_api_key.get_secret_value() == KEY
