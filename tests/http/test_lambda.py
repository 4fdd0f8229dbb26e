"""The functions as AWS Lambda calls them: API Gateway v2 events through Mangum, scheduled events past it."""

import asyncio
import base64
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import yaml

from shared import runtime
from shared.clock import SystemClock
from shared.providers.base import Prediction
from shared.runtime import Runtime, install
from shared.store import open_store
from tests.project import ROOT
from tests.world import AUTH, PROCESSOR, ObedientProvider, settings_for


@pytest.fixture
def deployed() -> Iterator[Runtime]:
    """A warm Lambda instance in memory mode: one event loop for all its invocations."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    settings = settings_for(None, queue_prefix="lambda", public_base_url="https://sluice.test")
    made = Runtime(settings, open_store(settings), SystemClock(), providers={"replicate": ObedientProvider()})

    async def put() -> None:
        install(made)

    loop.run_until_complete(put())
    yield made
    loop.run_until_complete(made.close())
    asyncio.set_event_loop(None)
    loop.close()


def event(method: str, path: str, body: bytes = b"", query: str = "", **headers: str) -> dict[str, Any]:
    """An API Gateway HTTP API event, payload format 2.0, with a base64 body as it sends for binary types."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": "sluice.test", "content-type": "application/json", **headers},
        "requestContext": {
            "http": {"method": method, "path": path, "sourceIp": "192.0.2.1", "protocol": "HTTP/1.1"},
            "stage": "$default",
        },
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def call(module: str, given: dict[str, Any]) -> tuple[int, Any]:
    answer = importlib.import_module(f"functions.{module}").handler(given, None)
    return answer["statusCode"], json.loads(answer["body"]) if answer.get("body") else None


def test_a_job_goes_through_all_four_functions(deployed: Runtime) -> None:
    body = json.dumps({"model": "acme/video", "input": {"prompt": "x"}, "user_id": "ada"}).encode()
    status, job = call("submit", event("POST", "/api/submit", body, authorization=AUTH["Authorization"]))
    assert status == 202
    provider = deployed.providers["replicate"]
    assert isinstance(provider, ObedientProvider)
    provider.states["p1"] = Prediction("p1", "completed", output=["u"])
    query = urlsplit(str(provider.created[0].webhook_url)).query
    assert call("webhook", event("POST", "/api/webhook/replicate", b"p1", query))[1] == {"result": "finished"}
    path = f"/api/status/{job['id']}"
    status, document = call("status", event("GET", path, authorization=AUTH["Authorization"]))
    assert (status, document["status"], document["output"]) == (200, "completed", ["u"])
    status, _ = call("jobs", event("POST", f"/api/jobs/{job['id']}/cancel", authorization=AUTH["Authorization"]))
    assert status == 409
    assert call("health", event("GET", "/api/health"))[1]["status"] == "ok"


@pytest.mark.parametrize(
    "scheduled",
    [
        {"version": "0", "id": "1", "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}},
        {"source": "aws.scheduler"},
    ],
)
def test_a_scheduled_event_is_a_tick(deployed: Runtime, scheduled: dict[str, Any]) -> None:
    handler = importlib.import_module("functions.process_queue").handler
    for _ in range(2):  # warm, on the same loop
        assert handler(scheduled, None)["rounds"] == 1
    status, stats = call("process_queue", event("GET", "/api/process-queue", authorization=PROCESSOR["Authorization"]))
    assert status == 200 and stats["last_tick_age_seconds"] is not None


@pytest.mark.parametrize("user", [".", "..", "%2F", "?", "a/b", "a+b", "%", "é"])
def test_a_user_of_any_name_is_erased_through_lambda(deployed: Runtime, user: str) -> None:
    """API Gateway hands on the query as it came. A path it would decode once, and Mangum a second time."""
    body = json.dumps({"model": "acme/video", "input": {}, "user_id": user}).encode()
    status, job = call("submit", event("POST", "/api/submit", body, authorization=AUTH["Authorization"]))
    assert status == 202
    query = urlencode({"user_id": user, "cancel": "true"})
    status, report = call("users", event("DELETE", "/api/users", query=query, authorization=AUTH["Authorization"]))
    assert (status, report["jobs"], report["is_complete"]) == (200, 1, True)
    path = f"/api/status/{job['id']}"
    assert call("status", event("GET", path, authorization=AUTH["Authorization"]))[0] == 404


def test_a_wrong_token_is_401_through_lambda_too(deployed: Runtime) -> None:
    assert call("process_queue", event("POST", "/api/process-queue"))[0] == 401


def test_every_route_has_a_function_and_every_function_its_routes(deployed: Runtime) -> None:
    document = yaml.safe_load((ROOT / "serverless.yml").read_text())
    modules = {path.stem for path in (ROOT / "functions").glob("*.py")} - {"__init__", "index", "all_routes"}
    handlers = {own["handler"] for own in document["functions"].values()}
    assert handlers == {f"functions/{module}.handler" for module in modules}
    for own in document["functions"].values():
        module = importlib.import_module(own["handler"].removesuffix(".handler").replace("/", "."))
        wanted = {(method, re.sub(r"{(\w+):path}", r"{\1+}", path)) for method, path in module.router.operations()}
        wanted |= {("HEAD", path) for method, path in wanted if method == "GET"}
        if not any("httpApi" in e for e in own["events"]):
            continue  # the schedule has its own function
        given = {(e["httpApi"]["method"], e["httpApi"]["path"]) for e in own["events"] if "httpApi" in e}
        for method, path in wanted - given:
            greedy = [known for any_method, known in given if any_method == "*"]
            assert any(path.startswith(known.partition("{")[0]) for known in greedy), (method, path)
        # The application answers preflights before any route.
        assert {row for row in given if row[0] not in ("*", "OPTIONS")} <= wanted


def test_clients_are_kept_between_invocations(deployed: Runtime) -> None:
    call("health", event("GET", "/api/health"))

    async def current() -> Runtime:
        return runtime.current()

    assert asyncio.get_event_loop_policy().get_event_loop().run_until_complete(current()) is deployed


@pytest.mark.parametrize("function", ["submit", "index"])
def test_garbage_is_collected_once_a_function_is_imported(function: str) -> None:
    code = f"import functions.{function}, gc; print(gc.isenabled(), gc.get_freeze_count() > 1000)"
    environ = {**os.environ, "SLUICE_ENV": "test", "USE_REDIS_FOR_TASKS": "false"}
    out = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "True True"


@pytest.mark.parametrize("stage", ["prod", "api", "v1.2"])
def test_the_name_of_a_stage_is_no_part_of_the_path(deployed: Runtime, stage: str) -> None:
    given = event("GET", f"/{stage}/api/health")
    given["requestContext"]["stage"] = stage
    assert call("health", given)[0] == 200
    # A domain of the deployment's own is mapped to the stage, and its paths lack the name.
    mapped = event("GET", "/api/health")
    mapped["requestContext"]["stage"] = stage
    assert call("health", mapped)[0] == 200
    assert call("health", event("GET", "/prod/api/health"))[0] == 404
