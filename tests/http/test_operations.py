"""shared/operations.py describes the application: the same routes, and answers as announced."""

import ast
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.budget import Budget
from shared.clock import ManualClock
from shared.operations import OPERATIONS, Operation
from shared.providers.base import Prediction
from shared.providers.base import Unknown as UnknownOutcome
from tests import contract
from tests.http.calls import BODY, problem, webhook_url
from tests.post import Post, post_office
from tests.project import ROOT
from tests.receiver import receiver
from tests.world import AUTH, OPERATOR, PROCESSOR, World, http_client, make_world

ENDS = {"completed": Prediction("", "completed", output="text"), "failed": Prediction("", "failed", error="nsfw")}
BATCH = {"user_id": "eve", "model": "acme/video", "jobs": [{"input": {}}, {"input": {}}]}
UPLOAD = {"user_id": "ada", "content_type": "image/png", "size": 5}


async def test_the_table_has_the_routes_of_the_application() -> None:
    from functions.index import ROUTERS

    routes = [operation for router in ROUTERS for operation in router.operations()]
    assert sorted(routes) == sorted((operation.method, operation.path) for operation in OPERATIONS)


@pytest.mark.parametrize("body", [{"id": "a"}, {"id": "a", "retried": 1, "more": 2}, {"id": "a", "retried": "1"}])
def test_an_answer_that_its_model_does_not_describe_is_noticed(body: dict[str, Any]) -> None:
    operation = contract.operation_of("POST", "/api/batches/bat_1/retry")
    assert operation is not None
    contract.check(operation, httpx.Response(202, json={"id": "a", "retried": 1}))
    with pytest.raises((AssertionError, ValueError)):
        contract.check(operation, httpx.Response(202, json=body))


@pytest.mark.parametrize(("status", "code"), [(409, "not_waiting"), (404, "job_not_found")])
def test_an_error_that_is_not_announced_is_noticed(status: int, code: str) -> None:
    operation = contract.operation_of("GET", "/api/hooks")
    assert operation is not None
    document = {"type": "", "title": "", "status": status, "code": code, "retryable": False}
    answer = httpx.Response(status, json=document, headers={"content-type": "application/problem+json"})
    with pytest.raises(AssertionError, match=code):
        contract.check(operation, answer)


def test_nothing_that_serves_a_request_reads_the_table() -> None:
    for folder in ("functions", "shared"):
        for path in (ROOT / folder).rglob("*.py"):
            used = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
            assert all(node.module != "shared.operations" for node in used), path


async def submitted(client: httpx.AsyncClient, **changes: Any) -> str:
    answer = await client.post("/api/submit", json=BODY | changes)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def ended(world: World, client: httpx.AsyncClient, job_id: str, end: str) -> None:
    """Ends the job's run by the provider's webhook."""
    prediction = (await world.runtime.records.read(job_id)).prediction
    world.provider.states[prediction] = Prediction(
        prediction, ENDS[end].status, output=ENDS[end].output, error=ENDS[end].error
    )
    assert (await client.post(await webhook_url(world, job_id), content=prediction)).json() == {"result": "finished"}


async def test_every_operation_answers_what_it_announces() -> None:
    """The client checks each answer, see tests/contract.py; here each operation is called."""
    contract.answered.clear()
    changes: dict[str, Any] = {"storage_url": f"memory://{uuid4().hex}", "allow_loopback": True}
    async with (
        post_office() as post,
        make_world(None, ManualClock(), **changes, smtp_url=post.url, mail_from="no-reply@acme.dev") as world,
        receiver() as owner,
        http_client(**AUTH) as client,
    ):
        await follow_jobs(world, client, owner.url())
        await follow_a_batch(world, client, owner.url())
        await move_files(client)
        await verify_an_address(client, post)
        await operate(world, client)
        assert (await client.post("/api/tokens", json={"user_id": "ada"})).status_code == 201
        await change_keys(client)
        assert (await client.delete("/api/users?user_id=ada")).json()["live"] == 0
    assert {(operation.method, operation.path) for operation in OPERATIONS} - contract.answered == set()


async def follow_jobs(world: World, client: httpx.AsyncClient, hook_url: str) -> None:
    """Follows a job that completes, one that is changed, cancelled and deleted, and one that fails and is retried."""
    done = await submitted(client, hook_url=hook_url)
    await ended(world, client, done, "completed")
    for path in (f"status/{done}", f"jobs/{done}/result", f"jobs/{done}/deliveries", "jobs", "hooks"):
        assert (await client.get(f"/api/{path}")).status_code == 200, path
    (delivery,) = (await client.post(f"/api/jobs/{done}/redeliver")).json()["deliveries"]
    assert (delivery["state"], len(delivery["tries"])) == ("delivered", 2)
    await client.patch("/api/operate/limits", json={"system": 0}, headers=OPERATOR)
    waiting = await submitted(client)
    assert (await client.patch(f"/api/jobs/{waiting}", json={"priority": 5})).status_code == 200
    assert (await client.post(f"/api/jobs/{waiting}/cancel")).status_code == 200
    assert (await client.delete(f"/api/jobs/{waiting}")).status_code == 204
    await client.patch("/api/operate/limits", json={"system": None}, headers=OPERATOR)
    lost = await submitted(client)
    await ended(world, client, lost, "failed")
    again = (await client.post(f"/api/jobs/{lost}/retry")).json()["id"]
    await ended(world, client, again, "completed")


async def follow_a_batch(world: World, client: httpx.AsyncClient, hook_url: str) -> None:
    """Follows a batch of two jobs, of which one fails and is retried."""
    batch = (await client.post("/api/batches", json=BATCH | {"hook_url": hook_url})).json()
    path = f"/api/batches/{batch['id']}"
    await ended(world, client, batch["jobs"][0]["id"], "completed")
    await ended(world, client, batch["jobs"][1]["id"], "failed")
    shown = (await client.get(f"{path}?count=2")).json()
    assert [result["error"] and result["error"]["code"] for result in shown["results"]] == [None, "content_policy"]
    assert (await client.get(f"{path}/deliveries")).status_code == 200
    assert (await client.post(f"{path}/redeliver")).status_code == 200
    assert (await client.post(f"{path}/retry")).json()["retried"] == 1
    assert (await client.post(f"{path}/cancel")).status_code in (200, 202)


async def move_files(client: httpx.AsyncClient) -> None:
    """Uploads a picture and reads it back."""
    upload = (await client.post("/api/uploads", json=UPLOAD)).json()
    assert (await client.put(upload["upload_url"], content=b"\x89PNG\n", headers=upload["headers"])).status_code == 200
    assert (await client.get(upload["url"])).status_code == (await client.head(upload["url"])).status_code == 200


async def verify_an_address(client: httpx.AsyncClient, post: Post) -> None:
    """Sends a code, tries it, and blocks the address."""
    body = {"email": "ada@example.com"}
    assert (await client.post("/api/verification/send", json=body)).status_code == 202
    assert (await client.post("/api/verification/check", json=body | {"code": post.code()})).status_code == 200
    assert (await client.get("/api/verification/key")).json()["audience"] == "app"
    changed = await client.patch("/api/operate/blocked", json={"add": ["example.com"]}, headers=OPERATOR)
    assert changed.json() == {"count": 1}
    assert (await client.get("/api/operate/blocked", headers=OPERATOR)).json()["entries"] == ["example.com"]


async def operate(world: World, client: httpx.AsyncClient) -> None:
    """Calls each operation of the scheduler and the operator."""
    assert (await client.get("/api/health")).json()["status"] == "ok"
    assert (await client.post("/api/process-queue", headers=PROCESSOR)).status_code == 200
    for path in ("process-queue", "operate/limits", "operate/undelivered", "operate/alerts"):
        assert (await client.get(f"/api/{path}", headers=OPERATOR)).status_code == 200, path
    world.provider.outcomes = [UnknownOutcome("status 503")] * 5
    lost = await submitted(client, user_id="bob")
    await world.runtime.dispatcher.run(Budget(60))
    world.provider.outcomes = []
    settled = await client.post(f"/api/operate/jobs/{lost}/settle", json={"outcome": "not_made"}, headers=OPERATOR)
    assert settled.json()["status"] == "pending"
    silences, order = "/api/operate/alerts/silences", {"alert": "all", "minutes": 1, "reason": "a test"}
    made = (await client.post(silences, json=order, headers=OPERATOR)).json()
    assert (await client.delete(f"{silences}/{made['id']}", headers=OPERATOR)).status_code == 204
    assert (await client.post("/api/operate/make-room", json={}, headers=OPERATOR)).json()["deleted"] == 0
    for path in ("jobs", "user-limits"):
        assert (await client.get(f"/api/operate/{path}", headers=OPERATOR)).status_code == 200, path
    assert (await client.get("/api/operate/doctor", headers=OPERATOR)).status_code == 200
    assert (await client.post("/api/operate/doctor", json={"fix": True}, headers=OPERATOR)).json()["healed"] == 0
    for path in ("cancel", "purge"):
        bulk = await client.post(f"/api/operate/{path}", json={"all": True, "dry_run": True}, headers=OPERATOR)
        assert bulk.json()["next_cursor"] is None
    for path in (f"jobs/{lost}", f"jobs/{lost}/input"):
        assert (await client.get(f"/api/operate/{path}", headers=OPERATOR)).json()["user_id"] == "bob"
    dead = await submitted(client)
    await ended(world, client, dead, "failed")
    await world.raw("ZADD", world.runtime.queue.keys.dead, str(world.clock.now()), dead)
    (letter,) = (await client.get("/api/operate/dead-letters", headers=OPERATOR)).json()["dead_letters"]
    redriven = {"ids": [letter["id"], "unknown"], "dry_run": True}
    report = (await client.post("/api/operate/dead-letters/redrive", json=redriven, headers=OPERATOR)).json()
    assert (len(report["redriven"]), len(report["skipped"])) == (1, 1)
    assert (await client.delete(f"/api/operate/dead-letters/{dead}", headers=OPERATOR)).status_code == 204


async def change_keys(client: httpx.AsyncClient) -> None:
    """Makes an API key, looks at it, and ends it."""
    keys = "/api/operate/keys"
    made = (await client.post(keys, json={"owner": "shop"}, headers=OPERATOR)).json()
    for path in (
        keys,
        f"{keys}/{made['id']}",
        "/api/operate/audit",
        "/api/operate/usage",
        "/api/metrics",
        "/api/operate/statistics?by=model",
    ):
        assert (await client.get(path, headers=OPERATOR)).status_code == 200, path
    assert (await client.patch(f"{keys}/{made['id']}", json={"label": "x"}, headers=OPERATOR)).status_code == 200
    assert (await client.post(f"{keys}/{made['id']}/rotate", headers=OPERATOR)).status_code == 201
    assert (await client.post(f"{keys}/{made['id']}/revoke", headers=OPERATOR)).json()["state"] == "revoked"


NUMBERED = [(operation, name) for operation in OPERATIONS for name in operation.numbers]


@pytest.mark.parametrize(("operation", "name"), NUMBERED, ids=lambda value: getattr(value, "path", value))
async def test_a_number_beyond_the_announced_bounds_is_refused(operation: Operation, name: str) -> None:
    _, most = operation.numbers[name]
    path = operation.path.replace("{job_id}", "job_1").replace("{batch_id}", "bat_1")
    async with make_world(None, ManualClock()), http_client(**AUTH) as client:
        assert problem(await client.get(f"{path}?{name}={most + 1}"), 422, "invalid_request")["field"] == name
        assert (await client.get(f"{path}?{name}={most}")).status_code == 404
