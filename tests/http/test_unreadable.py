"""An answer of the provider that cannot be read ends its attempt, and no depth of nesting makes an answer fail."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import respx

from shared.clock import ManualClock
from shared.json_value import MAX_DEPTH
from shared.providers.base import Prediction
from shared.providers.replicate_api import Replicate
from shared.signing.webhooks import sign
from tests.http.calls import BODY, status_of, webhook_url
from tests.world import AUTH, World, http_client, make_world, settings_for

BASE = "https://api.replicate.com/v1"
SECRET = "whsec_" + "QUJD" * 8
DEEP = b"[" * 1500 + b"]" * 1500
LONG = b"9" * 5000


def described(output: bytes, status: str = "succeeded") -> bytes:
    return b'{"id": "p1", "output": ' + output + b', "status": "' + status.encode() + b'"}'


@pytest.fixture
async def real(clock: ManualClock) -> AsyncIterator[World]:
    """A deployment whose Replicate is the real client, with one slot."""
    changes: dict[str, Any] = {
        "replicate_api_token": "r8_token",
        "replicate_webhook_secret": SECRET,
        "max_concurrent_tasks": 1,
    }
    async with make_world(None, clock, {"replicate": Replicate(settings_for(None, **changes))}, **changes) as world:
        yield world


async def submitted(client: httpx.AsyncClient, echo: bytes = b"1") -> str:
    """A job whose create is answered with 201, and with this input."""
    answer = b'{"id": "p1", "input": {"x": ' + echo + b'}, "status": "starting"}'
    respx.post(f"{BASE}/models/acme/video/predictions").respond(201, content=answer)
    job: str = (await client.post("/api/submit", json=BODY, headers=AUTH)).json()["id"]
    return job


async def is_unreadable(client: httpx.AsyncClient, world: World, job: str) -> bool:
    world.runtime.statuses.forget(job)
    document = await status_of(client, job)
    error = document["error"]
    assert "cannot be read" in error["detail"] and not error["retryable"]
    return (document["status"], error["code"], error["class"]) == ("failed", "unreadable", "unknown")


async def has_free_slot(world: World) -> bool:
    return sum(queue.running for queue in (await world.runtime.records.stats()).queues) == 0


@pytest.mark.parametrize("output", [DEEP, LONG])
@respx.mock
async def test_a_poll_ends_what_cannot_be_read_and_frees_its_slot(real: World, output: bytes) -> None:
    respx.post(f"{BASE}/predictions/p1/cancel").respond(200, content=described(output))
    respx.get(f"{BASE}/predictions/p1").respond(200, content=described(output))
    async with http_client() as client:
        job = await submitted(client)
        real.manual.advance(3600)
        real.runtime.statuses.forget(job)
        await status_of(client, job)
        assert await is_unreadable(client, real, job) and await has_free_slot(real)


@pytest.mark.parametrize("output", [DEEP, LONG])
@respx.mock
async def test_a_webhook_ends_what_cannot_be_read(real: World, output: bytes) -> None:
    respx.post(f"{BASE}/predictions/p1/cancel").respond(404)
    body, stamp = described(output), real.clock.now() // 1000
    async with http_client() as client:
        job = await submitted(client)
        headers = {
            "webhook-id": "m",
            "webhook-timestamp": str(stamp),
            "webhook-signature": sign(SECRET, "m", stamp, body),
        }
        for word in ("finished", "finished"):
            answer = await client.post(await webhook_url(real, job), content=body, headers=headers)
            assert answer.json() == {"result": word}
        assert await is_unreadable(client, real, job) and await has_free_slot(real)


@pytest.mark.parametrize(("status", "ends"), [("canceled", "canceled"), ("succeeded", "canceled")])
@respx.mock
async def test_a_cancellation_frees_the_slot_whatever_the_output_is(real: World, status: str, ends: str) -> None:
    respx.post(f"{BASE}/predictions/p1/cancel").respond(200, content=described(DEEP, status))
    async with http_client() as client:
        job = await submitted(client)
        assert (await client.post(f"/api/jobs/{job}/cancel", headers=AUTH)).status_code in (200, 202)
        real.runtime.statuses.forget(job)
        assert (await status_of(client, job))["status"] == ends
    assert await has_free_slot(real)


@pytest.mark.parametrize("echo", [DEEP, LONG])
@respx.mock
async def test_a_create_that_echoes_what_cannot_be_read_has_created_a_prediction(real: World, echo: bytes) -> None:
    async with http_client() as client:
        job = await submitted(client, echo)
        assert (await status_of(client, job))["stage"] == "running"


DEPTHS = [1, 7, 8, 9, MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 255, 500, 900, 1000, 1500, 5000]


@pytest.fixture
async def client(valkey_world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client() as made:
        yield made


@pytest.mark.parametrize("depth", DEPTHS)
async def test_no_depth_of_a_stored_output_makes_an_answer_fail(
    valkey_world: World, client: httpx.AsyncClient, depth: int
) -> None:
    hooked = {**BODY, "hook_url": "https://example.com/hook"}
    job = (await client.post("/api/submit", json=hooked, headers=AUTH)).json()["id"]
    jobs = [{"input": {"prompt": "x"}}]
    batch = (
        await client.post("/api/batches", json={"user_id": "b", "model": "acme/video", "jobs": jobs}, headers=AUTH)
    ).json()["id"]
    keys, stored = valkey_world.runtime.queue.keys, "[" * depth + "]" * depth
    for number, name in enumerate((job, f"{batch}_0"), start=1):
        prediction = Prediction(f"p{number}", "completed", output=["x"])
        own = await valkey_world.incarnation_of(name)
        await valkey_world.runtime.reconciler.apply(name, 1, "replicate", prediction, incarnation=own)
        # As an earlier release, or another client, may have stored it.
        await valkey_world.raw("HSET", keys.job(name), "output", stored)
        valkey_world.runtime.statuses.forget(name)
    document = await status_of(client, job)
    assert (document["output"] is not None) == (depth <= MAX_DEPTH)
    for path in (
        f"/api/jobs/{job}/result", "/api/jobs", f"/api/batches/{batch}?first=0&count=50",
        f"/api/jobs/{job}/deliveries", f"/api/batches/{batch}/deliveries",
    ):  # fmt: skip
        assert (await client.get(path, headers=AUTH)).status_code == 200, path
    assert (await client.post(f"/api/jobs/{job}/redeliver", headers=AUTH)).status_code == 200


@pytest.mark.parametrize("depth", DEPTHS)
async def test_no_depth_of_an_input_makes_a_submit_fail(
    valkey_world: World, client: httpx.AsyncClient, depth: int
) -> None:
    value = "[" * depth + "]" * depth
    job = '{"model": "acme/video", "user_id": "ada", "input": {"x": ' + value + "}}"
    batch = '{"model": "acme/video", "user_id": "bob", "jobs": [{"input": {"x": ' + value + "}}]}"
    headers = AUTH | {"content-type": "application/json"}
    for path, body, levels in (("/api/submit", job, 2), ("/api/batches", batch, 4)):
        status = (await client.post(path, content=body, headers=headers)).status_code
        assert status == (202 if depth + levels <= 8 else 422)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 1500, 5000])
async def test_a_stored_input_that_is_too_deep_ends_its_job_and_stops_no_other(valkey_world: World, depth: int) -> None:
    world = valkey_world
    bad, good = await world.enqueue("ada"), await world.enqueue("bob")
    stored = '{"x":' + "[" * depth + "]" * depth + "}"
    await world.raw("HSET", world.runtime.queue.keys.job(bad), "input", stored)
    await world.runtime.tick.run()
    assert (await world.runtime.records.read(bad)).error_code == "unreadable"
    assert (await world.runtime.records.read(good)).state == "running"
