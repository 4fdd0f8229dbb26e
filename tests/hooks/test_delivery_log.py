"""The delivery log over HTTP: what owners and the operator see, and redelivery."""

import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock, iso
from shared.egress import Guard
from shared.hooks.address import HookAddresses
from shared.hooks.event import secrets_of
from shared.jobqueue import outbox as outbox_verbs
from tests.http.calls import problem
from tests.receiver import Receiver
from tests.world import AUTH, OPERATOR, OTHER_AUTH, World, http_client, make_world

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEYS = "app:key-of-the-app-in-tests,other:key-of-another-app-in-tests"


@pytest.fixture
async def world(any_store: RunningServer | None) -> AsyncIterator[World]:
    hooks = {"app": {"secrets": [SECRET], "url": "https://example.com/h", "events": ["job.failed"]}}
    async with make_world(any_store, ManualClock(), allow_loopback=True, hooks=hooks, api_keys=KEYS) as made:
        yield made


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**AUTH) as made:
        yield made


async def completed(world: World, url: str, **changes: Any) -> str:
    job_id = await world.enqueue(start=True, hook_url=url, **changes)
    await world.runtime.queue.record(job_id, 1, f"p_{job_id}")
    await world.runtime.queue.finish(job_id, 1, f"p_{job_id}", "completed", {"output": '"done"'})
    await world.follow_up()
    return job_id


async def deliveries(client: httpx.AsyncClient, holder: str, kind: str = "jobs") -> list[dict[str, Any]]:
    answer = await client.get(f"/api/{kind}/{holder}/deliveries")
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    assert answer.json()["id"] == holder
    shown: list[dict[str, Any]] = answer.json()["deliveries"]
    return shown


async def test_each_event_is_shown_with_every_try(world: World, client: httpx.AsyncClient, endpoint: Receiver) -> None:
    endpoint.answers = lambda _: (500, {}, b"x" * 600)
    job_id = await completed(world, endpoint.url(), hook_events=["job.processing", "job.completed"])
    first, last = await deliveries(client, job_id)
    assert (first["type"], last["type"]) == ("job.processing", "job.completed")
    assert last["state"] == "pending" and last["next_try_at"] > iso(world.clock.now())
    (tried,) = last["tries"] or first["tries"]
    assert (tried["status"], tried["answer"], tried["error"]) == (500, "x" * 500, None)
    assert tried["at"] == iso(world.clock.now()) and tried["duration_ms"] >= 0
    endpoint.answers = lambda _: (204, {}, b"")
    for _ in range(3):
        world.manual.advance(1000)
        await world.work_off()
    shown = await deliveries(client, job_id)
    assert [event["state"] for event in shown] == ["delivered"] * 2
    assert [event["next_try_at"] for event in shown] == [None] * 2
    assert {event["event_id"] for event in shown} == {request.event_id for request in endpoint.received}


async def test_a_job_without_a_hook_has_no_deliveries(world: World, client: httpx.AsyncClient) -> None:
    job_id = await world.enqueue()
    assert await deliveries(client, job_id) == []


async def test_an_event_is_delivered_once_more_and_at_once(
    world: World, client: httpx.AsyncClient, endpoint: Receiver
) -> None:
    endpoint.answers = lambda _: (410, {}, b"")
    job_id = await completed(world, endpoint.url())
    assert [event["state"] for event in await deliveries(client, job_id)] == ["disabled"]
    endpoint.answers = lambda _: (200, {}, b"thanks")
    answer = await client.post(f"/api/jobs/{job_id}/redeliver")
    assert answer.status_code == 200
    (event,) = answer.json()["deliveries"]
    assert event["state"] == "delivered" and [tried["status"] for tried in event["tries"]] == [410, 200]
    assert len({request.event_id for request in endpoint.received}) == 1
    again = await client.post(f"/api/jobs/{job_id}/redeliver", json={"event": "job.completed"})
    assert again.status_code == 200 and len(endpoint.received) == 3
    problem(await client.post(f"/api/jobs/{job_id}/redeliver", json={"event": "job.failed"}), 404, "no_such_event")


async def test_an_event_that_has_not_happened_cannot_be_redelivered(
    world: World, client: httpx.AsyncClient, endpoint: Receiver
) -> None:
    job_id = await world.enqueue(hook_url=endpoint.url())
    problem(await client.post(f"/api/jobs/{job_id}/redeliver"), 404, "no_such_event")
    problem(await client.post(f"/api/jobs/{job_id}/redeliver", json={"event": "job.processing"}), 404, "no_such_event")
    assert endpoint.received == []


async def test_a_batch_shows_each_of_its_ends_and_redelivers_the_latest(
    world: World, client: httpx.AsyncClient, endpoint: Receiver
) -> None:
    body = {"user_id": "ada", "model": "acme/video", "hook_url": endpoint.url(), "jobs": [{"input": {}}]}
    batch = (await client.post("/api/batches", json=body)).json()
    path, queue = f"/api/batches/{batch['id']}", world.runtime.queue
    assert await deliveries(client, batch["id"], "batches") == []
    problem(await client.post(f"{path}/redeliver"), 404, "no_such_event")
    own: Any = {"incarnation": await world.incarnation_of(batch["jobs"][0]["id"])}
    await queue.fail(batch["jobs"][0]["id"], 1, "p1", code="invalid_input", detail="", retryable=False, **own)
    await world.follow_up()
    assert [event["type"] for event in await deliveries(client, batch["id"], "batches")] == ["batch.completed"]
    assert (await client.post(f"{path}/retry")).json()["retried"] == 1
    problem(await client.post(f"{path}/redeliver"), 404, "no_such_event")
    await queue.finish(f"{batch['id']}_0r1", 1, "p2", "completed", {"output": "1"}, **own)
    await world.follow_up()
    ends = await deliveries(client, batch["id"], "batches")
    assert [event["state"] for event in ends] == ["delivered"] * 2 and len({event["event_id"] for event in ends}) == 2
    answer = await client.post(f"{path}/redeliver", json={"event": "batch.completed"})
    assert [len(event["tries"]) for event in answer.json()["deliveries"]] == [1, 2]
    assert endpoint.received[-1].event_id == ends[1]["event_id"]


@pytest.mark.parametrize("kind", ["jobs", "batches"])
async def test_deliveries_are_the_owners_alone(world: World, client: httpx.AsyncClient, kind: str) -> None:
    code = "job_not_found" if kind == "jobs" else "batch_not_found"
    holder = await world.enqueue()
    for name in (holder, "job_" + "0" * 32, "no%20id", "%ff", "batch"):
        headers = OTHER_AUTH if name == holder else AUTH
        problem(await client.get(f"/api/{kind}/{name}/deliveries", headers=headers), 404, code)
        problem(await client.post(f"/api/{kind}/{name}/redeliver", headers=headers), 404, code)
    problem(
        await client.get(f"/api/{kind}/{holder}/deliveries", headers={"Authorization": "x"}), 401, "unauthenticated"
    )


@pytest.mark.parametrize(
    ("kind", "event"), [("jobs", "batch.completed"), ("jobs", "completed"), ("batches", "job.failed"), ("jobs", 1)]
)
async def test_an_event_of_no_known_name_is_refused(
    world: World, client: httpx.AsyncClient, kind: str, event: Any
) -> None:
    job_id = await world.enqueue()
    answer = await client.post(f"/api/{kind}/{job_id}/redeliver", json={"event": event})
    assert problem(answer, 422, "invalid_request")["field"] == "event"
    problem(await client.post(f"/api/{kind}/{job_id}/redeliver", content=b"{}"), 415, "invalid_request")
    problem(await client.post(f"/api/{kind}/{job_id}/redeliver", json={"x": 1}), 422, "invalid_request")


async def test_an_application_can_fetch_its_own_hook_secrets_and_no_others(
    world: World, client: httpx.AsyncClient
) -> None:
    answer = await client.get("/api/hooks")
    assert answer.json() == {"url": "https://example.com/h", "events": ["job.failed"], "secrets": [SECRET]}
    assert answer.headers["cache-control"] == "no-store"
    other = (await client.get("/api/hooks", headers=OTHER_AUTH)).json()
    assert other["secrets"] == list(secrets_of(world.runtime.settings, "other")) and other["secrets"] != [SECRET]
    assert other["url"] is None and "batch.completed" in other["events"]
    problem(await client.get("/api/hooks", headers={"Authorization": ""}), 401, "unauthenticated")


async def test_the_fetched_secret_verifies_a_delivery(
    any_store: RunningServer | None, endpoint: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    async with make_world(any_store, clock, allow_loopback=True) as world, http_client(**AUTH) as client:
        (secret,) = (await client.get("/api/hooks")).json()["secrets"]
        await completed(world, endpoint.url())
        # Its verifier allows five minutes by the real clock; ours is a manual one.
        monkeypatch.setattr("standardwebhooks.webhooks.Webhook._Webhook__verify_timestamp", _at(clock))
        assert endpoint.received[0].verified(secret)["type"] == "job.completed"


def _at(clock: ManualClock) -> Any:
    return lambda _, text: datetime.fromtimestamp(int(text), UTC)


async def test_the_operator_sees_what_was_given_up_page_by_page(
    world: World, client: httpx.AsyncClient, endpoint: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_verbs, "MAX_LISTED", 3)
    endpoint.answers = lambda _: (410, {}, b"")
    ids = []
    for number in range(7):
        ids.append(await completed(world, endpoint.url(f"/{number}")))
        if number in (0, 5):
            world.manual.advance(1)  # five fall into one ms: more than a page has
    seen: list[str] = []
    query: dict[str, str] = {}
    for _ in range(20):
        page = (await client.get("/api/operate/undelivered", headers=OPERATOR, params=query)).json()
        assert all(row["type"] == "job.completed" and row["batch_id"] is None for row in page["undelivered"])
        seen += [row["job_id"] for row in page["undelivered"]]
        if page["next_cursor"] is None:
            break
        query = {"cursor": page["next_cursor"]}
    assert sorted(seen) == sorted(ids)
    assert seen[0] == ids[-1]
    problem(await client.get("/api/operate/undelivered"), 401, "unauthenticated")
    for bad in (
        "before=x",
        "cursor=x",
        "before=1",
        "limit=3",
        "before=2026-01-01T00:00:00Z&before=2026-01-01T00:00:00Z",
    ):
        problem(await client.get(f"/api/operate/undelivered?{bad}", headers=OPERATOR), 422, "invalid_request")
    answer = await client.get("/api/operate/undelivered?before=1970-01-01T00:00:00Z", headers=OPERATOR)
    assert answer.json() == {"undelivered": [], "next_cursor": None}


@pytest.mark.parametrize("path", ["/api/submit", "/api/batches"])
@pytest.mark.parametrize(("error", "status"), [(socket.EAI_NONAME, 422), (socket.EAI_AGAIN, 503)])
async def test_an_accepted_job_stays_accepted_when_its_host_is_no_longer_found(
    path: str, error: int, status: int, world: World, client: httpx.AsyncClient
) -> None:
    body: dict[str, Any] = {"user_id": "ada", "model": "acme/video", "hook_url": "https://example.com/a"}
    body |= {"input": {}} if path == "/api/submit" else {"jobs": [{"input": {}}]}
    first = await client.post(path, json=body, headers={"Idempotency-Key": "k"})
    assert first.status_code == 202, first.text

    async def gone(host: str, port: int) -> list[str]:
        raise socket.gaierror(error, "")

    world.runtime.hook_addresses = HookAddresses(Guard(allow_loopback=False, resolver=gone))
    again = await client.post(path, json=body, headers={"Idempotency-Key": "k"})
    assert again.status_code == 202 and again.json()["id"] == first.json()["id"]
    other = await client.post(path, json=body, headers={"Idempotency-Key": "another"})
    assert other.status_code == status and other.json()["field"] == "hook_url"
    assert (other.headers.get("retry-after") == "10") == (status == 503) == other.json()["retryable"]
