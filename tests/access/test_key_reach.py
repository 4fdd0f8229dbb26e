"""What an API key of the store allows, and the tokens that it has minted."""

import json
from typing import Any

import httpx
import pytest

from shared.clock import ManualClock
from tests.access.stored_keys import bearer, by_clock, listed, made_key, operate
from tests.http.calls import BODY, problem
from tests.world import World, http_client, make_world

LIST = "/api/jobs"


async def test_a_user_of_a_key_gets_its_defaults_until_it_is_revoked(world: World, client: httpx.AsyncClient) -> None:
    url = "https://example.com/hook"
    made = await made_key(client, defaults={"hook_url": url, "queue": "storyboard", "models": ["acme/video"]})
    wanted = {"user_id": "ada", "scopes": ["read", "submit"]}
    token = (await client.post("/api/tokens", json=wanted, headers=bearer(made))).json()["token"]
    as_ada = {"Authorization": f"Bearer {token}"}
    job = (await client.post("/api/submit", json=BODY, headers=as_ada)).json()["id"]
    found = await world.raw("HMGET", world.runtime.queue.keys.job(job), "queue", "hook_url", "owner")
    assert found == ["storyboard", url, "shop"]
    other = await client.post("/api/submit", json=BODY | {"model": "acme/other"}, headers=as_ada)
    problem(other, 403, "not_permitted")
    await operate(client, "POST", f"/{made['id']}/rotate", overlap=0)
    world.manual.advance(10)
    assert (await client.get(f"/api/status/{job}", headers=as_ada)).status_code == 200
    await operate(client, "POST", f"/{made['id']}/revoke")
    world.manual.advance(10)
    assert (await client.get(f"/api/status/{job}", headers=as_ada)).status_code == 401


async def test_a_token_may_do_no_more_than_its_key_may_now(world: World, client: httpx.AsyncClient) -> None:
    made = await made_key(client, defaults={"tier": "pro"})
    wanted = {"user_id": "ada", "scopes": ["read", "submit"], "models": ["acme/video", "acme/other"]}
    token = (await client.post("/api/tokens", json=wanted, headers=bearer(made))).json()["token"]
    as_ada = {"Authorization": f"Bearer {token}"}
    job = (await client.post("/api/submit", json=BODY, headers=as_ada)).json()["id"]
    assert await world.raw("HGET", world.runtime.queue.keys.job(job), "tier") == "pro"
    await operate(client, "PATCH", f"/{made['id']}", defaults={"models": ["acme/other"]})
    world.manual.advance(10)
    problem(await client.post("/api/submit", json=BODY, headers=as_ada), 403, "not_permitted")
    other = await client.post("/api/submit", json=BODY | {"model": "acme/other"}, headers=as_ada)
    assert other.status_code == 202
    await operate(client, "PATCH", f"/{made['id']}", scopes=["read"])
    world.manual.advance(10)
    problem(await client.post("/api/submit", json=BODY, headers=as_ada), 403, "scope_missing")
    assert (await client.get(LIST, headers=as_ada)).status_code == 200


VERSION = f"acme/video:{'0a' * 32}"


@pytest.mark.parametrize(("of_key", "of_token"), [("acme/video", VERSION), (VERSION, VERSION), (VERSION, "acme/video")])
async def test_a_version_that_its_key_and_a_token_both_allow_is_submitted(
    world: World, client: httpx.AsyncClient, of_key: str, of_token: str
) -> None:
    made = await made_key(client)
    wanted = {"user_id": "ada", "scopes": ["submit"], "models": [of_token]}
    token = (await client.post("/api/tokens", json=wanted, headers=bearer(made))).json()["token"]
    await operate(client, "PATCH", f"/{made['id']}", defaults={"models": [of_key]})
    world.manual.advance(10)
    for model, status in ((VERSION, 202), ("acme/video", 403), (VERSION.replace("0a", "0b"), 403)):
        headers = {"Authorization": f"Bearer {token}"}
        answer = await client.post("/api/submit", json=BODY | {"model": model}, headers=headers)
        assert answer.status_code == status, model


async def test_what_was_good_once_is_no_guess(clock: ManualClock) -> None:
    """A page whose token has ended asks for a new one, and its address is not at fault."""
    async with make_world(None, clock, failed_auth_rate="2/minute") as world, http_client() as client:
        by_clock(world.runtime, world.manual)
        made = await made_key(client)
        token = (await client.post("/api/tokens", json={"user_id": "ada"}, headers=bearer(made))).json()["token"]
        await operate(client, "POST", f"/{made['id']}/revoke")
        world.manual.advance(10)
        for _ in range(5):
            problem(await client.get(LIST, headers={"Authorization": f"Bearer {token}"}), 401, "invalid_token")
            problem(await client.get(LIST, headers=bearer(made)), 401, "unauthenticated")


async def test_a_key_that_a_lagging_replica_lacks_is_asked_for_again(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, read = await made_key(client), world.runtime.keys.ring._keys.read

    async def lagging(_: str) -> None:
        return None

    monkeypatch.setattr(world.runtime.keys.ring._keys, "read", lagging)
    assert await listed(client, made) == 401
    monkeypatch.setattr(world.runtime.keys.ring._keys, "read", read)
    assert await listed(client, made) == 200


async def test_a_record_of_a_later_release_is_read(world: World, client: httpx.AsyncClient) -> None:
    made, place = await made_key(client), world.runtime.queue.keys.api_keys
    record = json.loads(await world.raw("HGET", place, made["id"]))
    record["defaults"]["colour"] = record["shape"] = "new"
    await world.raw("HSET", place, made["id"], json.dumps(record))
    assert await listed(client, made) == 200
    assert (await operate(client, "POST", f"/{made['id']}/revoke")).json()["state"] == "revoked"


@pytest.mark.parametrize(
    ("defaults", "body", "field"),
    [
        ({"models": ["acme/video"]}, {"model": "acme/other"}, "model"),
        ({"providers": ["replicate"], "models": ["acme/other"]}, {}, "model"),
    ],
)
async def test_a_key_asks_for_its_models_alone(
    client: httpx.AsyncClient, defaults: dict[str, Any], body: dict[str, Any], field: str
) -> None:
    made = await made_key(client, defaults=defaults)
    refused = await client.post("/api/submit", json=BODY | body, headers=bearer(made))
    assert problem(refused, 403, "not_permitted")["field"] == field
    batch = {"user_id": "ada", "model": "acme/else", "jobs": [{"input": {"prompt": "x"}}]}
    problem(await client.post("/api/batches", json=batch, headers=bearer(made)), 403, "not_permitted")
