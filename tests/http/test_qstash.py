"""QStash as scheduler: only its signed calls tick."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from shared.access.caller import Caller, Role
from shared.clock import SystemClock
from shared.errors import Unauthenticated
from shared.requests.auth import authenticate
from shared.signing.qstash import HEADER, signed_hash, verify_body
from tests.http.qstash import CURRENT, NEXT, NOW, URL, hashed, token
from tests.world import World, http_client, make_world, settings_for


def check(signed: str, body: bytes = b"", now: int = NOW) -> None:
    verify_body(body, signed_hash(signed, URL, (CURRENT, NEXT), now * 1000))


@pytest.mark.parametrize("key", [CURRENT, NEXT])
def test_both_keys_of_a_rotation_are_good(key: str) -> None:
    check(token(key, b'{"a":1}'), b'{"a":1}')
    check(token(key, sub=f"{URL}?x-vercel-protection-bypass=secret"))
    check(token(key, body=b"x").replace("=", ""), b"x")


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "Downstash"}, {"iss": None}, {"sub": "https://elsewhere.test/api/process-queue"}, {"sub": None},
        {"exp": NOW - 60}, {"nbf": NOW + 60}, {"exp": None}, {"nbf": None}, {"exp": "soon"}, {"body": hashed(b"other")},
        {"body": None}, {"body": 7}, {"body": "é"}, {"sub": 7},
    ],
)  # fmt: skip
def test_a_claim_that_does_not_hold_is_refused(changes: dict[str, Any]) -> None:
    claims = {"iss": "Upstash", "sub": URL, "nbf": NOW, "exp": NOW + 300, "body": hashed(b"")} | changes
    kept = {name: value for name, value in claims.items() if value is not None}
    # Written by hand, because the library refuses to write these.
    with pytest.raises(Unauthenticated):
        check(_signed(kept))


def _signed(claims: dict[str, Any]) -> str:
    return jwt.api_jws.encode(json.dumps(claims).encode(), CURRENT, algorithm="HS256")


def test_another_key_another_algorithm_and_no_signature_are_refused() -> None:
    claims = {"iss": "Upstash", "sub": URL, "nbf": NOW, "exp": NOW + 300, "body": hashed(b"")}
    for signed in (
        token("sig_of_another_account_altogether_0000"),
        jwt.encode(claims, CURRENT + CURRENT, algorithm="HS512"),
        jwt.encode(claims, "", algorithm="none"),
        token().rpartition(".")[0] + ".",
        token(body=b"a"),
    ):
        with pytest.raises(Unauthenticated):
            check(signed)


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_other_token_is_refused(text: str) -> None:
    with pytest.raises(Unauthenticated):
        check(text)


@pytest.fixture
async def called(valkey: Any) -> AsyncIterator[World]:
    changes: dict[str, Any] = {"public_base_url": "https://sluice.test", "qstash_current_signing_key": CURRENT}
    async with make_world(valkey, SystemClock(), **changes) as world:
        yield world


async def test_a_signed_call_ticks_and_an_unsigned_one_does_not(called: World) -> None:
    async with http_client() as client:
        body, now = b'{"from": "qstash"}', int(time.time())
        answer = await client.post(
            "/api/process-queue", content=body, headers={"Upstash-Signature": token(body=body, now=now)}
        )
        assert answer.status_code == 200 and "started" in answer.json()
        for headers in ({}, {"Upstash-Signature": token(body=b"other", now=now)}, {"Upstash-Signature": "é"}):
            refused = await client.post(
                "/api/process-queue", content=body, headers=[(k.encode(), v.encode()) for k, v in headers.items()]
            )
            assert refused.status_code == 401, refused.text


async def test_no_byte_of_a_body_is_read_without_a_signature() -> None:
    async def receive() -> Message:
        raise AssertionError

    async def issued(_: str) -> Caller:
        raise AssertionError

    known = settings_for(None, public_base_url="https://sluice.test", qstash_current_signing_key=CURRENT)
    for signed in ("forged", token(NEXT), token(exp=NOW - 60), token(sub="https://elsewhere.test/")):
        headers = [(HEADER.encode(), signed.encode()), (b"content-length", b"60000")]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/api/process-queue",
            "query_string": b"",
            "headers": headers,
        }
        with pytest.raises(Unauthenticated):
            await authenticate(Request(scope, receive), (Role.SCHEDULER, Role.QSTASH), known, NOW * 1000, issued)
