"""One Lambda function for all calls: what serverless-one.yml creates, and a whole job through its handler."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.invocations import event
from local.rest_server.running import RunningServer
from local.simulator.running import RunningSimulator
from tests.deploy import aws_project
from tests.deploy.aws_emulator import Emulator, emulated
from tests.deploy.aws_events import AUTH, SCHEDULED, delivery, order, read
from tests.deploy.aws_project import Template
from tests.deploy.aws_routes import matches, served_by_the_app

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def one(project: Path, package: Path, valkey: RunningServer, simulator: RunningSimulator) -> Template:
    chosen = ("--stage", "preview", "--config", "serverless-one.yml")
    return aws_project.pack(project, aws_project.settings(valkey, simulator), *chosen)


@pytest.fixture(scope="module")
def function(
    task: Path, one: Template, valkey: RunningServer, simulator: RunningSimulator
) -> Iterator[tuple[Emulator, RunningSimulator]]:
    valkey.clear_faults()
    valkey.flush()
    simulator.reset()
    made = one.functions["api"]
    variables = {**made["Environment"]["Variables"], **aws_project.beyond(simulator)}
    with emulated(task, made["Handler"], variables, made["Timeout"]) as running:
        yield running, simulator


async def test_every_route_of_the_app_reaches_it(one: Template) -> None:
    assert list(one.functions) == ["api"]
    for route in served_by_the_app():
        assert [name for pattern, name in one.routes.items() if matches(pattern, route)] == ["api"], route


def test_two_rules_tick_each_minute_and_no_tick_sleeps(one: Template) -> None:
    rules = one.of_type("AWS::Events::Rule").values()
    assert {rule["ScheduleExpression"] for rule in rules} == {"cron(* * * * ? *)", "rate(1 minute)"}
    variables = one.functions["api"]["Environment"]["Variables"]
    assert "TICK_SECOND_PASS" not in variables and int(variables["TICK_BUDGET"]) < one.functions["api"]["Timeout"]
    assert "withheld" not in variables.values()


def test_alarms_watch_it(one: Template) -> None:
    alarms = one.of_type("AWS::CloudWatch::Alarm").values()
    watched = {(alarm["MetricName"], alarm["Dimensions"][0]["Value"]["Ref"]) for alarm in alarms}
    lambdas = {("Errors", "ApiLambdaFunction"), ("Throttles", "ApiLambdaFunction")}
    rules = {("FailedInvocations", "ApiEventsRuleSchedule1"), ("Invocations", "ApiEventsRuleSchedule1")}
    assert watched == lambdas | rules and {name for _, name in watched} <= set(one.resources)


def test_the_switch_of_snapstart_is_serverless_ymls(
    project: Path, package: Path, valkey: RunningServer, simulator: RunningSimulator
) -> None:
    chosen = ("--stage", "preview", "--config", "serverless-one.yml", "--param", "snapStart=true")
    made = aws_project.pack(project, aws_project.settings(valkey, simulator), *chosen)
    assert made.functions["api"]["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert len(made.of_type("AWS::Lambda::Version")) == 1


def test_one_instance_takes_a_job_through(function: tuple[Emulator, RunningSimulator]) -> None:
    api, simulator = function
    status, job = read(api.invoke(order()))
    assert (status, job["status"]) == (202, "processing")
    assert read(api.invoke(delivery(simulator))) == (200, {"result": "finished"})
    shown: dict[str, Any] = api.invoke(event("GET", job["links"]["status"], AUTH))
    assert json.loads(shown["body"])["status"] == "completed"
    for _ in range(2):
        assert api.invoke(SCHEDULED)["rounds"] == 1
    assert read(api.invoke(event("GET", "/api/health", {})))[1]["status"] == "ok"
    assert "not_warmed" not in api.log
