"""What an AWS deployment creates: functions, routes, rights, schedule and alarms."""

import importlib
import json
import tomllib
from pathlib import Path

import pytest
import yaml

from local.rest_server.running import RunningServer
from local.simulator.running import RunningSimulator
from shared.env_file import setting_names
from shared.startup import load_settings
from tests.deploy import aws_project
from tests.deploy.aws_project import Template
from tests.deploy.aws_routes import Route, matches, routes_of, served_by_the_app
from tests.project import ROOT

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

HTTP_API_SECONDS = 30  # an HTTP API's timeout for its integration (API Gateway, "Quotas")
MAX_ENVIRONMENT = 4096  # bytes of all variables of a function (AWS Lambda, "Quotas")
MAX_METRICS = 10  # of one alarm (CloudWatch, "Using metric math")
TOPIC = "arn:aws:sns:eu-central-1:123456789012:sluice-alarms"


def in_serverless_yml() -> dict[Route, str]:
    functions = yaml.safe_load((ROOT / "serverless.yml").read_text())["functions"]
    return {
        (event["httpApi"]["method"], event["httpApi"]["path"]): name
        for name, function in functions.items()
        for event in function["events"]
        if "httpApi" in event
    }


async def test_every_route_of_the_app_is_in_serverless_yml_and_reaches_the_right_function() -> None:
    written, functions = in_serverless_yml(), yaml.safe_load((ROOT / "serverless.yml").read_text())["functions"]
    served = served_by_the_app()
    assert len(served) > 25
    for route in served:
        (name,) = {name for pattern, name in written.items() if matches(pattern, route)} or {f"none for {route}"}
        module = functions[name]["handler"].removesuffix(".handler").replace("/", ".")
        assert route in routes_of([importlib.import_module(module).router]), (route, name)
    preflight = ("OPTIONS", "/api/{proxy+}")
    assert written.pop(preflight) == "health"  # CORS answers it, whatever the path
    for pattern in written:
        assert any(matches(pattern, route) for route in served), f"the app has no route for {pattern}"


async def test_vercel_serves_the_same_app() -> None:
    """One function serves all routes, so Vercel's deployment answers what the app answers."""
    vercel = json.loads((ROOT / "vercel.json").read_text())
    assert vercel["framework"] == "fastapi" and not {"rewrites", "routes", "builds", "services"} & set(vercel)
    assert set(vercel["functions"]) == {"functions/index.py"}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert settings["tool"]["vercel"]["entrypoint"] == "functions.index:app"
    assert all(("GET", cron["path"]) in served_by_the_app() for cron in vercel["crons"])


def test_the_deployments_routes_are_those_of_serverless_yml(template: Template) -> None:
    written = {("ANY" if method == "*" else method, path): name for (method, path), name in in_serverless_yml().items()}
    assert template.routes == written
    (stage,) = template.of_type("AWS::ApiGatewayV2::Stage").values()
    assert (stage["StageName"], stage["AutoDeploy"]) == ("$default", True)


def test_every_file_of_functions_is_a_function_and_the_schedule_has_one_more(template: Template) -> None:
    handlers = [made["Handler"] for made in template.functions.values()]
    files = {path.stem for path in (ROOT / "functions").glob("*.py")} - {"__init__", "index", "all_routes"}
    assert set(handlers) == {f"functions/{name}.handler" for name in files}
    assert len(handlers) == len(files) + 1
    for name, made in template.functions.items():
        assert (made["Runtime"], made["Architectures"]) == ("python3.12", ["x86_64"])
        assert made["Code"]["S3Key"].endswith("/sluice-x86_64.zip")
        assert made["Timeout"] < HTTP_API_SECONDS or name == "tick"
        assert made["Environment"]["Variables"]["FUNCTION_MAX_DURATION"] == str(made["Timeout"])
        assert ("SnapStart" not in made and "ReservedConcurrentExecutions" not in made) or name == "tick"
        assert sum(len(k) + len(v) for k, v in made["Environment"]["Variables"].items()) < MAX_ENVIRONMENT


def test_no_other_file_of_a_developer_reaches_a_deployment(template: Template) -> None:
    assert aws_project.CANARY not in json.dumps(template.resources)
    # The functions must not get the deployer's credentials.
    for made in template.functions.values():
        assert not [name for name in made["Environment"]["Variables"] if name.startswith("AWS_")]


def test_every_function_starts_as_it_is_configured(template: Template, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in setting_names():
        monkeypatch.delenv(name, raising=False)
    for name, made in template.functions.items():
        with monkeypatch.context() as given:
            given.setenv("AWS_LAMBDA_FUNCTION_NAME", name)
            for variable, value in made["Environment"]["Variables"].items():
                given.setenv(variable, value)
            assert load_settings().environment == "preview", name


def test_a_function_may_write_its_own_log_and_nothing_else(template: Template) -> None:
    (role,) = template.of_type("AWS::IAM::Role").values()
    assert "ManagedPolicyArns" not in role
    (policy,) = role["Policies"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert set(statement["Action"]) == {"logs:CreateLogStream", "logs:PutLogEvents"}
    assert (
        statement["Effect"] == "Allow" and "log-group:/aws/lambda/sluice-preview-*:" in statement["Resource"]["Fn::Sub"]
    )
    assert all(made["Role"] == {"Fn::GetAtt": ["FunctionRole", "Arn"]} for made in template.functions.values())
    logs = template.of_type("AWS::Logs::LogGroup").values()
    assert {log["RetentionInDays"] for log in logs} == {30}
    assert {log["LogGroupName"] for log in logs} == {
        f"/aws/lambda/sluice-preview-{name}" for name in template.functions
    }


def test_the_schedule_ticks_every_minute_once(template: Template) -> None:
    (rule,) = template.of_type("AWS::Events::Rule").values()
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(1 minute)", "ENABLED")
    (target,) = rule["Targets"]
    assert target["Arn"] == {"Fn::GetAtt": ["TickLambdaFunction", "Arn"]}
    (invoked,) = template.of_type("AWS::Lambda::EventInvokeConfig").values()
    assert invoked["MaximumRetryAttempts"] == 0
    variables = template.functions["tick"]["Environment"]["Variables"]
    assert variables["TICK_SECOND_PASS"] == "30"
    # No HTTP caller would wait for a second pass.
    assert "TICK_SECOND_PASS" not in template.functions["processQueue"]["Environment"]["Variables"]


def test_an_alarm_fires_when_any_function_fails_or_is_throttled(template: Template) -> None:
    watched: dict[str, list[str]] = {"Errors": [], "Throttles": []}
    for alarm in template.of_type("AWS::CloudWatch::Alarm").values():
        queries = [query["MetricStat"] for query in alarm.get("Metrics", []) if "MetricStat" in query]
        assert len(queries) <= MAX_METRICS
        for query in queries:
            (dimension,) = query["Metric"]["Dimensions"]
            watched[query["Metric"]["MetricName"]].append(dimension["Value"]["Ref"])
            assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (0, "GreaterThanThreshold")
    functions = sorted(template.of_type("AWS::Lambda::Function"))
    assert sorted(watched["Errors"]) == functions == sorted(watched["Throttles"])


def test_an_alarm_fires_when_ticks_are_slow_or_missing(template: Template) -> None:
    alarms = template.of_type("AWS::CloudWatch::Alarm")
    watched = {alarm["MetricName"]: alarm for alarm in alarms.values() if "MetricName" in alarm}
    assert set(watched) == {"Duration", "FailedInvocations", "Invocations"}
    timeout = template.functions["tick"]["Timeout"] * 1000
    assert 0.85 * timeout <= watched["Duration"]["Threshold"] < timeout
    assert watched["FailedInvocations"]["Dimensions"][0]["Value"] in ({"Ref": n} for n in template.resources)
    missing = watched["Invocations"]
    assert (missing["TreatMissingData"], missing["ComparisonOperator"]) == ("breaching", "LessThanThreshold")
    assert missing["Dimensions"][0]["Value"] == {"Ref": "TickLambdaFunction"}


def test_the_switches_choose_machine_type_snapstart_limit_and_topic(
    project: Path, valkey: RunningServer, simulator: RunningSimulator, template: Template
) -> None:
    (project / "build" / "sluice-arm64.zip").touch()
    chosen = ["--param", "arch=arm64", "--param", "snapStart=true", "--param", "tickConcurrency=2"]
    variables = aws_project.settings(valkey, simulator) | {"ALARM_TOPIC_ARN": TOPIC}
    made = aws_project.pack(project, variables, "--stage", "preview", *chosen)
    assert made.conditions["LimitsTicks"] != template.conditions["LimitsTicks"]
    for function in made.functions.values():
        assert function["Architectures"] == ["arm64"] and function["Code"]["S3Key"].endswith("/sluice-arm64.zip")
        assert function["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert made.functions["tick"]["ReservedConcurrentExecutions"]["Fn::If"][:2] == ["LimitsTicks", "2"]
    assert len(made.of_type("AWS::Lambda::Version")) == len(made.functions)
    assert template.of_type("AWS::Lambda::Version") == {}
    for alarm in made.of_type("AWS::CloudWatch::Alarm").values():
        assert alarm["AlarmActions"]["Fn::If"][:2] == ["HasAlarmTopic", [TOPIC]]


def test_a_setting_that_is_not_in_the_environment_comes_from_the_stages_file(
    project: Path, valkey: RunningServer, simulator: RunningSimulator
) -> None:
    variables = aws_project.settings(valkey, simulator)
    (project / ".env.preview").write_text("OPERATOR_TOKEN=from-the-file-of-the-stage\nAPI_KEYS=not-this-one\n")
    try:
        made = aws_project.pack(project, variables, "--stage", "preview")
    finally:
        (project / ".env.preview").unlink()
    packed = made.functions["operate"]["Environment"]["Variables"]
    assert (packed["OPERATOR_TOKEN"], packed["API_KEYS"]) == ("from-the-file-of-the-stage", variables["API_KEYS"])
