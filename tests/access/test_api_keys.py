"""API keys of the store: what proves them, what they may do, and how they end."""

import json
import string
from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock, iso
from shared.errors import StoreRefused, StoreUnavailable
from shared.signing.api_keys import digest_of_key, id_of, is_key_of, mint
from tests.access.stored_keys import KEYS, bearer, by_clock, listed, made_key, operate, stored
from tests.http.calls import BODY, problem
from tests.world import AUTH, OPERATOR, World, http_client, make_world

LIST, LIMITS = "/api/jobs", "/api/operate/limits"


def test_a_key_names_itself_and_only_the_deployment_that_made_it_knows_it() -> None:
    made = mint("s" * 32)
    assert made.secret.startswith(f"sk_live_{made.id}_") and len(made.secret) == 63
    assert id_of(made.secret, "s" * 32) == made.id
    assert id_of(made.secret, "t" * 32) is None
    assert mint("s" * 32).id != made.id
    digest = digest_of_key(made.secret)
    assert is_key_of(made.secret, digest) and not is_key_of(made.secret + "x", digest)
    assert not is_key_of(made.secret, "é") and made.secret[21:] not in digest


def test_any_other_text_is_no_key() -> None:
    secret = mint("s" * 32).secret
    letters = string.ascii_letters + string.digits
    changed = [
        secret[:at] + next(c for c in letters if c != secret[at]) + secret[at + 1 :] for at in range(8, 63) if at != 20
    ]
    others = [secret.upper(), secret + "\n", secret[:-1], secret + "0", " " + secret, "sk_live_", "sk_live_é", ""]
    assert [text for text in (*changed, *others) if id_of(text, "s" * 32)] == []


async def test_a_new_key_is_shown_once_and_the_store_has_no_part_of_its_secret(
    world: World, client: httpx.AsyncClient
) -> None:
    made = await made_key(client, label="the shop's server", scopes=["read", "submit"])
    shown = (await operate(client, "GET", f"/{made['id']}")).json()
    assert shown == {name: value for name, value in made.items() if name not in ("secret", "hook_secrets")}
    assert (shown["owner"], shown["label"], shown["state"]) == ("shop", "the shop's server", "active")
    assert (shown["scopes"], shown["last_used_at"]) == (["read", "submit"], None)
    assert made["hook_secrets"][0].startswith("whsec_")
    assert made["secret"][21:] not in await stored(world)
    job = await client.post("/api/submit", json=BODY, headers=bearer(made))
    assert job.status_code == 202
    assert await listed(client, made) == 200
    assert (await client.get(f"/api/status/{job.json()['id']}", headers=AUTH)).status_code == 404


async def test_keys_of_one_owner_reach_the_same_jobs(client: httpx.AsyncClient) -> None:
    first, second, other = [await made_key(client, owner=owner) for owner in ("shop", "shop", "shop.eu")]
    job = (await client.post("/api/submit", json=BODY, headers=bearer(first))).json()["id"]
    for made, status in ((first, 200), (second, 200), (other, 404)):
        assert (await client.get(f"/api/status/{job}", headers=bearer(made))).status_code == status


async def test_a_wrong_key_is_401_and_only_a_known_id_asks_the_store(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock) as world, http_client() as client:
        made = await made_key(client)
        signing = world.runtime.settings.signing_key
        fresh = mint(signing)
        other_end = made["secret"][:21] + "A" * 42
        valkey.reset_bill()
        for credential in ("sk_live_", "sk_live_é", made["secret"][:-1], other_end, mint("t" * 32).secret):
            answer = await client.get(LIST, headers=[(b"Authorization", f"Bearer {credential}".encode())])
            problem(answer, 401, "unauthenticated")
            assert answer.headers["www-authenticate"].startswith("Bearer")
        assert valkey.bill().calls == 0
        answer = await client.get(LIST, headers={"Authorization": f"Bearer {fresh.secret}"})
        problem(answer, 401, "unauthenticated")
        assert (valkey.bill().calls, valkey.bill().billed) == (1, 1)


async def test_a_wrong_secret_of_a_known_id_is_401(world: World, client: httpx.AsyncClient) -> None:
    """No caller can make such a key: its tag is right. So the test changes the record."""
    made, keys = await made_key(client), world.runtime.queue.keys
    record = json.loads(await world.raw("HGET", keys.api_keys, made["id"]))
    await world.raw("HSET", keys.api_keys, made["id"], json.dumps(record | {"digest": digest_of_key("another")}))
    problem(await client.get(LIST, headers=bearer(made)), 401, "unauthenticated")


async def test_a_key_costs_one_command_in_ten_seconds_and_a_noted_use_one_in_ten_minutes(
    valkey: RunningServer, clock: ManualClock
) -> None:
    async with make_world(valkey, clock) as world, http_client() as client:
        by_clock(world.runtime, clock)
        made = await made_key(client)

        async def cost(headers: dict[str, str]) -> tuple[int, int]:
            valkey.reset_bill()
            assert (await client.get("/api/hooks", headers=headers)).status_code == 200
            return valkey.bill().calls, valkey.bill().billed

        assert await cost(AUTH) == (0, 0)
        assert await cost(bearer(made)) == (2, 2)
        assert await cost(bearer(made)) == (0, 0)
        clock.advance(10)
        assert await cost(bearer(made)) == (1, 1)
        used_at = (await operate(client, "GET", f"/{made['id']}")).json()["last_used_at"]
        clock.advance(600)
        assert await cost(bearer(made)) == (2, 2)
        assert (await operate(client, "GET", f"/{made['id']}")).json()["last_used_at"] > used_at


async def test_a_revoked_key_is_refused_ten_seconds_later_at_most(world: World, client: httpx.AsyncClient) -> None:
    made = await made_key(client)
    assert await listed(client, made) == 200
    revoked = await operate(client, "POST", f"/{made['id']}/revoke")
    assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
    world.manual.advance(9.9)
    assert await listed(client, made) == 200
    world.manual.advance(0.1)
    refused = await client.get(LIST, headers=bearer(made))
    assert problem(refused, 401, "unauthenticated")["detail"] == "The API key is revoked."
    again = await operate(client, "POST", f"/{made['id']}/revoke")
    assert again.json()["revoked_at"] == revoked.json()["revoked_at"]
    by_clock(world.another_process(), world.manual)
    assert await listed(client, made) == 401


async def test_a_key_ends_at_its_time_even_in_a_process_that_has_seen_it(
    world: World, client: httpx.AsyncClient
) -> None:
    made = await made_key(client, expires_at=later(world, 60))
    world.manual.advance(59.9)
    assert await listed(client, made) == 200
    world.manual.advance(0.1)
    refused = await client.get(LIST, headers=bearer(made))
    assert problem(refused, 401, "unauthenticated")["detail"] == "The API key has expired."
    assert (await operate(client, "GET", f"/{made['id']}")).json()["state"] == "expired"
    for path, body in ((f"/{made['id']}", {"label": "x"}), (f"/{made['id']}/rotate", {"overlap": 1})):
        ended = await operate(client, "PATCH" if body.get("label") else "POST", path, **body)
        problem(ended, 409, "key_ended")


def later(world: World, seconds: float) -> str:
    return iso(world.manual.true_now + round(seconds * 1000))


async def test_a_rotated_key_is_good_during_the_overlap_and_its_jobs_stay(
    world: World, client: httpx.AsyncClient
) -> None:
    old = await made_key(client, scopes=["read", "submit"], label="web", defaults={"tier": "premium"})
    job = (await client.post("/api/submit", json=BODY, headers=bearer(old))).json()["id"]
    answer = await operate(client, "POST", f"/{old['id']}/rotate", overlap=5)
    assert answer.status_code == 201
    new = answer.json()
    kept = ("owner", "label", "scopes", "defaults", "expires_at")
    assert {name: new[name] for name in kept} == {name: old[name] for name in kept}
    assert (new["replaces"], new["id"] != old["id"]) == (old["id"], True)
    shown = (await operate(client, "GET", f"/{old['id']}")).json()
    assert (shown["replaced_by"], shown["expires_at"]) == (new["id"], later(world, 300))
    problem(await operate(client, "POST", f"/{old['id']}/rotate"), 409, "key_ended")
    world.manual.advance(299.9)
    for made in (old, new):
        assert (await client.get(f"/api/status/{job}", headers=bearer(made))).status_code == 200
    world.manual.advance(0.1)
    assert [await listed(client, made) for made in (old, new)] == [401, 200]


async def test_a_rotation_never_lengthens_a_life_and_gives_the_new_key_the_old_ones_whole(
    world: World, client: httpx.AsyncClient
) -> None:
    old = await made_key(client, expires_at=later(world, 600))
    world.manual.advance(300)
    new = (await operate(client, "POST", f"/{old['id']}/rotate", overlap=60)).json()
    assert new["expires_at"] == later(world, 600)
    assert (await operate(client, "GET", f"/{old['id']}")).json()["expires_at"] == old["expires_at"]


@pytest.mark.parametrize(
    ("scopes", "method", "path", "missing"),
    [
        (["read"], "POST", "/api/submit", "submit"),
        (["submit"], "GET", LIST, "read"),
        (["read", "submit"], "POST", "/api/jobs/job_1/cancel", "cancel"),
        (["operate"], "GET", "/api/hooks", "manage"),
        (["read", "submit", "cancel", "manage"], "GET", LIMITS, "operate"),
        (["read", "submit", "cancel", "manage"], "POST", KEYS, "operate"),
        (["manage"], "GET", "/api/process-queue", "operate"),
    ],
)
async def test_a_scope_that_a_key_lacks_is_403_and_named(
    client: httpx.AsyncClient, scopes: list[str], method: str, path: str, missing: str
) -> None:
    made = await made_key(client, scopes=scopes)
    refused = await client.request(method, path, headers=bearer(made), json={})
    assert problem(refused, 403, "scope_missing")["detail"] == f"This needs a credential with the scope {missing}."
    assert f'scope="{missing}"' in refused.headers["www-authenticate"]


async def test_a_key_with_the_scope_operate_is_an_operator_until_it_is_revoked(
    world: World, client: httpx.AsyncClient
) -> None:
    made = await made_key(client, owner="ops", scopes=["operate"])
    for path in (LIMITS, KEYS, "/api/process-queue", "/api/operate/audit"):
        assert (await client.get(path, headers=bearer(made))).status_code == 200
    assert (await client.patch(LIMITS, json={"system": 2}, headers=bearer(made))).status_code == 200
    assert (await client.post("/api/process-queue", headers=bearer(made))).status_code == 401
    await operate(client, "POST", f"/{made['id']}/revoke")
    world.manual.advance(10)
    assert (await client.get(LIMITS, headers=bearer(made))).status_code == 401


async def test_a_key_with_the_scope_operate_reads_the_jobs_of_every_owner(client: httpx.AsyncClient) -> None:
    ops, plain = await made_key(client, owner="ops", scopes=["operate"]), await made_key(client)
    job = (await client.post("/api/submit", json=BODY, headers=AUTH)).json()["id"]
    for made, status in ((ops, 200), (plain, 404)):
        assert (await client.get(f"/api/status/{job}", headers=bearer(made))).status_code == status


async def test_without_an_operators_token_a_key_with_the_scope_still_operates(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock) as world, http_client() as client:
        made = await made_key(client, scopes=["operate"])
        world.another_process(operator_token=None)
        assert (await client.get(LIMITS, headers=bearer(made))).status_code == 200
        assert (await client.get(LIMITS, headers=OPERATOR)).status_code == 401


async def test_a_store_that_is_down_stops_only_keys_that_were_not_seen(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, unseen = await made_key(client), await made_key(client)
    assert (await client.get("/api/hooks", headers=bearer(seen))).status_code == 200

    async def down(*_: str) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(world.runtime.store, "execute", down)
    for made, status in ((seen, 200), (unseen, 503)):
        assert (await client.get("/api/hooks", headers=bearer(made))).status_code == status
    assert (await client.get("/api/hooks", headers=AUTH)).status_code == 200
    made_up = {"Authorization": f"Bearer {mint('t' * 32).secret}"}
    assert (await client.get("/api/hooks", headers=made_up)).status_code == 401
    world.manual.advance(10)
    assert (await client.get("/api/hooks", headers=bearer(seen))).status_code == 503


async def test_a_full_store_refuses_no_key(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, execute = await made_key(client), world.runtime.store.execute

    async def full(*command: str) -> Any:
        if command[0] not in ("HMGET", "HGET"):
            raise StoreRefused("it is full")
        return await execute(*command)

    monkeypatch.setattr(world.runtime.store, "execute", full)
    assert (await client.get("/api/hooks", headers=bearer(made))).status_code == 200


async def test_a_record_that_cannot_be_read_is_503_and_no_caller(world: World, client: httpx.AsyncClient) -> None:
    made = await made_key(client)
    await world.raw("HSET", world.runtime.queue.keys.api_keys, made["id"], "{}")
    problem(await client.get(LIST, headers=bearer(made)), 503, "store_error")


async def test_a_request_gets_what_it_leaves_to_its_key(world: World, client: httpx.AsyncClient) -> None:
    url = "https://example.com/hook"
    defaults = {"tier": "premium", "queue": "storyboard", "hook_url": url, "hook_events": ["job.failed"]}
    made, plain = await made_key(client, defaults=defaults), await made_key(client)
    assert made["defaults"] == defaults
    headers = bearer(made) | {"Idempotency-Key": "once"}
    job = (await client.post("/api/submit", json=BODY, headers=headers)).json()["id"]

    async def fields(job_id: str) -> list[str | None]:
        named = ("tier", "queue", "hook_url", "hook_events", "hook_default")
        found: list[str | None] = await world.raw("HMGET", world.runtime.queue.keys.job(job_id), *named)
        return found

    assert await fields(job) == ["premium", "storyboard", url, "failed", None]
    # The request is the same, whatever its key adds.
    again = await client.post("/api/submit", json=BODY, headers=bearer(plain) | {"Idempotency-Key": "once"})
    assert (again.status_code, again.json()["id"]) == (202, job)
    own = BODY | {"tier": "free", "queue": "video", "hook_url": "https://example.com/x"}
    other = (await client.post("/api/submit", json=own, headers=bearer(made))).json()["id"]
    everything = "completed,files,failed,canceled"
    assert await fields(other) == ["free", "video", "https://example.com/x", everything, None]
    batch = {"user_id": "ada", "model": "acme/video", "jobs": [{"input": {"prompt": "x"}}]}
    made_batch = (await client.post("/api/batches", json=batch, headers=bearer(plain))).json()
    assert await world.raw("HGET", world.runtime.queue.keys.batch(made_batch["id"]), "hook_url") == ""
    shown = (await client.get("/api/hooks", headers=bearer(made))).json()
    assert shown == {"url": url, "events": ["job.failed"], "secrets": made["hook_secrets"]}


async def test_a_batch_gets_the_hook_of_its_key(world: World, client: httpx.AsyncClient) -> None:
    url = "https://example.com/hook"
    made = await made_key(client, defaults={"hook_url": url, "tier": "premium"})
    batch = {"user_id": "ada", "model": "acme/video", "jobs": [{"input": {"prompt": "x"}}]}
    made_batch = (await client.post("/api/batches", json=batch, headers=bearer(made))).json()
    keys = world.runtime.queue.keys
    assert await world.raw("HGET", keys.batch(made_batch["id"]), "hook_url") == url
    assert await world.raw("HMGET", keys.job(f"{made_batch['id']}_0"), "tier", "hook_url") == ["premium", ""]
