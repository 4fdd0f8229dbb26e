"""The audit: what operators do, and who is erased, in the log and in the store."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.errors import StoreUnavailable
from shared.signing.derived import user_tag
from tests.access.stored_keys import KEYS, bearer, made_key, operate, stored
from tests.http.calls import problem
from tests.logs import all_logs
from tests.world import AUTH, OPERATOR, World, http_client, make_world

AUDIT, LIMITS = "/api/operate/audit", "/api/operate/limits"
SETTLED = {"outcome": "not_made"}


@pytest.fixture
async def world(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    """A deployment that keeps 50 entries."""
    async with make_world(any_store, clock, audit_entries=50) as made:
        yield made


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client without credentials."""
    async with http_client() as made:
        yield made


async def entries(client: httpx.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    """The newest entries."""
    answer = await client.get(f"{AUDIT}{query}", headers=OPERATOR)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


def told(entry: dict[str, Any]) -> tuple[str, str, list[str], str]:
    return entry["by"], entry["what"], entry["about"], entry["outcome"]


async def test_each_act_on_a_key_is_noted_without_its_secret(world: World, client: httpx.AsyncClient) -> None:
    ops = await made_key(client, owner="ops", scopes=["operate"])
    made = await made_key(client)
    by = f"key {ops['id']} of ops"
    await client.patch(f"{KEYS}/{made['id']}", json={"label": "x", "scopes": ["read"]}, headers=bearer(ops))
    new = (await client.post(f"{KEYS}/{made['id']}/rotate", headers=bearer(ops))).json()
    await operate(client, "POST", f"/{made['id']}/revoke")
    found = await entries(client)
    assert [told(entry) for entry in reversed(found)] == [
        ("operator", "key.create", [ops["id"], "ops"], "done"),
        ("operator", "key.create", [made["id"], "shop"], "done"),
        (by, "key.change", [made["id"], "label", "scopes"], "done"),
        (by, "key.rotate", [made["id"], new["id"]], "done"),
        ("operator", "key.revoke", [made["id"]], "done"),
    ]
    assert len({entry["id"] for entry in found}) == 5
    kept = await stored(world)
    assert all(key["secret"][21:] not in kept for key in (ops, made, new))


async def test_what_operators_do_to_jobs_and_limits_is_noted(world: World, client: httpx.AsyncClient) -> None:
    change = {"system": 3, "queues": {"video": None}, "users": [{"key": "app", "user_id": "ada", "concurrency": 1}]}
    await world.enqueue()
    calls = [
        ("POST", "/api/operate/cancel", {"filter": {"key": "app"}}),
        ("POST", "/api/operate/purge", {"ids": ["job_1"], "dry_run": True}),
        ("PATCH", LIMITS, change), ("POST", "/api/operate/make-room", {}),
        ("POST", "/api/operate/dead-letters/redrive", {"all": True}),
        ("POST", "/api/operate/dead-letters/redrive", {"all": True, "dry_run": True}),
    ]  # fmt: skip
    for method, path, body in calls:
        assert (await client.request(method, path, json=body, headers=OPERATOR)).status_code == 200
    assert [told(entry)[1:] for entry in reversed(await entries(client))] == [
        ("jobs.cancel", ["1 canceled", '{"key":"app"}'], "done"),
        ("jobs.try", ["job_1"], "done"),
        ("limits.change", ["system 3", "queue video None", "user app:ada 1"], "done"),
        ("room.make", ["0 jobs"], "done"),
        ("dead-letters.redrive", [], "done"),
        ("dead-letters.try", [], "done"),
    ]


async def test_an_act_that_is_refused_is_noted_with_its_error(client: httpx.AsyncClient) -> None:
    unknown = "0" * 12
    problem(await operate(client, "POST", f"/{unknown}/revoke"), 404, "key_not_found")
    letter = await client.delete("/api/operate/dead-letters/job_9", headers=OPERATOR)
    problem(letter, 404, "job_not_found")
    settled = await client.post("/api/operate/jobs/job_9/settle", json={"as": "not_made"}, headers=OPERATOR)
    assert settled.status_code in (404, 422)
    noted = [told(entry)[1:] for entry in reversed(await entries(client))]
    unread = await client.get("/api/operate/jobs/job_9/input", headers=OPERATOR)
    problem(unread, 404, "job_not_found")
    assert told((await entries(client))[0])[1:] == ("input.read", ["job_9"], "job_not_found")
    assert noted[:2] == [
        ("key.revoke", [unknown], "key_not_found"),
        ("dead-letter.drop", ["job_9"], "job_not_found"),
    ]


async def test_a_key_in_a_path_is_not_noted(world: World, client: httpx.AsyncClient) -> None:
    """On the day of a leak, a path may hold the whole key in place of its id."""
    made = await made_key(client)
    with all_logs() as lines:
        for path in (made["secret"], f"x{made['secret']}", "a" * 5000, "a%0Ab"):
            await operate(client, "POST", f"/{path}/revoke")
    noted = [told(entry)[2] for entry in await entries(client)]
    assert noted[:3] == [["a b"], ["a" * 200], [f"xsk_live_{made['id']}..."]]
    assert made["secret"][21:] not in await stored(world) + str(lines)


async def test_an_act_that_ends_in_a_bug_is_in_the_log(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(world.runtime.bulk, "cancel", broken)
    async with http_client() as client:
        with all_logs() as lines:
            answer = await client.post("/api/operate/cancel", json={"all": True}, headers=OPERATOR)
    assert answer.status_code == 500
    assert [line["outcome"] for line in lines if line["event"] == "audit"] == ["internal_error"]


async def test_an_erasure_is_noted_without_the_users_id(world: World, client: httpx.AsyncClient) -> None:
    assert (await client.delete("/api/users?user_id=ada", headers=AUTH)).status_code == 200
    tag = user_tag(world.runtime.settings.signing_key, "app", "ada")
    (entry,) = await entries(client)
    assert told(entry) == ("key app", "user.erase", [tag], "done")


async def test_pages_go_on_where_they_ended_and_the_oldest_entries_go(client: httpx.AsyncClient) -> None:
    for n in range(7):
        await client.patch(LIMITS, json={"system": n}, headers=OPERATOR)
    seen, cursor = list[str](), ""  # the cursor as a part of the query
    for _ in range(3):
        page = (await client.get(f"{AUDIT}?limit=3{cursor}", headers=OPERATOR)).json()
        assert page["kept"] == 50
        seen += [entry["about"][0] for entry in page["entries"]]
        cursor = f"&cursor={page['next_cursor']}"
        await client.patch(LIMITS, json={}, headers=OPERATOR)  # later entries do not move the walk
    assert page["next_cursor"] is None
    assert seen == [f"system {n}" for n in reversed(range(7))]


async def test_no_more_entries_are_kept_than_the_setting_says(world: World) -> None:
    audit = world.runtime.keys.audit._audit
    for n in range(400):
        await audit.append({"what": str(n)}, 50)
    # An engine drops whole nodes of a hundred entries.
    assert 50 <= await world.raw("XLEN", world.runtime.queue.keys.audit) <= 150


@pytest.mark.parametrize("cursor", ["x", "1", "-", "1-1-1", "9" * 20 + "-0", "%2B"])
async def test_a_cursor_that_cannot_be_is_refused(client: httpx.AsyncClient, cursor: str) -> None:
    refused = await client.get(f"{AUDIT}?cursor={cursor}", headers=OPERATOR)
    assert problem(refused, 422, "invalid_request")["field"] == "cursor"


async def test_an_entry_that_cannot_be_written_loses_no_answer_and_is_in_the_log(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = world.runtime.store.execute

    async def refusing(*command: str) -> Any:
        if command[0] == "XADD":
            raise StoreUnavailable
        return await execute(*command)

    monkeypatch.setattr(world.runtime.store, "execute", refusing)
    with all_logs() as lines:
        made = await made_key(client)
    assert [line["event"] for line in lines if line["event"].startswith("audit")] == ["audit", "audit_not_stored"]
    (line,) = [line for line in lines if line["event"] == "audit"]
    assert (line["by"], line["what"], line["about"], line["outcome"]) == (
        "operator", "key.create", [made["id"], "shop"], "done",
    )  # fmt: skip
    assert made["secret"] not in str(lines) and await entries(client) == []


async def test_without_the_setting_the_log_alone_has_the_acts(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock), http_client() as client:
        with all_logs() as lines:
            await made_key(client)
        assert [line["what"] for line in lines if line["event"] == "audit"] == ["key.create"]
        page = (await client.get(AUDIT, headers=OPERATOR)).json()
        assert page == {"entries": [], "kept": 0, "next_cursor": None}


async def test_an_entry_costs_one_command(valkey: RunningServer, clock: ManualClock) -> None:
    costs = []
    for kept in (0, 50):
        async with make_world(valkey, clock, audit_entries=kept), http_client() as client:
            valkey.reset_bill()
            await made_key(client)
            costs.append((valkey.bill().calls, valkey.bill().billed))
    assert costs == [(1, 3), (2, 4)]
