"""Submits: which are accepted, which are refused, and with which messages."""

import base64
import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.egress import Guard
from shared.errors import InvalidRequest
from shared.hooks.address import HookAddresses
from shared.providers.base import Accepted, Prediction, Rejected, SubmissionOutcome, Throttled, Unknown
from tests.http.calls import BODY, problem, status_of
from tests.world import API_KEY, AUTH, OTHER_AUTH, World, http_client, make_world, resolve_in_tests


async def test_the_same_idempotency_key_gets_the_same_job(world: World, client: httpx.AsyncClient) -> None:
    headers = AUTH | {"Idempotency-Key": "order-17"}
    first = await client.post("/api/submit", json=BODY, headers=headers)
    again = await client.post("/api/submit", json=BODY, headers=headers)
    assert first.status_code == again.status_code == 202 and first.json()["id"] == again.json()["id"]
    assert len(world.provider.created) == 1
    other = await client.post("/api/submit", json={**BODY, "user_id": "bob"}, headers=headers)
    assert problem(other, 422, "idempotency_conflict")["field"] == "Idempotency-Key"
    foreign = await client.post("/api/submit", json=BODY, headers=OTHER_AUTH | {"Idempotency-Key": "order-17"})
    assert foreign.json()["id"] != first.json()["id"]


@pytest.mark.parametrize("deletions", [1, 2], ids=["once", "twice"])
async def test_a_submit_that_meets_the_deletion_of_its_job_is_admitted_anew(
    valkey_world: World, monkeypatch: pytest.MonkeyPatch, deletions: int
) -> None:
    """The key names the job when the script looks, and the job is gone when its receipt is read."""
    world, left = valkey_world, deletions
    records = world.runtime.records
    read = records.read

    async def deleted_before(job_id: str) -> Any:
        nonlocal left
        if left:
            left -= 1
            await world.raw("DEL", world.runtime.queue.keys.job(job_id))
            try:
                return await read(job_id)
            finally:
                if left:  # another submit is admitted, and its job is deleted too
                    assert (await client.post("/api/submit", json=BODY, headers=headers)).status_code == 202
        return await read(job_id)

    async with http_client() as client:
        headers = AUTH | {"Idempotency-Key": "order-17"}
        first = (await client.post("/api/submit", json=BODY, headers=headers)).json()["id"]
        monkeypatch.setattr(records, "read", deleted_before)
        again = await client.post("/api/submit", json=BODY, headers=headers)
        if deletions == 1:
            assert again.status_code == 202 and again.json()["id"] == first
            assert (await client.get(f"/api/status/{first}", headers=AUTH)).status_code == 200
        else:
            assert problem(again, 409, "changed_meanwhile")["retryable"] is True


async def test_basic_auth_with_the_keys_name_works(client: httpx.AsyncClient, world: World) -> None:
    for name, expected in (("app", 202), ("other", 401)):
        token = base64.b64encode(f"{name}:{API_KEY}".encode()).decode()
        answer = await client.post("/api/submit", json=BODY, headers={"Authorization": f"Basic {token}"})
        assert answer.status_code == expected


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer wrong", "Bearer k\u00e9y", "Basic !!!", "Basic YXBw", "Digest x", f"Token {API_KEY}"],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/submit"),
        ("GET", "/api/status/job_1"),
        ("POST", "/api/jobs/job_1/cancel"),
        ("POST", "/api/process-queue"),
        ("GET", "/api/process-queue"),
    ],
)
async def test_wrong_credentials_get_401_before_the_store_is_touched(
    valkey_world: World, authorization: str, method: str, path: str
) -> None:
    assert valkey_world.server is not None
    valkey_world.server.reset_bill()
    async with http_client() as client:
        answer = await client.request(method, path, json=BODY, headers={b"Authorization": authorization.encode()})
    problem(answer, 401, "unauthenticated")
    assert "www-authenticate" in answer.headers
    assert valkey_world.server.bill().calls == 0


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"input": "a lighthouse"}, "must be an object"),
        ({"metadata": {str(n): "x" for n in range(21)}}, "may have at most 20 entries"),
    ],
)
async def test_a_refusal_says_object_and_entries(valkey_world: World, change: dict[str, Any], detail: str) -> None:
    async with http_client(**AUTH) as client:
        answer = await client.post("/api/submit", json=BODY | change)
    assert problem(answer, 422, "invalid_request")["detail"] == detail


BAD_BODIES: list[tuple[str, Any, str | None]] = [
    ("an unknown field", {**BODY, "colour": "red"}, "colour"),
    ("no model", {k: v for k, v in BODY.items() if k != "model"}, "model"),
    ("a model of no known form", {**BODY, "model": "just-a-name"}, "model"),
    ("an input that is no object", {**BODY, "input": "a lighthouse"}, "input"),
    ("a number as user", {**BODY, "user_id": 17}, "user_id"),
    ("an empty user", {**BODY, "user_id": ""}, "user_id"),
    ("a long user", {**BODY, "user_id": "u" * 129}, "user_id"),
    ("a control character in the user", {**BODY, "user_id": "ada\nbob"}, "user_id"),
    ("a direction override in the user", {**BODY, "user_id": "ada\u202ebob"}, "user_id"),
    ("a priority out of range", {**BODY, "priority": 6}, "priority"),
    ("a priority as text", {**BODY, "priority": "5"}, "priority"),
    ("a truth value as priority", {**BODY, "priority": True}, "priority"),
    ("an unknown tier", {**BODY, "tier": "platinum"}, "tier"),
    ("an unknown queue", {**BODY, "queue": "carpets"}, "queue"),
    ("an unknown provider", {**BODY, "provider": "acme"}, "provider"),
    ("metadata that is no text map", {**BODY, "metadata": {"a": 1}}, "metadata"),
    ("much metadata", {**BODY, "metadata": {str(n): "x" for n in range(21)}}, "metadata"),
    ("a hook over http", {**BODY, "hook_url": "http://example.com/h"}, "hook_url"),
    ("a hook with credentials", {**BODY, "hook_url": "https://u:p@example.com/h"}, "hook_url"),
    ("a hook of another scheme", {**BODY, "hook_url": "gopher://example.com"}, "hook_url"),
    ("a hook of an impossible name", {**BODY, "hook_url": "https://xn--a"}, "hook_url"),
    ("a hook that is no URL", {**BODY, "hook_url": "https://exa\tmple.com"}, "hook_url"),
    ("a hook whose host is unknown", {**BODY, "hook_url": "https://nowhere.example.org/h"}, "hook_url"),
    ("a hook on this machine", {**BODY, "hook_url": "http://127.0.0.1:8080/h"}, "hook_url"),
    ("deep nesting", {**BODY, "input": {"a": [[[[[[[1]]]]]]]}}, "input"),
    ("a list", [BODY], None),
    ("a lone surrogate", {**BODY, "input": {"prompt": "\ud800"}}, "input"),
    ("a lone surrogate as a name", {**BODY, "input": {"\udfff": 1}}, "input"),
]


@pytest.mark.parametrize(("body", "field"), [row[1:] for row in BAD_BODIES], ids=[row[0] for row in BAD_BODIES])
async def test_a_bad_body_gets_a_problem_that_names_the_field_and_echoes_nothing(
    valkey_world: World, body: Any, field: str | None
) -> None:
    marked = json.dumps(body).replace("a lighthouse", "CANARY")
    async with http_client() as client:
        headers = AUTH | {"Content-Type": "application/json"}
        answer = await client.post("/api/submit", content=marked, headers=headers)
    document = problem(answer, 422, "invalid_request")
    assert document.get("field") == field
    assert "CANARY" not in answer.text and "platinum" not in answer.text


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"input": NaN}', 400),
        (b'{"input": -Infinity}', 400),
        (b'{"input": 1e999}', 400),
        (b'{"model": "a/b", "model": "c/d"}', 400),
        (b'{"input": ' + b"9" * 5000 + b"}", 400),
        (b"[" * 60_000, 422),
        (b'{"input": "' + b"x" * 70_000 + b'"}', 413),
    ],
)
async def test_a_body_that_is_no_usable_json_is_refused(valkey_world: World, content: bytes, status: int) -> None:
    async with http_client() as client:
        headers = AUTH | {"Content-Type": "application/json"}
        problem(await client.post("/api/submit", content=content, headers=headers), status, "invalid_request")


async def test_another_content_type_is_refused(valkey_world: World) -> None:
    async with http_client() as client:
        problem(await client.post("/api/submit", data={"model": "x"}, headers=AUTH), 415, "invalid_request")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(content=st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
async def test_no_body_makes_submit_fail(valkey_world: World, content: bytes) -> None:
    async with http_client() as client:
        headers = AUTH | {"Content-Type": "application/json"}
        answer = await client.post("/api/submit", content=content, headers=headers)
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize("key", ["", "k" * 256, "a\u00e9", "tab\there"])
async def test_a_malformed_idempotency_key_is_refused(valkey_world: World, key: str) -> None:
    async with http_client() as client:
        answer = await client.post(
            "/api/submit",
            json=BODY,
            headers={b"Authorization": AUTH["Authorization"].encode(), b"Idempotency-Key": key.encode()},
        )
    assert problem(answer, 422, "invalid_request")["field"] == "Idempotency-Key"


async def test_the_users_limit_is_429_and_a_full_queue_503_both_with_retry_after(
    world: World, client: httpx.AsyncClient
) -> None:
    for _ in range(3):
        await client.post("/api/submit", json=BODY, headers=AUTH)
    answer = await client.post("/api/submit", json=BODY, headers=AUTH)
    assert problem(answer, 429, "user_limit_reached")["retryable"] is True
    assert int(answer.headers["retry-after"]) > 0


async def test_a_job_the_provider_rejects_has_failed_with_its_reason(world: World, client: httpx.AsyncClient) -> None:
    world.provider.outcomes = [Rejected("invalid_input", "prompt is required")]
    job = (await client.post("/api/submit", json=BODY, headers=AUTH)).json()
    document = await status_of(client, job["id"])
    assert document["status"] == "failed"
    error = {"code": "invalid_input", "class": "invalid_input", "detail": "prompt is required", "retryable": False}
    assert document["error"] == error


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Accepted(Prediction("p1", "running")), "processing"),
        (Unknown("status 503"), "processing"),
        (Throttled("rate_limited", 30), "pending"),
        (Rejected("model_not_found", "Name a version.", may_pass=True), "pending"),
        (Rejected("invalid_input", "prompt is required"), "failed"),
    ],
)
async def test_a_receipt_says_what_the_submission_came_to(
    world: World, client: httpx.AsyncClient, outcome: SubmissionOutcome, status: str
) -> None:
    world.provider.outcomes = [outcome]
    receipt = (await client.post("/api/submit", json=BODY, headers=AUTH)).json()
    assert receipt["status"] == status == (await status_of(client, receipt["id"]))["status"]


@pytest.mark.parametrize("times", [1, 2])
async def test_a_model_that_the_provider_does_not_find_is_tried_once_more(
    world: World, client: httpx.AsyncClient, times: int
) -> None:
    world.provider.outcomes = [Rejected("model_not_found", "Name a version.", may_pass=True)] * times
    job = (await client.post("/api/submit", json=BODY, headers=AUTH)).json()
    assert (await status_of(client, job["id"]))["stage"] == "delayed"
    world.manual.advance(90)
    world.runtime.statuses.forget(job["id"])
    await world.runtime.tick.run()
    world.runtime.statuses.forget(job["id"])
    document = await status_of(client, job["id"])
    assert len(world.provider.created) == 2
    assert [entry["code"] for entry in document["failed_attempts"]] == ["model_not_found"] * times
    assert document["status"] == ("processing" if times == 1 else "failed")
    error = {"code": "model_not_found", "class": "invalid_input", "detail": "Name a version.", "retryable": False}
    assert document["error"] == error


async def test_an_accepted_job_is_acknowledged_even_if_its_start_fails(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def explode(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(world.provider, "create", explode)
    answer = await client.post("/api/submit", json=BODY, headers=AUTH)
    assert answer.status_code == 202
    assert (await status_of(client, answer.json()["id"]))["status"] == "processing"


@pytest.mark.parametrize("model", ["../..", "../.", "a/..", "./b", "deployments/../x", ".a/b"])
async def test_a_model_cannot_lead_elsewhere(valkey_world: World, model: str) -> None:
    async with http_client() as client:
        answer = await client.post("/api/submit", json={**BODY, "model": model}, headers=AUTH)
    assert problem(answer, 422, "invalid_request")["field"] == "model"


@pytest.mark.parametrize(
    "url",
    [
        "https://localhost/h", "https://127.0.0.1/h", "https://169.254.169.254/latest", "https://[::1]/h",
        "https://10.0.0.1:6379/", "https://example.com:8443/h", "https://example.com:99999/h", "https://xn--a/h",
        "http://127.0.0.1/h",
    ],
)  # fmt: skip
async def test_a_hook_names_a_public_host(url: str) -> None:
    addresses = HookAddresses(Guard(resolver=resolve_in_tests))
    await addresses.check("https://example.com/hooks/1?a=b")
    with pytest.raises(InvalidRequest):
        await addresses.check(url)


async def test_with_the_setting_a_hook_may_be_on_this_machine(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock, allow_loopback=True), http_client() as client:
        body = BODY | {"hook_url": "http://127.0.0.1:8080/h"}
        assert (await client.post("/api/submit", json=body, headers=AUTH)).status_code == 202
