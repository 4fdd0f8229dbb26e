"""What serverless.yml gives each function of AWS Lambda: all settings, and only the secrets that the function uses."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.budget import Budget
from shared.config.credentials import WITHHELD
from shared.config.settings import Settings
from shared.env_file import setting_names
from shared.providers.wavespeed import WaveSpeedSettings
from shared.startup import SettingsError, load_settings
from tests.config.production import GOOD
from tests.project import ROOT

DOCUMENT = yaml.safe_load((ROOT / "serverless.yml").read_text())
FUNCTIONS: dict[str, Any] = DOCUMENT["functions"]
# Settings that no function on Lambda gets, and why.
LEFT_OUT = {
    "USE_REDIS_FOR_TASKS": "false is refused on Lambda",
    "ALLOW_LOOPBACK": "true is refused outside development",
    "TIMING_SCALE": "for tests",
    "TRUSTED_PROXIES": "API Gateway says whose connection it is",
    "VERCEL_AUTOMATION_BYPASS_SECRET": "of Vercel",
    "QSTASH_TOKEN": "only `make schedule` uses it",
    "QSTASH_URL": "only `make schedule` uses it",
    "KV_REST_API_URL": "another name of UPSTASH_REDIS_REST_URL, which the functions get",
    "KV_REST_API_TOKEN": "another name of UPSTASH_REDIS_REST_TOKEN, which the functions get",
    "AWS_REGION": "set by Lambda",
    "AWS_ACCESS_KEY_ID": "set by Lambda",
    "AWS_SECRET_ACCESS_KEY": "set by Lambda",
    "AWS_SESSION_TOKEN": "set by Lambda",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "set by Lambda",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN": "set by Lambda",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "set by EKS",
}
MAIL = {"SMTP_URL", "RESEND_API_KEY"}
ALERTS = {"SLACK_WEBHOOK_URL", "DISCORD_WEBHOOK_URL", "ALERT_WEBHOOK_URL", "ALERT_EMAIL"}
TRACES = {
    "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_SERVICE_NAME", "OTEL_TRACES_SAMPLER_ARG",
}  # fmt: skip
STARTS_JOBS = MAIL | TRACES | {
    "SIGNING_SECRET", "HOOKS", "STORAGE_SECRET_ACCESS_KEY", "REPLICATE_API_TOKEN", "WAVESPEED_API_KEY",
}  # fmt: skip
SCHEDULERS = {"QUEUE_PROCESSOR_TOKEN", "CRON_SECRET", "QSTASH_CURRENT_SIGNING_KEY", "QSTASH_NEXT_SIGNING_KEY"}
# The secrets of each function, and what else only some get, besides the store's token, Sentry's address, and API_KEYS,
# whose names the limits count.
SECRETS_OF = {
    "submit": STARTS_JOBS | ALERTS | {"JWT_SECRET"},
    "status": STARTS_JOBS | {"JWT_SECRET", "OPERATOR_TOKEN"},
    "jobs": STARTS_JOBS | {"JWT_SECRET", "OPERATOR_TOKEN"},
    "batches": STARTS_JOBS | ALERTS | {"JWT_SECRET", "OPERATOR_TOKEN"},
    "hooks": {"SIGNING_SECRET", "HOOKS"},
    "uploads": {"SIGNING_SECRET", "STORAGE_SECRET_ACCESS_KEY", "JWT_SECRET"},
    "tokens": {"SIGNING_SECRET"},
    "files": set(),
    "users": STARTS_JOBS,
    "verification": {"SIGNING_SECRET"} | MAIL,
    "operate": STARTS_JOBS | ALERTS | {"OPERATOR_TOKEN"},
    "processQueue": STARTS_JOBS | ALERTS | SCHEDULERS | {"OPERATOR_TOKEN", "METRICS_TOKEN"},
    "tick": STARTS_JOBS | ALERTS,
    "webhook": STARTS_JOBS | {"REPLICATE_WEBHOOK_SECRET", "WAVESPEED_WEBHOOK_SECRET"},
    "health": set(),
}
EVERYTHING = GOOD | {
    "OPERATOR_TOKEN": "d6e5f4a3b2c1d0e9f8a7",
    "SENTRY_DSN": "https://0123456789abcdef@sentry.example/1",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.acme.dev",
    "OTEL_EXPORTER_OTLP_HEADERS": "x-key=0123456789abcdef",
    "OTEL_SERVICE_NAME": "films",
    "OTEL_TRACES_SAMPLER_ARG": "0.5",
    "METRICS_TOKEN": "a4c3d2e1f0a9b8c7d6e5",
    "CRON_SECRET": "e7f6a5b4c3d2e1f0a9b8",
    "QSTASH_CURRENT_SIGNING_KEY": "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r",
    "QSTASH_NEXT_SIGNING_KEY": "sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs",
    "PROVIDERS": "replicate,wavespeed",
    "WAVESPEED_API_KEY": "ws-0123456789abcdef",
    "WAVESPEED_WEBHOOK_SECRET": "whsec_0123456789abcdef0123456789abcdef",
    "STORAGE_URL": "s3://films/results",
    "STORAGE_REGION": "eu-west-1",
    "STORAGE_ACCESS_KEY_ID": "films",
    "STORAGE_SECRET_ACCESS_KEY": "f8a7b6c5d4e3f2a1b0c9",
    "JWT_SECRET": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "JWT_ISSUER": "https://acme.dev",
    "JWT_AUDIENCE": "sluice",
    "JWT_OWNER": "web",
    "HOOKS": '{"web": {"url": "https://acme.dev/hook"}}',
    "SMTP_URL": "smtps://acme:b7a6c5d4e3f2@smtp.acme.dev",
    "RESEND_API_KEY": "re_a7b6c5d4e3f2a1b0",
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T0/B0/a7b6c5d4",
    "DISCORD_WEBHOOK_URL": "https://discord.com/api/webhooks/1/a7b6c5d4",
    "ALERT_WEBHOOK_URL": "https://acme.dev/alerts",
    "ALERT_EMAIL": "ops@acme.dev",
    "MAIL_FROM": "Acme <no-reply@acme.dev>",
}


def deployed(function: str, shell: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables of a function that is deployed from a shell with these."""
    written = DOCUMENT["provider"]["environment"] | FUNCTIONS[function].get("environment", {})
    found = {name: resolved(str(value), shell) for name, value in written.items()}
    return {name: value for name, value in found.items() if value is not None}


def resolved(value: str, shell: Mapping[str, str]) -> str | None:
    """Returns the first source of ``${...}`` that has a value, as the framework does; a value as it is otherwise."""
    inner = re.fullmatch(r"\$\{(.*)\}", value)
    if inner is None:
        return value
    for source in inner.group(1).split(", "):
        if source == "null":
            return None
        if source == "sls:stage":
            return "production"
        if not source.startswith("env:"):
            return source.strip("'")
        if (found := shell.get(source.removeprefix("env:"))) is not None:
            return found
    raise AssertionError(f"nothing for {value}")


def test_the_one_function_gets_the_secrets_of_all_and_no_other_variable() -> None:
    (function,) = yaml.safe_load((ROOT / "serverless-one.yml").read_text())["functions"].values()
    secrets = {name: value for group in DOCUMENT["custom"]["secrets"] for name, value in group.items()}
    assert function["environment"] == secrets


def start(function: str, shell: Mapping[str, str], environment: pytest.MonkeyPatch) -> Settings:
    """Returns the settings of a function that is deployed from this shell."""
    for name in EVERYTHING:
        environment.delenv(name, raising=False)
    for name, value in deployed(function, shell).items():
        environment.setenv(name, value)
    environment.setenv("AWS_LAMBDA_FUNCTION_NAME", f"sluice-production-{function}")
    return load_settings()


def test_each_setting_reaches_a_function_or_is_listed_with_a_reason() -> None:
    written = {*DOCUMENT["provider"]["environment"]}.union(*(own.get("environment", {}) for own in FUNCTIONS.values()))
    assert written | set(LEFT_OUT) == setting_names()
    assert not written & set(LEFT_OUT)


def test_each_setting_of_a_deployer_reaches_each_function_unless_it_is_a_secret() -> None:
    """No name is written wrongly, and none is fixed except what follows from a function's timeout."""
    fixed = {"SLUICE_ENV", "FUNCTION_MAX_DURATION", "TICK_BUDGET", "TICK_SECOND_PASS"}
    common = setting_names() - fixed - set(LEFT_OUT) - set().union(*SECRETS_OF.values())
    shell = {name: f"value of {name}" for name in setting_names()}
    for function in FUNCTIONS:
        given = deployed(function, shell)
        assert {name: given.get(name) for name in common} == {name: shell[name] for name in common}, function


def test_each_function_gets_only_the_secrets_that_it_uses() -> None:
    """Also each secret is in the table of this test, so that a new one is decided upon."""
    assert set(SECRETS_OF) == set(FUNCTIONS)
    fields = {**Settings.model_fields, **WaveSpeedSettings.model_fields}
    secrets = {name.upper() for name, field in fields.items() if "Secret" in str(field.annotation)}
    secrets |= {"HOOKS", "ALERT_EMAIL"}  # the second one needs the way of mails, which is secret
    secrets |= TRACES  # a function that makes no span loads nothing for them
    of_all = {"UPSTASH_REDIS_REST_TOKEN", "API_KEYS", "SENTRY_DSN"}
    assert secrets == set().union(*SECRETS_OF.values()) | of_all | (secrets & set(LEFT_OUT))
    for function in FUNCTIONS:
        given = deployed(function, EVERYTHING)
        got = {name for name in secrets if given.get(name) == EVERYTHING.get(name) and name in given}
        assert got == SECRETS_OF[function] | of_all, function


@pytest.mark.parametrize("shell", [GOOD, EVERYTHING], ids=["the least", "everything"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_function_starts_with_what_it_gets(
    environment: pytest.MonkeyPatch, function: str, shell: dict[str, str]
) -> None:
    own = FUNCTIONS[function]
    loaded = start(function, shell, environment)
    assert loaded.function_max_duration == own.get("timeout", DOCUMENT["provider"]["timeout"])
    assert Budget.of_function(loaded).allows_submission(loaded)
    assert Budget(loaded.tick_budget).allows_submission(loaded)
    assert loaded.callers.keys() == {"web", "worker"}
    assert len("".join(f"{name}{value}" for name, value in deployed(function, shell).items())) < 2048


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_function_is_imported_with_what_it_gets(tmp_path: Path, function: str) -> None:
    module = FUNCTIONS[function]["handler"].removesuffix(".handler").replace("/", ".")
    own = {"AWS_LAMBDA_FUNCTION_NAME": function, **deployed(function, EVERYTHING)}
    environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), **own}
    ran = subprocess.run([sys.executable, "-c", f"import {module}"], cwd=tmp_path, env=environment, capture_output=True)
    assert ran.returncode == 0, ran.stderr.decode()[-500:]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    "name",
    [
        *("SIGNING_SECRET", "QUEUE_PROCESSOR_TOKEN", "REPLICATE_API_TOKEN", "REPLICATE_WEBHOOK_SECRET"),
        *("WAVESPEED_API_KEY", "WAVESPEED_WEBHOOK_SECRET", "STORAGE_SECRET_ACCESS_KEY"),
    ],
)
def test_a_function_misses_a_secret_that_it_uses_and_no_other(
    environment: pytest.MonkeyPatch, function: str, name: str
) -> None:
    shell = EVERYTHING | {name: ""}
    if name in SECRETS_OF[function]:
        with pytest.raises(SettingsError, match=name):
            start(function, shell, environment)
    else:
        start(function, shell, environment)


def test_the_word_for_a_secret_that_a_function_does_not_get_is_no_secret(environment: pytest.MonkeyPatch) -> None:
    loaded = start("health", EVERYTHING, environment)
    assert loaded.queue_processor_token is None and loaded.replicate_api_token is None
    with pytest.raises(RuntimeError, match="SIGNING_SECRET"):
        _ = loaded.signing_key
    environment.delenv("AWS_LAMBDA_FUNCTION_NAME")
    with pytest.raises(SettingsError, match=r"QUEUE_PROCESSOR_TOKEN is a placeholder \(withheld\)"):
        load_settings()
    assert WITHHELD == "withheld"


def test_the_http_api_lets_only_so_many_calls_pass() -> None:
    stage = DOCUMENT["resources"]["extensions"]["HttpApiStage"]["Properties"]["DefaultRouteSettings"]
    assert stage == {"ThrottlingRateLimit": "${self:custom.rate}", "ThrottlingBurstLimit": "${self:custom.burst}"}
    assert resolved(DOCUMENT["custom"]["rate"].replace("param:rate, ", ""), {}) == "100"
    assert resolved(DOCUMENT["custom"]["burst"].replace("param:burst, ", ""), {"HTTP_BURST": "5"}) == "5"


def test_the_statements_for_a_bucket_have_the_rights_that_the_documents_name() -> None:
    rights = re.compile(r"s3:[A-Z]\w+")
    described = (ROOT / "docs" / "deploy.md").read_text().partition("On Lambda the role")[2].partition("\n\n")[0]
    template = (ROOT / "serverless.yml").read_text()
    statements = template.partition("For a bucket without keys")[2].partition("FunctionRole:")[0]
    assert set(rights.findall(statements)) == set(rights.findall(described)) > {"s3:ListBucket", "s3:PutObject"}
    assert '"arn:aws:s3:::BUCKET"' in statements
