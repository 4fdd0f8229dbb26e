"""Webhook signatures: the published vectors, independent implementations, and garbage."""

from datetime import UTC, datetime

import pytest
import replicate.webhook
import standardwebhooks
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import Unauthenticated
from shared.signing.derived import job_id_for, nonce, nonce_is_valid
from shared.signing.webhooks import sign, verify

# The vector of Svix and of Replicate's own client tests.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
STAMP = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER_SECRET = "whsec_" + "QUJD" * 8
HEADERS = {"webhook-id": ID, "webhook-timestamp": str(STAMP), "webhook-signature": SIGNATURE}


def check(headers: dict[str, str], body: bytes = BODY, secrets: tuple[str, ...] = (SECRET,), now: int = STAMP) -> None:
    verify(headers, body, secrets, now=now * 1000, tolerance=300)


def test_the_published_vector_verifies_and_is_what_we_sign() -> None:
    check(HEADERS)
    assert sign(SECRET, ID, STAMP, BODY) == SIGNATURE


def test_the_reference_library_accepts_what_we_sign_and_we_what_it_signs() -> None:
    now = datetime.now(UTC)
    stamp = int(now.timestamp())
    headers = HEADERS | {"webhook-timestamp": str(stamp), "webhook-signature": sign(SECRET, ID, stamp, BODY)}
    standardwebhooks.Webhook(SECRET).verify(BODY, headers)
    theirs = standardwebhooks.Webhook(SECRET).sign(ID, now, BODY.decode())
    check(HEADERS | {"webhook-timestamp": str(stamp), "webhook-signature": theirs}, now=stamp)


def test_replicates_own_client_accepts_what_we_sign_and_we_what_it_was_built_for() -> None:
    """Its check has no tolerance by default; the vector above comes from its own tests."""
    secret = replicate.webhook.WebhookSigningSecret(key=SECRET)
    for body in (BODY, b'{"id": "p1", "status": "succeeded"}'):
        headers = HEADERS | {"webhook-signature": sign(SECRET, ID, STAMP, body)}
        replicate.webhook.Webhooks.validate(headers=headers, body=body.decode(), secret=secret)
        check(headers, body)
        with pytest.raises(replicate.webhook.InvalidSignatureError):
            replicate.webhook.Webhooks.validate(headers=headers, body=body.decode() + " ", secret=secret)


def test_any_of_several_secrets_and_signatures_will_do() -> None:
    check(HEADERS, secrets=(OTHER_SECRET, SECRET))
    check(HEADERS | {"webhook-signature": f"v1,AAAA {SIGNATURE} v1a,xyz"})


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_other"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(STAMP + 1)},
        {"webhook-timestamp": "1614265330.0"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "\u0661"},
        {"webhook-timestamp": "9" * 400},
        {"webhook-signature": ""},
        {"webhook-signature": SIGNATURE.removeprefix("v1,")},
        {"webhook-signature": SIGNATURE.replace("v1", "v999")},
        {"webhook-signature": SIGNATURE.replace("v1", "v2")},
        {"webhook-signature": "v1,,," + SIGNATURE},
        {"webhook-signature": "v1,é"},
        {"webhook-signature": "v1,A"},
        {"webhook-signature": "v1"},
        {"webhook-signature": " ".join(["v1,AAAA"] * 100 + [SIGNATURE])},
    ],
)
def test_a_changed_or_malformed_header_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated):
        check(HEADERS | change)


@pytest.mark.parametrize("name", list(HEADERS))
def test_a_missing_header_is_refused(name: str) -> None:
    with pytest.raises(Unauthenticated):
        check({key: value for key, value in HEADERS.items() if key != name})


def test_another_body_another_secret_and_no_secret_are_refused() -> None:
    for body, secrets in ((BODY + b" ", (SECRET,)), (BODY, (OTHER_SECRET,)), (BODY, ())):
        with pytest.raises(Unauthenticated):
            check(HEADERS, body, secrets)


@pytest.mark.parametrize("offset", [-301, 301, 86_400])
def test_a_replay_outside_the_tolerance_is_refused(offset: int) -> None:
    with pytest.raises(Unauthenticated):
        check(HEADERS, now=STAMP + offset)


@pytest.mark.parametrize("secret", ["whsec_", "", "whsec_not base64", "whsec_é"])
def test_a_secret_that_is_none_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        sign(secret, ID, STAMP, BODY)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(), st.text(), st.text() | st.text(alphabet="v1, AQ=é"), st.binary())
def test_any_other_headers_are_refused(message_id: str, stamp: str, signed: str, body: bytes) -> None:
    headers = {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": signed}
    with pytest.raises(Unauthenticated):
        check(headers, body)
    with pytest.raises(Unauthenticated):
        check(headers | {"webhook-timestamp": str(STAMP)}, body)


def test_a_nonce_fits_one_attempt_of_one_incarnation_at_one_provider() -> None:
    own = ("key", "replicate", "job_1", 2, "life-1")
    good = nonce(*own)
    assert nonce_is_valid(good, *own)
    others: tuple[tuple[str, str, str, int, str], ...] = (
        ("other", *own[1:]),
        ("key", "wavespeed", "job_1", 2, "life-1"),
        ("key", "replicate", "job_2", 2, "life-1"),
        ("key", "replicate", "job_1", 1, "life-1"),
        ("key", "replicate", "job_12", 2, "life-1"),
        ("key", "replicate", "job_1", 2, "life-2"),
        ("key", "replicate", "job_1", 2, ""),
    )
    for other in others:
        assert not nonce_is_valid(good, *other)
    assert not nonce_is_valid("\ud800é", *own)


def test_a_job_id_depends_on_caller_and_key_and_their_border() -> None:
    ids = {job_id_for("s", *pair) for pair in (("a", "bc"), ("ab", "c"), ("a", "b"), ("", "abc"))}
    assert len(ids) == 4 and all(job_id.startswith("job_") and len(job_id) == 36 for job_id in ids)
