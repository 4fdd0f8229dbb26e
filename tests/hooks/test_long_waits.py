"""A URL that asks for a long wait gets nothing meanwhile; other URLs of its host, and other owners, are not bound."""

import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from local.rest_server.running import RunningServer
from shared.clock import ManualClock, read_retry_after
from shared.hooks.subscription import short
from shared.providers.calls import Answer, pause_of
from tests.hooks.authority import Authority
from tests.hooks.deliveries import completed, delivery_of, drain, run
from tests.receiver import OK, Receiver
from tests.world import AUTH, OPERATOR, World, http_client, make_world

HOUR = 3600.0


@pytest.fixture
async def world(valkey: RunningServer) -> AsyncIterator[World]:
    async with make_world(valkey, ManualClock(), allow_loopback=True, max_user_tasks=500) as made:
        yield made


def asks_for_an_hour(request: Any) -> Any:
    return (429, {"Retry-After": "3600"}, b"") if request.path == "/busy" else OK


async def test_a_long_wait_binds_the_url_and_not_its_host(world: World, endpoint: Receiver) -> None:
    endpoint.answers = asks_for_an_hour
    busy = await completed(world, endpoint.url("/busy"))
    await drain(world)
    assert len(endpoint.on("/busy")) == 1
    world.manual.advance(60)
    other = await completed(world, endpoint.url("/other"))
    await drain(world)  # the host is well again before the next event for the URL that asked to wait
    later = await completed(world, endpoint.url("/busy"))
    await drain(world)
    for _ in range(10):
        world.manual.advance(60)
        await run(world)
    assert (await delivery_of(world, other)).state == "delivered"
    assert len(endpoint.on("/busy")) == 1, "neither its event nor a new one is sent within the hour"
    endpoint.answers = lambda _: OK
    world.manual.advance(HOUR)
    for _ in range(3):
        await run(world)
        world.manual.advance(60)
    assert [(await delivery_of(world, job)).state for job in (busy, later)] == ["delivered"] * 2


async def test_events_that_wait_for_the_url_already_are_put_off_untried(world: World, endpoint: Receiver) -> None:
    endpoint.answers = lambda _: (503, {}, b"")
    jobs = [await completed(world, endpoint.url("/busy")) for _ in range(4)]
    await drain(world)
    endpoint.answers = asks_for_an_hour
    for _ in range(12):
        world.manual.advance(60)
        await run(world)
    tries = [(await delivery_of(world, job)).tries for job in jobs]
    asked = [request for request in endpoint.received if request.path == "/busy"]
    assert len(asked) == sum(tries)
    before = len(asked)
    for _ in range(20):
        world.manual.advance(60)
        await run(world)
    assert len(endpoint.on("/busy")) == before
    assert [(await delivery_of(world, job)).tries for job in jobs] == tries, "a wait is no try"


async def test_a_redelivery_that_is_asked_for_does_not_wait(world: World, endpoint: Receiver) -> None:
    endpoint.answers = asks_for_an_hour
    job_id = await completed(world, endpoint.url("/busy"))
    await drain(world)
    endpoint.answers = lambda _: OK
    async with http_client(**AUTH) as client:
        (event,) = (await client.post(f"/api/jobs/{job_id}/redeliver")).json()["deliveries"]
    assert event["state"] == "delivered"
    second = await completed(world, endpoint.url("/busy"))
    await drain(world)
    world.manual.advance(60)
    await run(world)
    assert (await delivery_of(world, second)).state == "delivered"


async def test_a_wait_for_a_held_url_costs_one_read_and_one_note(world: World, endpoint: Receiver) -> None:
    assert world.server is not None
    endpoint.answers = asks_for_an_hour
    await completed(world, endpoint.url("/busy"))
    await drain(world)
    world.manual.advance(60)
    waiting = await completed(world, endpoint.url("/other"))
    world.follow_ups()
    # As if it had been in line before its URL was held.
    keys, tag = world.runtime.queue.keys, (await world.raw("HGET", world.runtime.queue.keys.job("job_0"), "hook_tag"))
    await world.raw("HSET", keys.job(waiting), "hook_tag", tag)
    world.manual.advance(60)
    world.server.reset_bill()
    await run(world)
    assert world.server.bill().calls == 5  # claim, the job, the URL, the note, and a claim that finds nothing
    assert endpoint.on("/other") == []


@pytest.mark.parametrize("kind", ["date", "fraction"])
async def test_a_date_and_a_fraction_are_understood(kind: str, world: World, endpoint: Receiver) -> None:
    sent = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)  # not the test's clock: only the difference counts
    dates = {"Retry-After": format_datetime(sent + timedelta(minutes=10), usegmt=True)}
    answer = {"fraction": {"Retry-After": "600.5"}, "date": dates | {"Date": format_datetime(sent, usegmt=True)}}[kind]
    endpoint.answers = lambda _: (429, answer, b"")
    await completed(world, endpoint.url())
    await drain(world)
    world.manual.advance(599)
    await run(world)
    assert len(endpoint.received) == 1
    world.manual.advance(120)
    await run(world)
    assert len(endpoint.received) == 2


NOW = 1_800_000_000_000
IN_A_MINUTE = "Fri, 15 Jan 2027 08:01:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": IN_A_MINUTE}, 60.0),
        ({"retry-after": IN_A_MINUTE, "date": "Fri, 15 Jan 2027 08:00:30 GMT"}, 30.0),
        ({"retry-after": IN_A_MINUTE, "date": "no date"}, 60.0),
        ({"retry-after": "Friday, 15-Jan-27 08:01:00 GMT"}, 60.0),
        ({"retry-after": "Fri, 15 Jan 1999 08:01:00 GMT"}, 0.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "\u0661"}, None),
        ({}, None),
    ],
)
def test_what_a_retry_after_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert read_retry_after(headers, NOW) == seconds


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_retry_after_is_a_wait_or_none(text: str, date: str) -> None:
    asked = read_retry_after({"retry-after": text, "date": date}, NOW)
    assert asked is None or asked >= 0


def test_a_provider_is_paused_as_long_as_it_asks_in_any_form() -> None:
    date = {"retry-after": "Sat, 28 Nov 2026 12:00:45 GMT", "date": "Sat, 28 Nov 2026 12:00:00 GMT"}
    for headers, seconds in (({"retry-after": "1.5"}, 1.5), (date, 45.0), ({"retry-after": "soon"}, 30.0)):
        assert pause_of(Answer(429, headers, b"{}")) == seconds


async def test_a_failure_of_tls_is_called_so(world: World, tmp_path: Path) -> None:
    import asyncio

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    tls: ssl.SSLContext = Authority(tmp_path).server(x509.DNSName("localhost"))
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    job_id = await completed(world, f"https://localhost:{server.sockets[0].getsockname()[1]}/")
    await drain(world)
    (entry,) = (await delivery_of(world, job_id)).entries
    assert json.loads(entry)["error"] == "tls_failed"
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("names_events", [False, True])
async def test_a_retried_job_takes_the_present_default_hook(valkey: RunningServer, names_events: bool) -> None:
    hooks = {"app": {"url": "https://example.com/old", "events": ["job.failed"]}}
    later = {"app": {"url": "https://example.com/new", "events": ["job.completed"]}}
    body: dict[str, Any] = {"model": "acme/video", "input": {}, "user_id": "ada"}
    body |= {"hook_events": ["job.canceled"]} if names_events else {}
    async with make_world(valkey, ManualClock(), hooks=hooks) as world:
        retried = await retried_with(world, body, later)
        assert retried["hook_url"] == "https://example.com/new"
        assert retried["hook_events"] == ("canceled" if names_events else "completed")
    async with make_world(valkey, ManualClock(), hooks=hooks) as world:
        own = body | {"hook_url": "https://example.com/own"}
        assert (await retried_with(world, own, later))["hook_url"] == "https://example.com/own"
    async with make_world(valkey, ManualClock()) as world:
        assert (await retried_with(world, body, later))["hook_url"] == "https://example.com/new"
    async with make_world(valkey, ManualClock(), hooks=hooks) as world:
        assert (await retried_with(world, body, {})).get("hook_url") == ""


@pytest.mark.parametrize("by_operator", [False, True])
async def test_jobs_of_a_retried_batch_take_the_present_default_hook(valkey: RunningServer, by_operator: bool) -> None:
    old, new = {"app": {"url": "https://old.example/a"}}, {"app": {"url": "https://new.example/b"}}
    own = {"hook_url": "https://example.com/c"}
    wants = {"hook_events": ["job.completed"]}
    for hooks, asked, later, expected in (
        (old, wants, new, hook_at(new["app"]["url"])),
        ({}, wants, new, hook_at(new["app"]["url"])),
        (old, wants, {}, ("", "", "")),
        (old, wants | own, new, hook_at(own["hook_url"])),
        (old, {}, new, ("", "", "")),
    ):
        async with make_world(valkey, ManualClock(), hooks=hooks) as world:
            first = await batch_retried_with(world, asked, later, by_operator=by_operator)
            assert hook_of(first) == expected
            # The second retry knows as much as the first.
            again = await batch_retried_with(world, asked, old, by_operator=by_operator, of=first)
            assert hook_of(again) == (hook_at(old["app"]["url"]) if "hook_default" in again and asked else expected)


def hook_at(url: str) -> tuple[str, str, str]:
    host = httpx.URL(url).host
    return url, f"app:{short(f'{host}:443')}", short(url)


def hook_of(fields: dict[str, str]) -> tuple[str, str, str]:
    return fields["hook_url"], fields.get("hook_lane", ""), fields.get("hook_tag", "")


async def batch_retried_with(
    world: World, asked: dict[str, Any], hooks: dict[str, Any], *, by_operator: bool, of: dict[str, str] | None = None
) -> dict[str, str]:
    """Retries a batch whose job fails, after the default hook has changed; returns the new job's fields.

    With ``of``, a job of such a retry, it retries the same batch once more.
    """
    async with http_client() as client:
        if of:
            batch_id = of["batch"]
        else:
            body = {"user_id": "ada", "model": "acme/still", "jobs": [{"input": {}}], **asked}
            batch_id = (await client.post("/api/batches", json=body, headers=AUTH)).json()["id"]
        (job_id,) = (await world.runtime.batch_queue.read(batch_id)).job_ids
        incarnation = await world.incarnation_of(job_id)
        (prediction,) = await world.raw("HMGET", world.runtime.queue.keys.job(job_id), "prediction")
        await world.runtime.queue.fail(
            job_id, 1, prediction, code="invalid_input", detail="", retryable=False, incarnation=incarnation
        )
        world.follow_ups()
        world.another_process(hooks=hooks)
        order = {"ids": [job_id]}
        answer = (
            await client.post("/api/operate/dead-letters/redrive", json=order, headers=OPERATOR)
            if by_operator
            else await client.post(f"/api/batches/{batch_id}/retry", headers=AUTH)
        )
        assert answer.status_code in (200, 202), answer.text
        (made,) = (await world.runtime.batch_queue.read(batch_id)).job_ids
        assert made != job_id
    return dict(await world.raw("HGETALL", world.runtime.queue.keys.job(made)))


async def retried_with(world: World, body: dict[str, Any], hooks: dict[str, Any]) -> dict[str, str]:
    """Submits a job that fails, retries it after the default hook has changed, and returns the new job's fields."""
    async with http_client(**AUTH) as client:
        job_id = (await client.post("/api/submit", json=body)).json()["id"]
        incarnation = await world.incarnation_of(job_id)
        await world.runtime.queue.fail(
            job_id, 1, "p1", code="invalid_input", detail="", retryable=False, incarnation=incarnation
        )
        world.follow_ups()
        world.another_process(hooks=hooks)
        answer: httpx.Response = await client.post(f"/api/jobs/{job_id}/retry")
        assert answer.status_code == 202, answer.text
    return dict(await world.raw("HGETALL", world.runtime.queue.keys.job(answer.json()["id"])))
