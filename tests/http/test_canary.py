"""Each secret and each text of a caller carries a mark through a deployment in all kinds of trouble; no mark leaks."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest

from local.rest_server.running import RunningServer, running_server
from local.simulator.running import RunningSimulator, running_simulator
from shared.signing.webhooks import sign
from tests.access.issuing import AUDIENCE, ISSUER, bearer
from tests.buckets import S3
from tests.deployment import poll_until_terminal, running_deployment
from tests.http import qstash
from tests.http.canaries import (
    API_KEY,
    ERROR,
    MAIL_PASSWORD,
    NOTE,
    OTHER_KEY,
    PROMPT,
    SECRETS,
    Witness,
    all_secrets,
    contents,
    found_in,
    has_number,
    names_in,
    value_of,
)
from tests.post import Post, post_office
from tests.receiver import Receiver, receiver

AUTH, OTHER = bearer(API_KEY), bearer(OTHER_KEY)
OPERATOR = bearer(SECRETS["operator_token"][0])
PROCESSOR = bearer(SECRETS["queue_processor_token"][0])
CRON = bearer(SECRETS["cron_secret"][0])
PLAIN = (  # settings of the first deployment; the others hold instead of some of them, see the second test
    "api_keys", "signing_secret", "queue_processor_token", "operator_token", "metrics_token", "cron_secret",
    "wavespeed_api_key", "wavespeed_webhook_secret", "jwt_secret", "storage_secret_access_key", "qstash_token",
    "qstash_current_signing_key", "qstash_next_signing_key", "vercel_automation_bypass_secret",
)  # fmt: skip
TEXTS = {"prompt": PROMPT, "note": NOTE, "error": ERROR}
ANY_JOB = ("note", "error")  # what a job's document shows of its texts
ALL_OF_JOB = ("note", "error", "prompt")  # and with its output, which repeats the prompt here


@pytest.fixture(scope="module")
def store() -> Iterator[RunningServer]:
    with running_server(token=SECRETS["upstash_redis_rest_token"][0]) as running:
        yield running


@pytest.fixture(scope="module")
def provider() -> Iterator[RunningSimulator]:
    with running_simulator(
        token=SECRETS["replicate_api_token"][0],
        webhook_secret=SECRETS["replicate_webhook_secret"][0],
        wavespeed_key=SECRETS["wavespeed_api_key"][0],
        wavespeed_secret=SECRETS["wavespeed_webhook_secret"][0],
    ) as running:
        yield running


def settings_of(provider: RunningSimulator, s3: S3, post: Post, owner: Receiver) -> dict[str, str]:
    return {
        **{name.upper(): value_of(name) for name in PLAIN},
        "PROVIDERS": "replicate,wavespeed",
        "WAVESPEED_BASE_URL": provider.wavespeed_url,
        "SMTP_URL": value_of("smtp_url", post.url),
        "MAIL_FROM": "no-reply@acme.dev",
        "HOOKS": value_of("hooks", owner.url()),
        "SLACK_WEBHOOK_URL": value_of("slack_webhook_url", owner.url("/slack")),
        "DISCORD_WEBHOOK_URL": value_of("discord_webhook_url", owner.url("/discord")),
        "ALERT_WEBHOOK_URL": value_of("alert_webhook_url", owner.url("/alerts")),
        "ALERT_LOG": "true",
        "ALERT_PERIOD": "60",
        "ALLOW_LOOPBACK": "true",
        "STORAGE_URL": f"s3://{s3.bucket()}/kept",
        "STORAGE_ENDPOINT": s3.endpoint,
        "STORAGE_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "JWT_ISSUER": ISSUER,
        "JWT_AUDIENCE": AUDIENCE,
        "JWT_OWNER": "app",
        "CORS_ORIGINS": "https://app.test",
        "AUDIT_ENTRIES": "1000",
        "FAILED_AUTH_RATE": "1000/minute",
        "SUBMIT_RATE_PER_KEY": "1000/minute",
        "LOG_LEVEL": "DEBUG",
        "FIRST_CHECK_AFTER": "1",
        "CHECK_INTERVAL": "2",
        "STORE_CONNECT_TIMEOUT": "0.5",
        "STORE_TRY_TIMEOUT": "1",
        "STORE_TOTAL_TIMEOUT": "2",
    }


async def submit(witness: Witness, user: str = "ada", headers: dict[str, str] = AUTH, **simulate: Any) -> str:
    """The id of a new job, or '' if it was refused."""
    provider = simulate.pop("provider", "replicate")
    simulate = {"seconds": 0.1, "start_delay": 0, "output": "text", **simulate}
    body = {
        "model": "acme/video", "input": {"prompt": PROMPT, "simulate": simulate}, "user_id": user,
        "metadata": {"note": NOTE}, "provider": provider,
    }  # fmt: skip
    answer = await witness.call("POST", "/api/submit", json=body, headers=headers, shows=ANY_JOB)
    return str(answer.json().get("id", ""))


async def success(witness: Witness, owner: Receiver) -> list[str]:
    """Jobs of both providers that complete, with a file, hooks, and users' tokens; returns their ids."""
    token = (await witness.call("POST", "/api/tokens", json={"user_id": "ada"}, headers=AUTH)).json()["token"]
    witness.keep("token", token)
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "eve", "exp": int(time.time()) + 900}
    issued = bearer(jwt.encode(claims, SECRETS["jwt_secret"][0], "HS256"))
    jobs = [
        await submit(witness, output="mp4"),
        await submit(witness),
        await submit(witness, provider="wavespeed"),
        await submit(witness, "eve", issued),
    ]
    assert all(jobs)
    for job in jobs:
        ended = await poll_until_terminal(witness.client, witness.url, job, AUTH)
        assert ended["status"] == "completed", ended
        for headers in (AUTH, OPERATOR, bearer(token), OTHER):
            shows = ALL_OF_JOB if headers is not OTHER else ()
            await witness.call("GET", f"/api/status/{job}", headers=headers, shows=shows)
            await witness.call("GET", f"/api/jobs/{job}/result?from=0", headers=headers, shows=shows)
        await witness.call("GET", f"/api/jobs/{job}/deliveries", headers=AUTH)
    batch = {"model": "acme/video", "user_id": "bob", "jobs": [{"input": {"prompt": PROMPT}}]}
    made = (await witness.call("POST", "/api/batches", json=batch, headers=AUTH, shows=ALL_OF_JOB)).json()["id"]
    await witness.call("GET", f"/api/batches/{made}", headers=OTHER)
    await witness.call("GET", "/api/jobs", headers=AUTH, shows=ALL_OF_JOB)
    for headers in (AUTH, OTHER):
        of_app = ("hooks.secrets 0", "hooks.secrets 1") if headers is AUTH else ()
        hooks = await witness.call("GET", "/api/hooks", headers=headers, shows=of_app)
        if headers is OTHER:
            witness.keep("derived hook secret", hooks.json()["secrets"][0])
    upload = {"user_id": "ada", "content_type": "image/png", "size": 5}
    await witness.call("POST", "/api/uploads", json=upload, headers=AUTH)
    await witness.call("POST", "/api/process-queue", headers=PROCESSOR)
    assert any(request.verified(SECRETS["hooks.secrets"][0]) for request in owner.on("/hook"))
    return jobs


async def operating(witness: Witness, jobs: list[str]) -> None:
    """Keys are made and used, and the operator reads and changes all that an operator can."""
    key = {"owner": "shop", "defaults": {"hook_url": "https://example.com/hook"}}
    made = (await witness.call("POST", "/api/operate/keys", json={"owner": "shop"}, headers=OPERATOR)).json()
    witness.keep("made key", made["secret"])
    witness.keep("hook secret of a key", made["hook_secrets"][0])
    await witness.call("POST", "/api/operate/keys", json=key, headers=OPERATOR)
    await submit(witness, headers=bearer(made["secret"]))
    turned = (await witness.call("POST", f"/api/operate/keys/{made['id']}/rotate", headers=OPERATOR)).json()
    witness.keep("rotated key", turned["secret"])
    witness.heard[-1].shows = {*witness.heard[-1].shows, "hook secret of a key"}
    await witness.call("POST", f"/api/operate/keys/{turned['id']}/revoke", headers=OPERATOR)
    await witness.call("POST", f"/api/operate/keys/{turned['secret']}/revoke", headers=OPERATOR)
    await witness.call("GET", "/api/jobs", headers=bearer(turned["secret"] + "x"))
    for path in ("limits", "user-limits", "undelivered", "keys", f"keys/{made['id']}", "blocked", f"jobs/{jobs[0]}"):
        await witness.call("GET", f"/api/operate/{path}", headers=OPERATOR, shows=ANY_JOB)
    for path in ("jobs", "dead-letters"):
        await witness.call("GET", f"/api/operate/{path}", headers=OPERATOR, shows=ANY_JOB)
    await witness.call("GET", f"/api/operate/jobs/{jobs[0]}/input", headers=OPERATOR, shows=("prompt", "error"))
    for path, body in (
        ("cancel", {"all": True, "dry_run": True}), ("purge", {"ids": jobs[:1]}), ("make-room", {}),
        ("dead-letters/redrive", {"all": True}), (f"jobs/{jobs[1]}/settle", {"outcome": "not_made"}),
    ):  # fmt: skip
        await witness.call("POST", f"/api/operate/{path}", json=body, headers=OPERATOR, shows=ANY_JOB)
    blocked = {"add": [f"{PROMPT.lower()}@acme.dev"]}
    await witness.call("PATCH", "/api/operate/blocked", json={"add": [MAIL_PASSWORD]}, headers=OPERATOR)
    await witness.call("PATCH", "/api/operate/blocked", json=blocked, headers=OPERATOR)
    for headers in (OPERATOR, PROCESSOR, CRON):
        await witness.call("GET", "/api/process-queue", headers=headers)


async def codes(witness: Witness, post: Post) -> str:
    """A code is sent and checked, with a right and a wrong one, and its mail meets trouble; returns the code."""
    asked = {"email": "ada@example.com"}
    assert (await witness.call("POST", "/api/verification/send", json=asked, headers=AUTH)).status_code == 202
    code = post.code()
    wrong = f"{(int(code) + 1) % 1_000_000:06}"
    await witness.call("POST", "/api/verification/check", json=asked | {"code": wrong}, headers=AUTH)
    right = await witness.call("POST", "/api/verification/check", json=asked | {"code": code}, headers=AUTH)
    witness.keep("proof", right.json()["proof"])
    shown = await witness.call("GET", "/api/verification/key", headers=AUTH)
    witness.keep("key of proofs", shown.json()["key"])
    for number, reply in enumerate((f"554 {MAIL_PASSWORD} {PROMPT}", f"451 {MAIL_PASSWORD}", f"535 {MAIL_PASSWORD}")):
        post.to_mail = reply
        asked = {"email": f"ada{number}@example.com"}
        await witness.call("POST", "/api/verification/send", json=asked, headers=AUTH)
    post.to_mail, post.password = "250 OK", b"changed"
    asked = {"email": "bob@example.com"}
    assert (await witness.call("POST", "/api/verification/send", json=asked, headers=AUTH)).status_code == 503
    assert ("post", MAIL_PASSWORD) in post.logins  # so it was refused at last
    return code


async def trouble(witness: Witness, store: RunningServer, owner: Receiver) -> None:
    """Causes every failure that is logged or reported."""
    owner.answers = lambda request: (500, {"X-Said": PROMPT}, ERROR.encode())
    jobs = [
        await submit(witness, "a", outcome="fail", error=f"invalid input: {ERROR}"),
        await submit(witness, "b", webhook="lose"),
        await submit(witness, "c", create="422"),
        await submit(witness, "d", create="402", create_times=1),
        await submit(witness, "e", create="401", create_times=1),
        await submit(witness, "f", create="500"),
        await submit(witness, "g", create="apply_then_drop"),
        await submit(witness, "h", provider="wavespeed", create="401", create_times=1),
    ]
    for job in jobs[:3]:
        await poll_until_terminal(witness.client, witness.url, job, AUTH)
        await witness.call("GET", f"/api/status/{job}", headers=AUTH, shows=ALL_OF_JOB)
    for fault in ("quota", "html_502", "wrong_token", "drop_before", "read_only", "apply_then_drop"):
        store.inject(fault, times=2)
        await submit(witness, "h")
        store.clear_faults()
    for fault, (method, path) in (
        ("wrong_token", ("POST", "/api/verification/send")), ("html_502", ("GET", "/api/operate/audit")),
        ("quota", ("POST", "/api/operate/keys")), ("drop_before", ("GET", "/api/operate/limits")),
    ):  # fmt: skip
        store.inject(fault, times=-1)
        body = {"email": "eve@example.com"} if "send" in path else {"owner": "shop"} if method == "POST" else None
        await witness.call(method, path, json=body, headers=AUTH if "send" in path else OPERATOR)
        store.clear_faults()
    store.inject("hang", times=2)
    await witness.call("GET", f"/api/status/{jobs[5]}", headers=AUTH, shows=ANY_JOB)
    store.clear_faults()


async def rudeness(witness: Witness, provider: RunningSimulator) -> None:
    """Sends every kind of bad request, with the marks in it."""
    for secret in (f"Bearer {OTHER_KEY}x", f"Basic {API_KEY}", f"Bearer {PROMPT}", *all_secrets().values()):
        headers = {"Authorization": secret if " " in secret else f"Token {secret}"}
        await witness.call("POST", "/api/submit", json={}, headers=headers)
        await witness.call("POST", "/api/process-queue", headers=headers)
    for body in (
        f'{{"{PROMPT}": 1}}', f'{{"model": "{PROMPT}"}}', f'["{PROMPT}"]', PROMPT, f'{{"input": "{PROMPT}\\ud800"}}',
    ):  # fmt: skip
        headers = AUTH | {"Content-Type": "application/json", "Idempotency-Key": PROMPT}
        await witness.call("POST", "/api/submit", content=body, headers=headers)
    for name in ("Origin", "Content-Type", "Content-Encoding", "If-None-Match", "Accept-Language", "X-Request-Id"):
        await witness.call("POST", "/api/submit", content="{}", headers=AUTH | {name: PROMPT})
    await witness.call("OPTIONS", "/api/submit", headers={"Origin": PROMPT, "Access-Control-Request-Method": NOTE})
    for text in (PROMPT, API_KEY, "..%2f" + API_KEY):
        for method, path in (
            ("GET", "/api/status/{}"), ("GET", "/{}"), ("PUT", "/api/jobs/{}"), ("GET", "/api/jobs?cursor={}"),
            ("GET", "/api/jobs?status={}"), ("GET", "/api/jobs/{0}/result?file={0}"),
            ("GET", "/api/files/{0}?signature={0}"),
            ("DELETE", "/api/users?user_id=x&user_id={}"), ("POST", "/api/webhook/{}"),
        ):  # fmt: skip
            await witness.call(method, path.format(text), headers=AUTH)
    webhook = f"/api/webhook/replicate?job={PROMPT}&attempt=1&nonce={SECRETS['signing_secret'][0]}"
    await witness.call("POST", webhook, content=PROMPT)
    for sent in (made["webhook"] for made in provider.predictions() if made.get("webhook")):
        path = urlsplit(sent)
        now = int(time.time())
        signature = sign(provider.webhook_secret, "msg_1", now, PROMPT.encode())
        signed = {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": signature}
        await witness.call("POST", f"{path.path}?{path.query}", content=PROMPT, headers=signed)
    for key in (SECRETS["qstash_current_signing_key"][0], PROMPT * 2):
        headers = {"Upstash-Signature": qstash.token(key, now=int(time.time()))}
        await witness.call("POST", "/api/process-queue", headers=headers)
    crlf = f'ada\r\n{{"level":"error","event":"{PROMPT}"}}'
    await witness.call("POST", "/api/submit", json={"model": "a/b", "input": {}, "user_id": crlf}, headers=AUTH)


@asynccontextmanager
async def neighbours() -> AsyncIterator[tuple[Post, Receiver]]:
    """A mail server that wants the password, and an owner's endpoint."""
    async with post_office(wants_login=True) as post, receiver() as owner:
        post.password = MAIL_PASSWORD.encode()
        yield post, owner


async def test_no_secret_and_no_text_turns_up_where_it_must_not(
    store: RunningServer, provider: RunningSimulator, s3: S3, tmp_path: Path
) -> None:
    log = tmp_path / "functions.log"
    async with neighbours() as (post, owner), httpx.AsyncClient(timeout=60) as client:
        settings = settings_of(provider, s3, post, owner)
        with log.open("w") as out, running_deployment(store, provider, settings, output=out) as deployment:
            witness = Witness(client, deployment.urls[0])
            jobs = await success(witness, owner)
            code = await codes(witness, post)
            await trouble(witness, store, owner)
            await operating(witness, jobs)
            await rudeness(witness, provider)
            ticks = (witness.call("POST", "/api/process-queue", headers=PROCESSOR) for _ in range(3))
            await asyncio.gather(*ticks)
            audit = await witness.call("GET", "/api/operate/audit?limit=100", headers=OPERATOR)
            assert len(audit.json()["entries"]) > 8
    logged = log.read_text()
    lines = [json.loads(line) for line in logged.splitlines() if line.startswith("{")]
    events = {line["event"] for line in lines}
    expected = {"submission", "store_failed", "audit", "input_read", "mail_failed", "delivery"}
    assert len(lines) > 30 and expected <= events, events
    sent = provider.predictions()
    nonces = {f"nonce {made['id']}": nonce_of(made["webhook"]) for made in sent if made.get("webhook")}
    of_deployment = all_secrets() | witness.handed_out | {name: text for name, text in nonces.items() if text}
    assert len(nonces) > 5 and len(witness.handed_out) > 6
    assert found_in(logged, of_deployment | TEXTS) == set()
    assert witness.leaks(of_deployment | TEXTS) == set()
    assert found_in(repr(names_in(store)), of_deployment | TEXTS) == set()
    assert found_in(contents(store), of_deployment) == set()
    outward = {name: text for name, text in all_secrets().items() if "bypass" not in name}  # it opens our own door
    # The URLs of alerts' receivers are secrets themselves.
    got = repr([(request.headers, request.body) for request in owner.received]) + repr(owner.on("/hook"))
    assert found_in(json.dumps(sent) + got, outward) == set()
    hooked = repr([request.headers for request in owner.received])
    assert found_in(hooked, TEXTS) == set()
    said = json.dumps([{**line, "timestamp": ""} for line in lines])
    assert not has_number(said, code) and not has_number(contents(store), code)
    # The texts did reach their proper places, so their absence elsewhere is meaningful.
    assert found_in(contents(store), TEXTS) == set(TEXTS) and PROMPT in json.dumps(sent)


def nonce_of(url: str) -> str:
    return parse_qs(urlsplit(url).query).get("nonce", [""])[0]
