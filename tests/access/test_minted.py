"""Tokens that an application mints for its users: what they reach, and what they may not."""

import subprocess
import sys
from typing import Any

import httpx
import pytest

from shared.access.caller import Caller, Role
from shared.access.errors import NotPermitted
from shared.access.scope import Scope
from shared.jobs.tokens import TokenRequest
from shared.signing.derived import nonce, token_key
from tests.access.issuing import NOW, bearer, minted, signed, user_of
from tests.http.calls import BODY, problem
from tests.world import AUTH, OPERATOR, OTHER_AUTH, World

BATCH = {"model": "acme/video", "jobs": [{"input": {}}]}
OF_ADA = {name: value for name, value in BODY.items() if name != "user_id"}


async def test_a_user_submits_polls_and_cancels_as_themselves(world: World, client: httpx.AsyncClient) -> None:
    ada = await user_of(client)
    job = (await client.post("/api/submit", json=OF_ADA, headers=ada)).json()["id"]
    assert (await world.runtime.records.read(job)).user == "ada"
    assert (await client.get(f"/api/status/{job}", headers=ada)).json()["id"] == job
    assert (await client.post(f"/api/jobs/{job}/cancel", headers=ada)).status_code in (200, 202)
    batch = (
        await client.post("/api/batches", json={"model": "acme/video", "jobs": [{"input": {}}]}, headers=ada)
    ).json()
    assert (await client.get(f"/api/batches/{batch['id']}", headers=ada)).status_code == 200
    assert (await client.post(f"/api/batches/{batch['id']}/cancel", headers=ada)).status_code in (200, 202)
    assert {job["id"] for job in (await client.get("/api/jobs", headers=ada)).json()["jobs"]} == {
        job,
        f"{batch['id']}_0",
    }
    upload = {"content_type": "image/png", "size": 5}
    assert (await client.post("/api/uploads", json=upload, headers=ada)).status_code == 201


async def test_another_users_job_is_answered_like_one_that_does_not_exist(
    world: World, client: httpx.AsyncClient
) -> None:
    bob = await user_of(client, "bob")
    job = (await client.post("/api/submit", json=BODY, headers=AUTH)).json()["id"]
    wanted = {"user_id": "ada", "model": "acme/video", "jobs": [{"input": {}}]}
    batch = (await client.post("/api/batches", json=wanted, headers=AUTH)).json()["id"]
    shown = await client.get(f"/api/status/{job}", headers=AUTH)  # it is in the cache now
    assert (await client.get(f"/api/batches/{batch}", headers=AUTH)).status_code == 200
    calls = [
        ("GET", "/api/status/{}", job), ("GET", "/api/jobs/{}/result", job), ("POST", "/api/jobs/{}/cancel", job),
        ("GET", "/api/batches/{}", batch), ("POST", "/api/batches/{}/cancel", batch),
        ("GET", "/api/status/{}", f"{batch}_0"),
    ]  # fmt: skip
    for method, path, made in calls:
        headers = bob | {"If-None-Match": shown.headers["etag"]}
        found = await client.request(method, path.format(made), headers=headers)
        missing = await client.request(method, path.format("job_" + "0" * 32), headers=headers)
        assert (found.status_code, found.content) == (missing.status_code, missing.content), path
        assert found.status_code == 404 and "etag" not in found.headers
    assert (await client.get("/api/jobs", headers=bob)).json() == {"jobs": [], "next_cursor": None}
    assert (await world.runtime.records.read(job)).outcome is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"user_id": "bob"}, "user_id"), ({"user_id": None}, "user_id"), ({"tier": "pro"}, "tier"),
        ({"hook_url": "https://example.com/"}, "hook_url"), ({"hook_events": ["job.failed"]}, "hook_events"),
        ({"priority": 5}, "priority"), ({"token": True}, "token"),
    ],
)  # fmt: skip
async def test_a_body_that_says_otherwise_is_refused(
    client: httpx.AsyncClient, changes: dict[str, Any], field: str
) -> None:
    ada = await user_of(client)
    for path, body in (("/api/submit", OF_ADA), ("/api/batches", BATCH)):
        if path == "/api/batches" and field == "token":
            continue
        refused = problem(await client.post(path, json=body | changes, headers=ada), 403, "not_permitted")
        assert refused["field"] == field
    if field == "user_id":
        upload = {"content_type": "image/png", "size": 5} | changes
        problem(await client.post("/api/uploads", json=upload, headers=ada), 403, "not_permitted")
    assert (await client.get("/api/jobs", headers=AUTH)).json()["jobs"] == []


async def test_a_job_of_a_batch_says_no_more_than_the_token(client: httpx.AsyncClient) -> None:
    ada, jobs = await user_of(client), [{"input": {}}, {"input": {}, "priority": 1}]
    refused = await client.post("/api/batches", json={"model": "acme/video", "jobs": jobs}, headers=ada)
    assert problem(refused, 403, "not_permitted")["field"] == "jobs.1.priority"
    odd: Any
    for odd in ("jobs", ["job"], [None], {}):
        problem(await client.post("/api/batches", json={"jobs": odd}, headers=ada), 422, "invalid_request")


async def test_a_query_that_says_otherwise_is_refused(client: httpx.AsyncClient) -> None:
    ada = await user_of(client)
    assert (await client.get("/api/jobs?user_id=ada", headers=ada)).status_code == 200
    assert problem(await client.get("/api/jobs?user_id=bob", headers=ada), 403, "not_permitted")["field"] == "user_id"


async def test_what_the_token_says_is_what_the_job_gets(world: World, client: httpx.AsyncClient) -> None:
    ada = await user_of(client, tier="premium", models=["acme/video"], providers=["replicate"])
    for body in (OF_ADA, OF_ADA | {"tier": "premium", "user_id": "ada"}, OF_ADA | {"model": "acme/video:" + "0" * 64}):
        job = (await client.post("/api/submit", json=body, headers=ada)).json()["id"]
        assert await world.raw("HGET", world.runtime.queue.keys.job(job), "tier") == "premium"
    for body in (OF_ADA | {"model": "acme/other"}, OF_ADA | {"model": "acme/video2"}):
        assert (
            problem(await client.post("/api/submit", json=body, headers=ada), 403, "not_permitted")["field"] == "model"
        )
    batch = {"model": "acme/video", "jobs": [{"input": {}}, {"input": {}, "model": "acme/other"}]}
    refused = await client.post("/api/batches", json=batch, headers=ada)
    assert problem(refused, 403, "not_permitted")["field"] == "model"


async def test_a_provider_that_the_token_does_not_name_is_refused(world: World, client: httpx.AsyncClient) -> None:
    elsewhere = await user_of(client)
    world.another_process(providers="replicate,wavespeed", wavespeed_api_key="w" * 20)
    other = await user_of(client, providers=["wavespeed"])
    for body in (OF_ADA, OF_ADA | {"provider": "replicate"}):
        refused = problem(await client.post("/api/submit", json=body, headers=other), 403, "not_permitted")
        assert refused["field"] == "provider"
    assert (await client.post("/api/submit", json=OF_ADA, headers=elsewhere)).status_code == 202


async def test_idempotency_keys_of_two_users_and_of_their_application_never_meet(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "the same"}
    bodies = {"ada": await user_of(client), "bob": await user_of(client, "bob")}
    ids = {}
    for user, headers in bodies.items():
        first = await client.post("/api/submit", json=OF_ADA, headers=headers | key)
        again = await client.post("/api/submit", json=OF_ADA | {"token": False}, headers=headers | key)
        assert first.status_code == again.status_code == 202 and first.json()["id"] == again.json()["id"]
        ids[user] = first.json()["id"]
    ids["app"] = (await client.post("/api/submit", json=BODY, headers=AUTH | key)).json()["id"]
    batch = {"model": "acme/video", "jobs": [{"input": {}}]}
    batches = [
        (await client.post("/api/batches", json=batch, headers=headers | key)).json() for headers in bodies.values()
    ]
    assert len(set(ids.values())) == 3 and batches[0]["id"] != batches[1]["id"]


async def test_a_submit_may_answer_with_a_token_that_reads_its_job_and_nothing_else(client: httpx.AsyncClient) -> None:
    receipt = (await client.post("/api/submit", json=BODY | {"token": True}, headers=AUTH)).json()
    reader = bearer(receipt["token"]["token"])
    assert (await client.get(f"/api/status/{receipt['id']}", headers=reader)).status_code == 200
    problem(await client.post(f"/api/jobs/{receipt['id']}/cancel", headers=reader), 403, "scope_missing")
    other = (await client.post("/api/submit", json=BODY, headers=AUTH)).json()
    assert "token" not in other
    problem(await client.get(f"/api/status/{other['id']}", headers=reader), 404, "job_not_found")
    problem(await client.get("/api/jobs", headers=reader), 403, "not_permitted")


async def test_a_token_of_one_job_is_for_its_user_too(client: httpx.AsyncClient) -> None:
    job = (await client.post("/api/submit", json=BODY, headers=AUTH)).json()["id"]
    bob = bearer(await minted(client, "bob", job_id=job))
    problem(await client.get(f"/api/status/{job}", headers=bob), 404, "job_not_found")


async def test_a_token_ends_in_time_and_with_its_key(world: World, client: httpx.AsyncClient) -> None:
    ada = await user_of(client, minutes=1)
    world.manual.advance(59)
    assert (await client.get("/api/jobs", headers=ada)).status_code == 200
    world.manual.advance(1)
    expired = await client.get("/api/jobs", headers=ada)
    assert problem(expired, 401, "invalid_token")["detail"] == "The token has expired."
    assert expired.headers["www-authenticate"] == 'Bearer realm="sluice", error="invalid_token"'
    ada = await user_of(client)
    world.another_process(api_keys="another:another-key-of-the-app-in-tests", jwt_owner="another")
    problem(await client.get("/api/jobs", headers=ada), 401, "invalid_token")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"user_id": ""}, "user_id"), ({"scopes": []}, "scopes"), ({"scopes": ["manage"]}, "scopes[0]"),
        ({"tier": "gold"}, "tier"), ({"minutes": 0}, "minutes"), ({"minutes": 1441}, "minutes"), ({"more": 1}, "more"),
        ({"job_id": "job_1", "batch_id": "bat_1"}, "batch_id"), ({"job_id": "a b"}, "job_id"),
        ({"job_id": "job_1", "scopes": ["submit"]}, "scopes"), ({"providers": ["acme"]}, "providers"),
        ({"models": []}, "models"), ({"models": ["no model"]}, "models[0]"),
    ],
)  # fmt: skip
async def test_a_token_that_cannot_be_is_refused_with_its_field(
    client: httpx.AsyncClient, asked: dict[str, Any], field: str
) -> None:
    answer = await client.post("/api/tokens", json={"user_id": "ada"} | asked, headers=AUTH)
    assert problem(answer, 422, "invalid_request")["field"] == field


async def test_a_token_that_no_header_could_carry_is_not_minted(client: httpx.AsyncClient) -> None:
    models = [f"acme/{'m' * 60}{number}/{'n' * 60}/{'o' * 60}" for number in range(20)]
    asked = {"user_id": "界" * 128, "models": models}
    assert (
        problem(await client.post("/api/tokens", json=asked, headers=AUTH), 403, "not_permitted")["field"] == "models"
    )


async def test_only_an_api_key_mints_tokens(client: httpx.AsyncClient) -> None:
    wanted = {"user_id": "ada"}
    problem(await client.post("/api/tokens", json=wanted, headers=await user_of(client)), 403, "scope_missing")
    problem(await client.post("/api/tokens", json=wanted, headers=OPERATOR), 401, "unauthenticated")
    token = (await client.post("/api/tokens", json=wanted, headers=OTHER_AUTH)).json()["token"]
    await client.post("/api/submit", json=BODY, headers=AUTH)
    assert (await client.get("/api/jobs", headers=bearer(token))).json()["jobs"] == []


async def test_no_other_signature_of_the_deployment_is_a_token(world: World, client: httpx.AsyncClient) -> None:
    secret = world.runtime.settings.signing_key
    right = {
        "iss": "sluice", "aud": f"sluice:{world.runtime.settings.prefix}", "sub": "ada", "key": "app", "scope": "read",
        "iat": NOW, "exp": NOW + 60,
    }  # fmt: skip
    typed = {"typ": "sluice+jwt"}
    assert (await client.get("/api/jobs", headers=bearer(signed(right, typed, token_key(secret))))).status_code == 200
    for claims in (
        right | {"aud": "sluice:another"}, right | {"iss": "Upstash"}, right | {"scope": "read manage"},
        right | {"scope": "all"}, right | {"sub": ""}, right | {"sub": 7}, right | {"key": "nobody"},
        right | {"exp": str(NOW + 60)}, {name: value for name, value in right.items() if name != "exp"},
    ):  # fmt: skip
        refused = await client.get("/api/jobs", headers=bearer(signed(claims, typed, token_key(secret))))
        problem(refused, 401, "invalid_token")
    wrong_keys = (secret.encode(), nonce(secret, "replicate", "job_1", 1, "").encode(), b"", token_key("another"))
    for key in wrong_keys:
        problem(await client.get("/api/jobs", headers=bearer(signed(right, typed, key))), 401, "invalid_token")
    for header in ({}, {"typ": "sluice+jwt", "alg": "none"}, {"typ": "sluice+jwt", "alg": "HS512"}):
        refused = await client.get("/api/jobs", headers=bearer(signed(right, header, token_key(secret))))
        problem(refused, 401, "invalid_token")


def test_a_call_with_an_api_key_loads_nothing_for_tokens() -> None:
    program = """
import asyncio, sys
from shared.clock import ManualClock
from tests.world import AUTH, http_client, make_world
before = set(sys.modules)  # the local store of the tests has certificates
async def main():
    async with make_world(None, ManualClock()), http_client(**AUTH) as client:
        assert (await client.get("/api/jobs")).status_code == 200
asyncio.run(main())
assert not {"jwt", "cryptography", "shared.access.tokens"} & (set(sys.modules) - before)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


async def test_a_key_mints_no_more_than_it_has(world: World) -> None:
    narrow = Caller(
        Role.APPLICATION, "app", scopes=frozenset({Scope.READ, Scope.MANAGE}), tier="pro",
        models=frozenset({"acme/video"}), providers=frozenset({"replicate"}),
    )  # fmt: skip
    issuing = world.runtime.issuing
    for wanted, field in (
        (TokenRequest(user_id="ada", scopes=["read", "submit"]), "scopes"),
        (TokenRequest(user_id="ada", models=["acme/video", "acme/other"]), "model"),
    ):
        with pytest.raises(NotPermitted) as refused:
            issuing.issue(narrow, wanted)
        assert refused.value.field == field
    token = issuing.issue(narrow, TokenRequest(user_id="ada"))["token"]
    user = await world.runtime.credentials.tokens.caller_of(token)
    assert (user.tier, user.models, user.providers) == ("pro", None, None), "they are looked up with the key"
