"""API keys of the store, as the operator makes, changes and lists them."""

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from tests.access.stored_keys import KEYS, bearer, made_key, operate
from tests.costs import COSTS
from tests.http.calls import problem
from tests.world import OPERATOR, World, http_client, make_world

LIST, LIMITS = "/api/jobs", "/api/operate/limits"


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client without credentials."""
    async with http_client() as made:
        yield made


async def test_a_change_touches_what_it_names_and_null_lifts_a_default(client: httpx.AsyncClient) -> None:
    made = await made_key(client, label="a", defaults={"tier": "premium", "queue": "storyboard"})
    changed = await operate(client, "PATCH", f"/{made['id']}", defaults={"tier": None, "models": ["acme/video"]})
    assert changed.json()["defaults"] == {"queue": "storyboard", "models": ["acme/video"]}
    assert changed.json()["label"] == "a"
    renamed = (await operate(client, "PATCH", f"/{made['id']}", label="b", scopes=["read"])).json()
    assert (renamed["label"], renamed["scopes"], renamed["defaults"]) == ("b", ["read"], changed.json()["defaults"])


async def test_two_changes_at_once_are_both_kept_and_a_late_copy_changes_nothing(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, store, sent = await made_key(client, label="a"), world.runtime.store, []
    execute, between = store.execute, iter([{"scopes": ["read"]}])

    async def crossed(*command: str) -> Any:
        if command[0] == "EVAL":
            sent.append(command)
            for change in between:
                assert (await operate(client, "PATCH", f"/{made['id']}", **change)).status_code == 200
        return await execute(*command)

    monkeypatch.setattr(store, "execute", crossed)
    changed = (await operate(client, "PATCH", f"/{made['id']}", label="b")).json()
    assert (changed["label"], changed["scopes"]) == ("b", ["read"])
    last = (await operate(client, "PATCH", f"/{made['id']}", label="c")).json()
    for command in sent:
        await execute(*command)
    assert (await operate(client, "GET", f"/{made['id']}")).json() == last


async def test_a_change_that_loses_each_race_says_so_and_not_that_the_store_is_silent(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, store, number = await made_key(client, label="a"), world.runtime.store, 0
    execute = store.execute

    async def crossed(*command: str) -> Any:
        nonlocal number
        if command[0] == "EVAL" and (number := number + 1) % 2:
            assert (await operate(client, "PATCH", f"/{made['id']}", label=f"of {number}")).status_code == 200
        return await execute(*command)

    monkeypatch.setattr(store, "execute", crossed)
    lost = problem(await operate(client, "PATCH", f"/{made['id']}", scopes=["read"]), 409, "changed_meanwhile")
    assert lost["retryable"] and "not applied" in lost["detail"]
    monkeypatch.undo()
    assert (await operate(client, "GET", f"/{made['id']}")).json()["scopes"] != ["read"]


async def test_users_of_the_owner_of_a_key_can_be_limited(client: httpx.AsyncClient) -> None:
    await made_key(client)
    for owner, status in (("shop", 200), ("sho", 422)):
        change = {"users": [{"key": owner, "user_id": "ada", "concurrency": 1}]}
        assert (await client.patch(LIMITS, json=change, headers=OPERATOR)).status_code == status


async def test_an_operation_on_keys_costs_what_the_table_says(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock, audit_entries=50), http_client() as client:
        made, counted = await made_key(client), {}

        async def count(name: str, call: Awaitable[httpx.Response]) -> None:
            valkey.reset_bill()
            assert (await call).status_code < 300
            counted[name] = (valkey.bill().calls, valkey.bill().billed)

        path = f"/{made['id']}"
        await count("make an API key, with the audit", client.post(KEYS, json={"owner": "shop"}, headers=OPERATOR))
        await count("page of API keys", operate(client, "GET", ""))
        await count("read an API key", operate(client, "GET", path))
        await count("change an API key, with the audit", operate(client, "PATCH", path, label="x"))
        await count("rotate an API key, with the audit", operate(client, "POST", f"{path}/rotate", overlap=1))
        await count("revoke an API key, with the audit", operate(client, "POST", f"{path}/revoke"))
        await count("page of the audit", client.get("/api/operate/audit", headers=OPERATOR))
        assert counted == {name: COSTS[name] for name in counted}


async def test_a_repeated_write_of_a_key_answers_as_the_first(world: World) -> None:
    keys = world.runtime.keys.issued._keys
    assert await keys.put("0" * 12, "", "{}", "shop") and await keys.put("0" * 12, "", "{}", "shop")
    assert not await keys.put("0" * 12, "", '{"label":"x"}', "shop")
    assert (await keys.has_owner("shop"), await keys.has_owner("sho")) == (True, False)


async def test_pages_show_each_key_and_no_secret(world: World, client: httpx.AsyncClient) -> None:
    made = [await made_key(client, owner=f"owner{n}") for n in range(12)]
    await client.get(LIST, headers=bearer(made[0]))
    shown, cursor = dict[str, Any](), "0"
    while cursor is not None:
        answer = await operate(client, "GET", f"?limit=5&cursor={cursor}")
        assert "secret" not in answer.text
        shown |= {key["id"]: key for key in answer.json()["keys"]}
        cursor = answer.json()["next_cursor"]
    assert shown.keys() == {key["id"] for key in made}
    assert {key for key, value in shown.items() if value["last_used_at"]} == {made[0]["id"]}


async def test_a_deployment_without_keys_has_an_empty_page(client: httpx.AsyncClient) -> None:
    assert (await operate(client, "GET", "")).json() == {"keys": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "owner"),
        ({"owner": "a:b"}, "owner"),
        ({"owner": "shop", "scopes": []}, "scopes"),
        ({"owner": "shop", "scopes": ["all"]}, "scopes[0]"),
        ({"owner": "shop", "scopes": "read"}, "scopes"),
        ({"owner": "shop", "label": "x" * 501}, "label"),
        ({"owner": "shop", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"owner": "shop", "expires_at": "tomorrow"}, "expires_at"),
        ({"owner": "shop", "expires_at": "2999-01-01T00:00:00"}, "expires_at"),
        ({"owner": "shop", "expires_at": "9999-12-31T23:59:59Z"}, "expires_at"),
        ({"owner": "shop", "expires_at": "2999-01-01T00:00:00Z"}, "expires_at"),
        ({"owner": "shop", "expires_at": 4_000_000_000_000}, "expires_at"),
        ({"owner": "shop", "expires_at": ""}, "expires_at"),
        ({"owner": "shop", "defaults": {"models": [""]}}, "defaults.models[0]"),
        ({"owner": "shop", "defaults": {"models": ["a/b", "a/b\n"]}}, "defaults.models"),
        ({"owner": "shop", "defaults": {"models": ["a/\u0000b"]}}, "defaults.models"),
        ({"owner": "shop", "defaults": {"models": [" a/b"]}}, "defaults.models"),
        ({"owner": "shop", "defaults": {"models": ["*"]}}, "defaults.models"),
        ({"owner": "shop", "defaults": {"models": ["acme/video", "acme/video:x"]}}, "defaults.models"),
        ({"owner": "shop", "defaults": {"models": ["\u202ea/b"]}}, "defaults.models"),
        ({"owner": "shop", "defaults": {"models": ["a/b", "c/d", "a/b"]}}, "defaults.models"),
        ({"owner": "shop", "defaults": {"providers": ["replicate", "replicate"]}}, "defaults.providers"),
        ({"owner": "shop", "secret": "mine"}, "secret"),
        ({"owner": "shop", "defaults": {"tier": "gold"}}, "defaults.tier"),
        ({"owner": "shop", "defaults": {"queue": "nowhere"}}, "queue"),
        ({"owner": "shop", "defaults": {"providers": ["nobody"]}}, "defaults.providers"),
        ({"owner": "shop", "defaults": {"models": []}}, "defaults.models"),
        ({"owner": "shop", "defaults": {"limits": {"submit_rate": "often"}}}, "defaults.limits.submit_rate"),
        ({"owner": "shop", "defaults": {"hook_url": "http://10.0.0.1/"}}, "hook_url"),
        ({"owner": "shop", "defaults": {"color": "red"}}, "defaults"),
    ],
)
async def test_a_key_that_cannot_be_is_refused_by_name(
    world: World, client: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    answer = await client.post(KEYS, json=body, headers=OPERATOR)
    assert problem(answer, 422, "invalid_request")["field"] == field
    assert await world.raw("EXISTS", world.runtime.queue.keys.api_keys) == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"label": None}, "label"),
        ({"scopes": None}, "scopes"),
        ({"owner": "x"}, "owner"),
        ({"scopes": []}, "scopes"),
        ({"defaults": None}, "defaults"),
    ],
)
async def test_a_change_that_cannot_be_is_refused_by_name(
    client: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    made = await made_key(client)
    answer = await operate(client, "PATCH", f"/{made['id']}", **body)
    assert problem(answer, 422, "invalid_request")["field"] == field


@pytest.mark.parametrize("end", [None, "2099-01-01T00:00:00Z"])
async def test_the_end_of_a_rotated_key_stays(client: httpx.AsyncClient, end: str | None) -> None:
    made = await made_key(client)
    await operate(client, "POST", f"/{made['id']}/rotate", overlap=60)
    answer = await operate(client, "PATCH", f"/{made['id']}", expires_at=end)
    assert problem(answer, 422, "invalid_request")["field"] == "expires_at"


@pytest.mark.parametrize("overlap", [-1, 10_081, 1.5, "60"])
async def test_an_overlap_is_bounded(client: httpx.AsyncClient, overlap: object) -> None:
    made = await made_key(client)
    answer = await operate(client, "POST", f"/{made['id']}/rotate", overlap=overlap)
    assert problem(answer, 422, "invalid_request")["field"] == "overlap"


@pytest.mark.parametrize("key_id", ["0" * 12, "x", "@shop", "é", "0" * 300])
async def test_an_unknown_key_is_404(client: httpx.AsyncClient, key_id: str) -> None:
    await made_key(client)
    for method, path in (("GET", ""), ("POST", "/rotate"), ("POST", "/revoke")):
        problem(await operate(client, method, f"/{key_id}{path}"), 404, "key_not_found")
    problem(await operate(client, "PATCH", f"/{key_id}", label="x"), 404, "key_not_found")
