"""A whole job through the unpacked package, under AWS's own Lambda emulator."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bench.artifact import FUNCTIONS
from bench.first_answer import CALLS
from bench.invocations import event
from local.rest_server.running import RunningServer
from local.simulator.running import RunningSimulator
from tests.bench.output import first_cells, run
from tests.deploy import aws_project
from tests.deploy.aws_emulator import Emulator, emulated
from tests.deploy.aws_events import AUTH, JSON, SCHEDULED, delivery, order, read
from tests.deploy.aws_project import Template

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

RUN = ("submit", "status", "webhook", "health", "tick", "processQueue")


def tree(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def deployed(
    task: Path, template: Template, valkey: RunningServer, simulator: RunningSimulator
) -> Iterator[dict[str, Emulator]]:
    """The functions, with the environment and timeout of a deployment."""
    valkey.clear_faults()
    valkey.flush()
    simulator.reset()
    for path in task.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before, running = tree(task), {}
    with ExitStack() as stack:
        for name in RUN:
            function = template.functions[name]
            variables = {**function["Environment"]["Variables"], **aws_project.beyond(simulator)}
            made = emulated(task, function["Handler"], variables, function["Timeout"])
            running[name] = stack.enter_context(made)
        yield running
        # Lambda's file system is read-only. The user of this test may write anywhere, so it compares the files.
        assert tree(task) == before


def in_base64(given: dict[str, Any]) -> dict[str, Any]:
    return {**given, "body": base64.b64encode(given["body"].encode()).decode(), "isBase64Encoded": True}


def seen(deployed: dict[str, Emulator], job: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer: dict[str, Any] = deployed["status"].invoke(event("GET", job["links"]["status"], AUTH | headers))
    return answer


def test_a_job_goes_through_by_webhook(deployed: dict[str, Emulator], simulator: RunningSimulator) -> None:
    answer = deployed["submit"].invoke(in_base64(order()))
    status, job = read(answer)
    assert (status, job["status"]) == (202, "processing")
    assert answer["headers"]["location"] == job["links"]["status"]
    webhook = delivery(simulator)
    assert read(deployed["webhook"].invoke(webhook)) == (200, {"result": "finished"})
    assert read(deployed["webhook"].invoke(in_base64(webhook))) == (200, {"result": "already"})
    answer = seen(deployed, job)
    status, ended = read(answer)
    assert (status, ended["status"]) == (200, "completed") and ended["output"]
    assert seen(deployed, job, **{"if-none-match": answer["headers"]["etag"]})["statusCode"] == 304


def test_a_forged_webhook_is_refused(deployed: dict[str, Emulator], simulator: RunningSimulator) -> None:
    deployed["submit"].invoke(order(user_id="eve"))
    webhook = delivery(simulator)
    assert (
        deployed["webhook"].invoke({**webhook, "body": webhook["body"].replace("succeeded", "failed")})["statusCode"]
        == 401
    )


def test_a_job_whose_webhook_is_lost_is_ended_by_the_schedule(
    deployed: dict[str, Emulator], simulator: RunningSimulator
) -> None:
    _, job = read(deployed["submit"].invoke(order(user_id="ben")))
    assert job["status"] == "processing"
    time.sleep(1.1)  # FIRST_CHECK_AFTER of this deployment
    assert deployed["tick"].invoke(SCHEDULED)["looked_at"] >= 1
    assert read(seen(deployed, job))[1]["status"] == "completed"
    idle = deployed["tick"].invoke(SCHEDULED)  # warm, on the same loop
    assert (idle["rounds"], idle["started"], idle["failed"]) == (1, 0, 0)
    _, health = read(deployed["health"].invoke(event("GET", "/api/health", {})))
    assert health["status"] == "ok" and health["last_tick_age_seconds"] < 30 and not health["tick_is_late"]


def test_the_tick_is_called_over_http_too(deployed: dict[str, Emulator]) -> None:
    processor = {"authorization": f"Bearer {aws_project.PROCESSOR}"}
    assert deployed["processQueue"].invoke(event("POST", "/api/process-queue", {}))["statusCode"] == 401
    assert read(deployed["processQueue"].invoke(event("POST", "/api/process-queue", processor)))[0] == 200
    status, statistics = read(deployed["processQueue"].invoke(event("GET", "/api/process-queue", processor)))
    assert status == 200 and statistics["counters"]["completed"] >= 1


def test_query_strings_arrive(deployed: dict[str, Emulator]) -> None:
    query = "job=job_%C3%A9&attempt=zwei&nonce=a%26b"
    refused = deployed["webhook"].invoke(event("POST", "/api/webhook/replicate", JSON, query) | {"body": "{}"})
    assert refused["statusCode"] == 401
    assert refused["headers"]["content-type"] == "application/problem+json" and not refused["isBase64Encoded"]


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"rawPath": "/api/nowhere"}, 404, "not_found"),
        ({"headers": {"host": "x", **JSON}}, 401, "unauthenticated"),
        ({"body": "{"}, 400, "invalid_request"),
        ({"body": "eyA=", "isBase64Encoded": True}, 400, "invalid_request"),
        ({"body": '{"model":"acme/video"}'}, 422, "invalid_request"),
    ],
)
def test_a_wrong_request_is_answered_with_a_problem(
    deployed: dict[str, Emulator], changes: dict[str, Any], status: int, code: str
) -> None:
    given = {**order(), **changes}
    given["requestContext"] = json.loads(json.dumps(given["requestContext"]))
    given["requestContext"]["http"]["path"] = given["rawPath"]
    answer = deployed["submit"].invoke(given)
    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (status, code)
    assert answer["headers"]["content-type"] == "application/problem+json"


def test_settings_that_contradict_each_other_stop_the_start(
    task: Path, template: Template, simulator: RunningSimulator
) -> None:
    function = template.functions["submit"]
    variables = {**function["Environment"]["Variables"], **aws_project.beyond(simulator), "SLUICE_ENV": "development"}
    with emulated(task, function["Handler"], variables) as submit:
        failed = submit.invoke(order())
        assert failed["errorType"].endswith("SettingsError") and "SLUICE_ENV" in failed["errorMessage"]
        assert simulator.token not in submit.log and aws_project.API_KEY not in submit.log


def test_the_bench_of_the_package_prints_every_function() -> None:
    printed = run("bench.artifact", "--runs", "1", "--no-targets", seconds=500)
    answered = [f"this package: {handler}" for handler in CALLS]
    assert first_cells(printed) == [*(f"functions.{name}" for name in FUNCTIONS), "CPU of a start", *answered]
    assert "The unit here:" in printed
