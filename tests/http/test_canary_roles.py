"""Secrets that take the place of others: keys of a role, the token of the address that has them, and Resend's key."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import respx

from local.rest_server.running import RunningServer
from shared.clock import ManualClock, SystemClock
from shared.mail.resend import URL
from tests.alerts.looking import in_trouble, look
from tests.buckets import S3
from tests.files.role import Address
from tests.http.canaries import PROMPT, SECRETS, Witness, all_secrets, contents, found_in, value_of
from tests.logs import all_logs
from tests.receiver import receiver
from tests.threads import running
from tests.world import AUTH, OPERATOR, http_client, make_world

RESEND, TOKEN = SECRETS["resend_api_key"][0], SECRETS["aws_container_authorization_token"][0]
ROLE = {
    "aws_access_key_id": "ASIAEXAMPLE",
    "aws_secret_access_key": SECRETS["aws_secret_access_key"][0],
    "aws_session_token": SECRETS["aws_session_token"][0],
}
UPLOAD = {"user_id": "ada", "content_type": "image/png", "size": 5}


@asynccontextmanager
async def watched(
    store: RunningServer, s3: S3, caplog: pytest.LogCaptureFixture, **changes: Any
) -> AsyncIterator[Witness]:
    """A witness of a deployment; afterwards no log line, no answer and nothing in the store may hold a canary."""
    bucket = {"storage_url": f"s3://{s3.bucket()}/kept", "storage_endpoint": s3.endpoint}
    caplog.set_level("INFO")
    texts = all_secrets() | {"prompt": PROMPT}
    with all_logs() as logged:
        async with make_world(store, SystemClock(), **bucket, **changes), http_client(**AUTH) as client:
            witness = Witness(client, "")
            yield witness
        assert found_in(contents(store), texts) == set()
    assert found_in(repr(logged) + caplog.text, texts) == set()
    assert witness.leaks(texts) == set()


async def test_keys_of_a_role_turn_up_nowhere_but_for_the_session_in_a_signed_url(
    valkey: RunningServer, s3: S3, caplog: pytest.LogCaptureFixture
) -> None:
    """AWS wants the session's token in the URL (Amazon S3, "Authenticating requests: using query parameters")."""
    async with watched(valkey, s3, caplog, **ROLE) as witness:
        answer = await witness.call("POST", "/api/uploads", json=UPLOAD, shows={"aws_session_token 0"})
        assert answer.status_code == 201 and ROLE["aws_session_token"] in answer.text


async def test_the_token_of_the_address_that_has_a_roles_keys_turns_up_nowhere(
    valkey: RunningServer, s3: S3, caplog: pytest.LogCaptureFixture
) -> None:
    for status, expected in ((200, 201), (500, 503), (403, 503)):
        address = Address(TOKEN)
        address.status = status
        asked = {"aws_container_credentials_full_uri": address.uri, "aws_container_authorization_token": TOKEN}
        with running(address.server):
            async with watched(valkey, s3, caplog, **asked) as witness:
                assert (await witness.call("POST", "/api/uploads", json=UPLOAD)).status_code == expected
        assert address.asked > 0


@respx.mock(assert_all_mocked=False)
async def test_resends_key_turns_up_nowhere_though_its_answers_repeat_it(
    valkey: RunningServer, s3: S3, caplog: pytest.LogCaptureFixture, respx_mock: respx.MockRouter
) -> None:
    said = {"name": "validation_error", "message": f"{RESEND} {PROMPT}"}
    mail = respx_mock.post(URL)
    of_mail = {"resend_api_key": RESEND, "mail_from": "no-reply@acme.dev", "verification_client_rate": "off"}
    async with watched(valkey, s3, caplog, **of_mail, **ROLE) as witness:
        for number, status in enumerate((200, 401, 422, 429, 500)):
            mail.mock(return_value=httpx.Response(status, json=said, headers={"X-Said": RESEND}))
            await witness.call("POST", "/api/verification/send", json={"email": f"ada{number}@example.com"})
        mail.mock(side_effect=httpx.ConnectError(f"{RESEND} {PROMPT}"))
        answer = await witness.call("POST", "/api/verification/send", json={"email": "bob@example.com"})
        assert answer.status_code == 503
    assert mail.calls[0].request.headers["Authorization"] == f"Bearer {RESEND}"


ALERTED = ("slack_webhook_url", "discord_webhook_url", "alert_webhook_url")


@pytest.mark.parametrize("status", [200, 404, 500])
async def test_addresses_of_alerts_turn_up_nowhere_also_if_their_hosts_answer_with_them(
    valkey: RunningServer, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """httpx would log each URL at INFO, which Lambda shows where its log level is INFO."""
    caplog.set_level("INFO")
    texts = all_secrets()
    async with receiver() as place:
        urls = {name: value_of(name, place.url("/alerts")) for name in ALERTED}
        place.answers = lambda request: (status, {"X-Said": request.path}, request.path.encode())
        clock = ManualClock(SystemClock().now())
        with all_logs() as logged:
            async with make_world(valkey, clock, allow_loopback=True, **urls) as world, http_client() as client:
                witness = Witness(client, "")
                await in_trouble(world)
                await look(world)
                await witness.call("GET", "/api/operate/alerts", headers=OPERATOR)
                await witness.call("GET", "/api/health")
            assert found_in(contents(valkey), texts) == set()
    assert found_in(repr([request.path for request in place.received]), texts) == {f"{name} 0" for name in ALERTED}
    assert witness.leaks(texts) == set()
    assert found_in(repr(logged) + caplog.text, texts) == set()
