"""The roles and scopes that each operation needs, and the Cache-Control of every answer."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from shared import runtime
from shared.access.caller import Caller, Role
from shared.access.scope import Scope
from shared.operations import OPERATIONS, Operation
from shared.providers.base import Prediction
from tests.http.calls import problem, webhook_url
from tests.world import API_KEY, AUTH, METRICS, OPERATOR, PROCESSOR, World, http_client

OPEN = {"/api/health": 200, "/api/files/x": 404}  # a file needs a signed URL, where this route serves files at all
ROLES = {
    "no one": {},
    "an application": AUTH,
    "the operator": OPERATOR,
    "the scheduler": PROCESSOR,
    "the scraper": METRICS,
}


@pytest.fixture
async def caller(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client without credentials."""
    async with http_client() as made:
        yield made


VALUES = {
    "job_id": "job_1",
    "key_id": "0",
    "silence_id": "sil_1",
    "batch_id": "bat_1",
    "provider": "replicate",
    "key:path": "x",
}  # of nothing that exists
OF_ROLES = {
    Role.APPLICATION: "an application",
    Role.OPERATOR: "the operator",
    Role.SCHEDULER: "the scheduler",
    Role.METRICS: "the scraper",
}
ANY_SCOPE = [(operation, scope) for operation in OPERATIONS for scope in Scope if operation.scope]


def path_of(operation: Operation) -> str:
    """The operation's path; its parameters name a job, a batch and a file that do not exist."""
    return re.sub(r"{([^}]+)}", lambda found: VALUES[found[1]], operation.path)


@pytest.mark.parametrize("role", ROLES)
async def test_each_operation_is_for_its_roles_alone(role: str, world: World, caller: httpx.AsyncClient) -> None:
    assert len(OPERATIONS) > 30
    for operation in OPERATIONS:
        method, path = operation.method, path_of(operation)
        allowed = {OF_ROLES[known] for known in operation.roles if known in OF_ROLES}
        answer = await caller.request(method, path, headers=ROLES[role])
        assert answer.headers["cache-control"] == "no-store", path
        if path in OPEN:
            assert answer.status_code == OPEN[path]
        else:
            assert (answer.status_code == 401) == (role not in allowed), f"{method} {path}"


@pytest.mark.parametrize(
    ("operation", "scope"), ANY_SCOPE, ids=[f"{made.method} {made.path} {scope}" for made, scope in ANY_SCOPE]
)
async def test_each_operation_needs_the_scope_of_its_row_and_no_other(
    operation: Operation, scope: Scope, world: World, caller: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def one_scope(*_: object) -> Caller:
        return Caller(Role.APPLICATION, "app", scopes=frozenset({scope}))

    monkeypatch.setattr(runtime, "authenticate", one_scope)
    answer = await caller.request(operation.method, path_of(operation))
    if scope is operation.scope:
        assert answer.status_code not in (401, 403)
        return
    missing = problem(answer, 403, "scope_missing")
    assert missing["detail"] == f"This needs a credential with the scope {operation.scope}."
    assert f'scope="{operation.scope}"' in answer.headers["www-authenticate"]


def test_an_operation_needs_a_scope_exactly_if_an_application_may_call_it() -> None:
    for operation in OPERATIONS:
        assert (operation.scope is None) == (Role.APPLICATION not in operation.roles), operation.path


async def test_only_a_status_may_be_cached(world: World, caller: httpx.AsyncClient) -> None:
    await world.enqueue()
    assert (
        (await caller.get("/api/status/job_0", headers=AUTH)).headers["cache-control"].startswith("private, max-age=")
    )
    for path in ("/api/jobs", "/api/jobs/job_0/deliveries", "/api/nowhere"):
        assert (await caller.get(path, headers=AUTH)).headers.get_list("cache-control") == ["no-store"]


async def test_a_bug_is_not_cached_either(
    world: World, caller: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(world.runtime.listing, "jobs", breaks)
    answer = await caller.get("/api/jobs", headers=AUTH)
    assert (answer.status_code, answer.headers["cache-control"]) == (500, "no-store")


async def test_a_key_in_the_query_is_no_proof(world: World, caller: httpx.AsyncClient) -> None:
    assert (await caller.get(f"/api/jobs?key={API_KEY}")).status_code == 401


async def test_a_webhook_that_reports_no_end_is_answered_running(world: World, caller: httpx.AsyncClient) -> None:
    job_id = await world.enqueue(start=True)
    await world.runtime.queue.record(job_id, 1, "p1")
    world.provider.states["p1"] = Prediction("p1", "running", progress=40)
    answer = await caller.post(await webhook_url(world, job_id), content=b"p1")
    assert answer.json() == {"result": "running"}
    assert (await world.runtime.records.read(job_id)).state == "running"
