"""Secrets and prompts carry unique marks through a failing deployment; no mark leaks."""

import asyncio
import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer, running_server
from local.simulator.running import RunningSimulator, running_simulator
from tests.deployment import poll_until_terminal, running_deployment

MARK = secrets.token_hex(6)
API_KEY, OTHER_KEY = f"CANARY-api-{MARK}", f"CANARY-other-{MARK}"
STORE_TOKEN, PROVIDER_TOKEN = f"CANARY-store-{MARK}", f"r8_CANARY-provider-{MARK}"
PROCESSOR, CRON, SIGNING = f"CANARY-processor-{MARK}", f"CANARY-cron-{MARK}", f"CANARY-signing-{MARK}"
WEBHOOK = "whsec_" + base64.b64encode(f"CANARY-webhook-{MARK}".encode()).decode()
PROMPT = f"CANARY-prompt-{MARK}"
SECRETS = [API_KEY, OTHER_KEY, STORE_TOKEN, PROVIDER_TOKEN, PROCESSOR, CRON, SIGNING, WEBHOOK, WEBHOOK[6:]]
AUTH = {"Authorization": f"Bearer {API_KEY}"}


@pytest.fixture(scope="module")
def store() -> Iterator[RunningServer]:
    with running_server(token=STORE_TOKEN) as running:
        yield running


@pytest.fixture(scope="module")
def provider() -> Iterator[RunningSimulator]:
    with running_simulator(token=PROVIDER_TOKEN, webhook_secret=WEBHOOK) as running:
        yield running


class Witness:
    """Keeps every answer of the deployment."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self.client = client
        self.url = url
        self.heard: list[str] = []

    async def call(self, method: str, path: str, **changes: Any) -> httpx.Response:
        answer = await self.client.request(method, self.url + path, **changes)
        self.heard.append(f"{answer.headers} {answer.text}")
        return answer

    async def submit(self, user: str = "ada", **simulate: Any) -> str:
        simulate = {"seconds": 0.1, "start_delay": 0, "output": "text", **simulate}
        body = {"model": "acme/video", "input": {"prompt": PROMPT, "simulate": simulate}, "user_id": user}
        answer = await self.call("POST", "/api/submit", json=body, headers=AUTH)
        return str(answer.json().get("id", ""))


async def trouble(witness: Witness, store: RunningServer) -> None:
    """Causes every failure that is logged or reported."""
    jobs = [
        await witness.submit("a", outcome="fail", error="invalid input"),
        await witness.submit("b", webhook="lose"),
        await witness.submit("c", create="422"),
        await witness.submit("d", create="402", create_times=1),
        await witness.submit("e", create="401", create_times=1),
        await witness.submit("f", create="500"),
        await witness.submit("g", create="apply_then_drop"),
    ]
    for job in jobs[:3]:
        await poll_until_terminal(witness.client, witness.url, job, AUTH)
    for fault in ("quota", "html_502", "wrong_token", "drop_before", "read_only", "apply_then_drop"):
        store.inject(fault, times=2)
        await witness.submit("h")
        store.clear_faults()
    store.inject("hang", times=2)
    await witness.call("GET", f"/api/status/{jobs[5]}", headers=AUTH)
    store.clear_faults()


async def rudeness(witness: Witness) -> None:
    """Sends every kind of bad request, with the marks in it."""
    for authorization in (f"Bearer {OTHER_KEY}x", f"Basic {API_KEY}", f"Bearer {PROMPT}", f"Token {SIGNING}"):
        await witness.call("POST", "/api/submit", json={}, headers={"Authorization": authorization})
        await witness.call("POST", "/api/process-queue", headers={"Authorization": authorization})
    for body in (
        f'{{"{PROMPT}": 1}}',
        f'{{"model": "{PROMPT}"}}',
        f'["{PROMPT}"]',
        PROMPT,
        f'{{"input": "{PROMPT}\\ud800"}}',
    ):
        headers = AUTH | {"Content-Type": "application/json", "Idempotency-Key": PROMPT}
        await witness.call("POST", "/api/submit", content=body, headers=headers)
    await witness.call("GET", f"/api/status/{PROMPT}", headers=AUTH)
    await witness.call("POST", f"/api/webhook/replicate?job={PROMPT}&attempt=1&nonce={SIGNING}", content=PROMPT)
    crlf = f'ada\r\n{{"level":"error","event":"{PROMPT}"}}'
    await witness.call("POST", "/api/submit", json={"model": "a/b", "input": {}, "user_id": crlf}, headers=AUTH)


async def test_no_secret_and_no_prompt_turns_up_where_it_must_not(
    store: RunningServer, provider: RunningSimulator, tmp_path: Path
) -> None:
    settings = {
        "API_KEYS": f"app:{API_KEY},other:{OTHER_KEY}",
        "QUEUE_PROCESSOR_TOKEN": PROCESSOR,
        "CRON_SECRET": CRON,
        "SIGNING_SECRET": SIGNING,
        "LOG_LEVEL": "DEBUG",
        "FIRST_CHECK_AFTER": "1",
        "CHECK_INTERVAL": "2",
    }
    log = tmp_path / "functions.log"
    with log.open("w") as out, running_deployment(store, provider, settings, output=out) as deployment:
        async with httpx.AsyncClient(timeout=60) as client:
            witness = Witness(client, deployment.urls[0])
            await trouble(witness, store)
            await rudeness(witness)
            await asyncio.gather(
                *(
                    witness.call("POST", "/api/process-queue", headers={"Authorization": f"Bearer {PROCESSOR}"})
                    for _ in range(3)
                )
            )
    logged = log.read_text()
    lines = [line for line in logged.splitlines() if line.startswith("{")]
    assert len(lines) > 30 and {"submission", "store_failed"} <= {json.loads(line)["event"] for line in lines}
    answered = "\n".join(witness.heard)
    for secret in [*SECRETS, PROMPT]:
        assert secret not in logged and secret not in answered
    for secret in SECRETS:
        assert secret not in contents(store)
        assert secret not in json.dumps(provider.predictions())
    # The prompt did reach its proper places, so its absence elsewhere is meaningful.
    assert PROMPT in contents(store) and PROMPT in json.dumps(provider.predictions())


def contents(store: RunningServer) -> str:
    """Every key and value of the store as text."""
    found = store.ask("KEYS", "*")
    assert isinstance(found, list)
    texts = [repr(found)]
    for key in found:
        assert isinstance(key, bytes)
        kind = store.ask("TYPE", key)
        reads = {b"hash": ("HGETALL", key), b"zset": ("ZRANGE", key, "0", "-1"), b"string": ("GET", key)}
        texts.append(repr(store.ask(*reads[kind])))  # type: ignore[index]
    return "\n".join(texts)
