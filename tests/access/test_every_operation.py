"""Every operation with every kind of credential: what each is answered, and that it costs the store nothing.

All is made from the table of operations, so a new operation is in it.
"""

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from shared.access.caller import Caller, Role
from shared.access.scope import ALL, OF_USERS, Scope
from shared.operations import OPERATIONS, Operation
from tests.access.issuing import CLAIMS, NOW, bearer, issued, part, signed
from tests.http.calls import BODY
from tests.world import AUTH, OPERATOR, OTHER_AUTH, PROCESSOR, World

JOB, BATCH = "job_ada", "bat_1"
BODIES: dict[str, dict[str, Any]] = {
    "/api/submit": BODY,
    "/api/batches": {"user_id": "ada", "model": "acme/video", "jobs": [{"input": {}}]},
    "/api/uploads": {"user_id": "ada", "content_type": "image/png", "size": 5},
    "/api/tokens": {"user_id": "ada"},
}
OF_APPLICATIONS = [operation for operation in OPERATIONS if Role.APPLICATION in operation.roles]
OF_OTHERS = [operation for operation in OPERATIONS if Role.APPLICATION not in operation.roles]
Credential = Callable[[World, Operation], dict[str, str]]


def token(world: World, user: str = "ada", scopes: frozenset[Scope] = OF_USERS, only: str = "") -> dict[str, str]:
    """A token of this deployment, also one that no application could mint."""
    caller = Caller(Role.APPLICATION, "app", user, scopes, only=only)
    return bearer(world.runtime.credentials.tokens.minted.mint(caller, world.clock.now(), 60))


def raw(text: str) -> Credential:
    return lambda world, operation: {"Authorization": text}


def jwt(text: str) -> Credential:
    return lambda world, operation: bearer(text)


def expired(world: World, _: Operation) -> dict[str, str]:
    headers = token(world)
    world.manual.advance(60)
    return headers


def foreign(world: World, _: Operation) -> dict[str, str]:
    """A token of a deployment with another signing secret."""
    known = token(world)["Authorization"].split(".")
    return {"Authorization": ".".join([*known[:2], part(b"x" * 32)])}


UNPROVED: dict[str, Credential] = {
    "none": lambda world, operation: {},
    "no scheme": raw("key-of-the-app-in-tests"),
    "another scheme": raw("Digest key-of-the-app-in-tests"),
    "empty bearer": raw("Bearer "),
    "malformed basic": raw("Basic !!!"),
    "wrong basic": raw("Basic YXBwOndyb25n"),
    "wrong key": raw("Bearer wrong"),
    "key of the store": raw("Bearer sk_live_abc_0123456789"),
    "beyond ascii": raw("Bearer \u00e9"),
    "two parts": raw("Bearer a.b"),
    "no JWT": jwt("a.b.c"),
    "expired token": expired,
    "forged token": foreign,
    "expired JWT": jwt(issued(exp=NOW - 60)),
    "unsigned JWT": jwt(f"{part({'alg': 'none'})}.{part(CLAIMS)}."),
    "JWT of another algorithm": jwt(signed(CLAIMS, {"alg": "RS256"})),
    "JWT of another audience": jwt(issued(aud="another")),
    "JWT with a critical header": jwt(signed(CLAIMS, {"crit": ["x"]})),
}


def named(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


@pytest.fixture
def commands(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that the store gets from now on."""
    found: list[str] = []
    execute = world.runtime.store.execute

    async def counted(*command: str) -> Any:
        found.append(command[0])
        return await execute(*command)

    monkeypatch.setattr(world.runtime.store, "execute", counted)
    return found


async def asked(client: httpx.AsyncClient, operation: Operation, headers: dict[str, str], **ids: str) -> httpx.Response:
    values = {"job_id": JOB, "key_id": "0" * 12, "batch_id": BATCH, "silence_id": "0" * 16} | ids
    values |= {"provider": "replicate", "key:path": "x"}
    path = re.sub(r"{([^}]+)}", lambda found: values[found[1]], operation.path)
    body = BODIES.get(operation.path, {}) if operation.method in ("POST", "PATCH") else None
    raw_headers = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return await client.request(operation.method, path, json=body, headers=raw_headers)


def code_of(answer: httpx.Response) -> str:
    return str(answer.json()["code"]) if answer.content else ""


@pytest.mark.parametrize("operation", OF_APPLICATIONS, ids=named)
async def test_what_proves_nothing_is_401_before_the_store(
    world: World, client: httpx.AsyncClient, commands: list[str], operation: Operation
) -> None:
    for kind, credential in UNPROVED.items():
        answer = await asked(client, operation, credential(world, operation))
        assert answer.status_code == 401 and code_of(answer) in ("unauthenticated", "invalid_token"), kind
        assert answer.headers["www-authenticate"].startswith("Bearer") and commands == [], kind


@pytest.mark.parametrize("operation", OF_OTHERS, ids=named)
async def test_no_credential_of_an_application_reaches_another_role(
    world: World, client: httpx.AsyncClient, commands: list[str], operation: Operation
) -> None:
    kinds = [AUTH, token(world), bearer(issued()), *(made(world, operation) for made in UNPROVED.values())]
    for headers in kinds:
        answer = await asked(client, operation, headers)
        if Role.ANYONE in operation.roles:
            assert answer.status_code == 200
        elif Role.LINK in operation.roles:
            assert answer.status_code in (403, 404, 411, 415)
        else:
            assert answer.status_code == 401 and code_of(answer) == "unauthenticated"
    assert commands == [] or Role.ANYONE in operation.roles


@pytest.mark.parametrize("operation", OF_APPLICATIONS, ids=named)
async def test_a_missing_scope_is_403_and_named_before_the_store(
    world: World, client: httpx.AsyncClient, commands: list[str], operation: Operation
) -> None:
    assert operation.scope is not None
    headers = token(world, scopes=OF_USERS - {operation.scope})
    answer = await asked(client, operation, headers)
    assert (answer.status_code, code_of(answer)) == (403, "scope_missing") and commands == []
    assert f'scope="{operation.scope}"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("operation", OF_APPLICATIONS, ids=named)
async def test_the_scope_alone_is_enough(world: World, client: httpx.AsyncClient, operation: Operation) -> None:
    assert operation.scope is not None
    if operation.scope in OF_USERS:
        answer = await asked(client, operation, token(world, scopes=frozenset({operation.scope})))
        assert answer.status_code not in (401, 403)


@pytest.mark.parametrize("operation", OF_APPLICATIONS, ids=named)
async def test_a_token_for_another_job_or_batch_reaches_nothing_and_asks_no_store(
    world: World, client: httpx.AsyncClient, commands: list[str], operation: Operation
) -> None:
    if operation.scope not in OF_USERS:
        return
    code = "job_not_found" if "job_id" in operation.path else "batch_not_found" if "batch_id" in operation.path else ""
    for only in ("job_other", "bat_other"):
        answer = await asked(client, operation, token(world, only=only))
        expected = (404, code) if code else (403, "not_permitted")
        assert (answer.status_code, code_of(answer)) == expected and commands == []


@pytest.mark.parametrize("operation", OF_APPLICATIONS, ids=named)
async def test_what_another_user_or_another_key_has_is_as_if_it_did_not_exist(
    world: World, client: httpx.AsyncClient, operation: Operation
) -> None:
    await world.enqueue(job_id=JOB)
    batch = (await client.post("/api/batches", json=BODIES["/api/batches"], headers=AUTH)).json()["id"]
    before = await world.raw("HGETALL", world.runtime.queue.keys.job(JOB))
    for headers in (token(world, "bob"), OTHER_AUTH):
        answer = await asked(client, operation, headers, batch_id=batch)
        if operation.scope not in OF_USERS and headers is not OTHER_AUTH:
            assert code_of(answer) == "scope_missing"
        elif "{" in operation.path:
            missing = await asked(client, operation, headers, job_id="job_none", batch_id="bat_none")
            assert answer.status_code in (404, 422), named(operation)
            assert (answer.status_code, answer.content) == (missing.status_code, missing.content)
        elif operation.path == "/api/jobs":
            assert answer.json()["jobs"] == []
        elif operation.path in BODIES and headers is not OTHER_AUTH:
            assert (answer.status_code, code_of(answer)) == (403, "not_permitted")
    assert await world.raw("HGETALL", world.runtime.queue.keys.job(JOB)) == before


@pytest.mark.parametrize("operation", OF_APPLICATIONS, ids=named)
async def test_tokens_of_other_roles_are_401(world: World, client: httpx.AsyncClient, operation: Operation) -> None:
    for role, headers in ((Role.OPERATOR, OPERATOR), (Role.SCHEDULER, PROCESSOR)):
        if role not in operation.roles:
            assert (await asked(client, operation, headers)).status_code == 401


def test_an_api_key_of_today_has_each_scope_that_an_operation_needs() -> None:
    assert {operation.scope for operation in OF_APPLICATIONS} <= ALL
