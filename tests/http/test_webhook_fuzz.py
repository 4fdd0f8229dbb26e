"""Garbage at the webhook function gets 401, 400 or 413 and changes nothing."""

import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.rest_server.running import RunningServer
from shared.clock import SystemClock
from shared.providers.replicate_api import Replicate
from shared.signing.derived import nonce
from shared.signing.webhooks import sign
from tests.world import World, http_client, make_world, settings_for

SECRETS = ("whsec_" + "QUJD" * 8, "whsec_" + "REVG" * 8)
LIMITED = settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
HEADER_TEXT = st.text(alphabet=st.characters(max_codepoint=255, blacklist_characters="\r\n\0"), max_size=80)


async def post(world: World, body: bytes, headers: dict[str, str], query: str) -> int:
    raw = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    async with http_client() as client:
        answer = await client.post(f"/api/webhook/replicate?{query}", content=body, headers=raw)
    return answer.status_code


def signed(world: World, body: bytes, secret: str = SECRETS[0], offset: int = 0) -> dict[str, str]:
    stamp = world.clock.now() // 1000 + offset
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(stamp),
        "webhook-signature": sign(secret, "msg_1", stamp, body),
    }


@pytest.fixture
async def real(any_store):  # type: ignore[no-untyped-def]
    """A deployment that verifies as production does, in the middle of a rotation of its secret."""
    changes = {"replicate_webhook_secret": ",".join(SECRETS)}
    replicate = Replicate(settings_for(any_store, **changes))
    async with make_world(any_store, SystemClock(), {"replicate": replicate}, **changes) as world:
        await world.enqueue(start=True, job_id="job_1")
        yield world


def query_of(world: World, attempt: int = 1) -> str:
    tied = nonce(world.runtime.settings.signing_key, "replicate", "job_1", attempt, "")
    return f"job=job_1&attempt={attempt}&nonce={tied}"


async def test_each_active_secret_is_accepted_and_a_retired_one_is_not(real: World) -> None:
    body = json.dumps({"id": "p1", "status": "processing"}).encode()
    for secret, status in ((SECRETS[0], 200), (SECRETS[1], 200), ("whsec_" + "WFla" * 8, 401)):
        assert await post(real, body, signed(real, body, secret), query_of(real)) == status


async def test_a_body_that_is_signed_and_no_prediction_is_400(real: World) -> None:
    for body in (
        b"",
        b"null",
        b"[]",
        b"\xff",
        b"{",
        b'{"id": 1, "status": 2}',
        b"[" * 100_000,
        b'{"id":"../x","status":"a"}',
    ):
        assert await post(real, body, signed(real, body), query_of(real)) == 400


async def test_a_body_beyond_ten_megabytes_is_413_and_a_strangers_is_401(real: World) -> None:
    body = b"x" * (10 * 1024 * 1024 + 1)
    assert await post(real, body, signed(real, body), query_of(real)) == 413
    assert await post(real, body, {}, "") == 401


async def test_a_genuine_webhook_that_comes_too_late_is_401_and_a_poll_finds_the_end(real: World) -> None:
    body = json.dumps({"id": "p1", "status": "succeeded", "output": 1}).encode()
    assert await post(real, body, signed(real, body, offset=-301), query_of(real)) == 401
    assert (await real.runtime.records.read("job_1")).state == "submitting"


@pytest.fixture
async def without_secret(valkey: RunningServer) -> AsyncIterator[World]:
    """A deployment without a secret to verify with."""
    async with make_world(valkey, SystemClock(), {"replicate": Replicate(settings_for(valkey))}) as world:
        yield world


@LIMITED
@given(message_id=HEADER_TEXT, stamp=HEADER_TEXT, signature=HEADER_TEXT, body=st.binary(max_size=200))
async def test_garbage_in_headers_and_body_is_401(
    without_secret: World, message_id: str, stamp: str, signature: str, body: bytes
) -> None:
    headers = {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": signature}
    assert await post(without_secret, body, headers, query_of(without_secret)) == 401


@LIMITED
@given(body=st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
async def test_garbage_with_a_good_signature_is_400(real: World, body: bytes) -> None:
    assert await post(real, body, signed(real, body), query_of(real)) == 400


@LIMITED
@given(query=st.text(alphabet=st.characters(max_codepoint=0x2FFF), max_size=60))
async def test_garbage_in_the_query_is_401(real: World, query: str) -> None:
    import urllib.parse

    body = b'{"id": "p1", "status": "succeeded"}'
    quoted = urllib.parse.quote(query, safe="=&")
    assert await post(real, body, signed(real, body), quoted) == 401
