"""The roles that may call each operation, and the Cache-Control of every answer."""

import re
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from shared.providers.base import Prediction
from tests.http.calls import webhook_url
from tests.world import API_KEY, AUTH, OPERATOR, PROCESSOR, World, http_client

OPEN = {"/api/health": 200, "/api/files/x": 404}  # a file needs a signed URL, where this route serves files at all
ROLES = {"no one": {}, "an application": AUTH, "the operator": OPERATOR, "the scheduler": PROCESSOR}


@pytest.fixture
async def caller(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client without credentials."""
    async with http_client() as made:
        yield made


def operations() -> Iterator[tuple[str, str]]:
    """Method and path of each operation; its parameters name a job, a batch and a user that do not exist."""
    from functions.index import ROUTERS  # Mangum needs a running loop

    values = {"job_id": "job_1", "batch_id": "bat_1", "provider": "replicate", "user_id:path": "ada", "key:path": "x"}
    for router in ROUTERS:
        for method, path in router.operations():
            yield method, re.sub(r"{([^}]+)}", lambda found: values[found[1]], path)


def allowed(method: str, path: str) -> set[str]:
    """The roles with a token that may call the operation."""
    if path.startswith("/api/operate/"):
        return {"the operator"}
    if path == "/api/process-queue":
        return {"the scheduler"} if method == "POST" else {"the scheduler", "the operator"}
    return set() if path.startswith("/api/webhook/") else {"an application"}


@pytest.mark.parametrize("role", ROLES)
async def test_each_operation_is_for_its_roles_alone(role: str, world: World, caller: httpx.AsyncClient) -> None:
    found = list(operations())
    assert len(found) > 30
    for method, path in found:
        answer = await caller.request(method, path, headers=ROLES[role])
        assert answer.headers["cache-control"] == "no-store", path
        if path in OPEN:
            assert answer.status_code == OPEN[path]
        else:
            assert (answer.status_code == 401) == (role not in allowed(method, path)), f"{method} {path}"


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
