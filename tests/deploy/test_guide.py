"""docs/deploy.md: each command is run as shown, or is listed here with the reason why not."""

import contextlib
import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import httpx
import pytest
from moto import mock_aws
from pydantic import ValidationError

from local.rest_server.running import RunningServer
from local.simulator.running import RunningSimulator
from shared.config.settings import Settings
from shared.env_file import setting_names
from tests.deploy.vercel_bundle import copy_project, own_environment
from tests.deployment import free_port
from tests.project import ROOT
from tests.threads import running

GUIDE = (ROOT / "docs/deploy.md").read_text()
REFERENCE = (ROOT / "docs/api.md").read_text()
BLOCK = re.compile(r"^ *```console\n(.*?)^ *```", re.M | re.S)
# Commands that cannot run here, and why.
NEEDS_AN_ACCOUNT = {
    "npx vercel link": "asks for a login at Vercel; test_vercel.py builds without a login",
    "npx vercel env add SIGNING_SECRET production": "changes a project at Vercel",
    "npx vercel deploy --prod": "uploads to Vercel; test_vercel.py builds and runs what it would upload",
    "npx osls@4 deploy --stage production": "needs an AWS account; the tests of the package run what it would upload",
    "npx osls@4 deploy --config serverless-one.yml --stage production":
        "needs an AWS account; test_aws_one_function.py packs it and runs what it would upload",
    "npx osls@4 remove --stage production": "needs an AWS account",
    "aws s3api put-bucket-lifecycle-configuration --bucket \"$BUCKET\" --lifecycle-configuration file://lifecycle.json":
        "needs an AWS account; a test below sends the file to moto",
}  # fmt: skip
# Commands that another test runs.
RUN_ELSEWHERE = {
    "make artifact": "test_the_command_that_builds_the_package",
    "make setup-replicate": "test_the_setup_commands_fetch_from_replicate_and_qstash",
}
SCHEDULE = "PUBLIC_BASE_URL=https://your-project.vercel.app SLUICE_ENV=production make schedule "
SCHEDULES = (SCHEDULE + "ARGS=\"--cron '*/2 * * * *'\"", SCHEDULE + "ARGS=--delete")
HOST_COMMANDS = ("pip install -r requirements.txt ", "uvicorn functions.index:app ")
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def commands() -> list[str]:
    """Returns every command of the guide, in order."""
    found = [line.strip() for block in BLOCK.findall(GUIDE) for line in block.splitlines()]
    assert all(line.startswith("$ ") for line in found)
    return [line.removeprefix("$ ") for line in found]


def test_every_command_is_run_or_listed() -> None:
    run_here = ("openssl rand", "curl ", *HOST_COMMANDS)
    known = {*NEEDS_AN_ACCOUNT, *RUN_ELSEWHERE, *SCHEDULES}
    assert [line for line in commands() if line not in known and not line.startswith(run_here)] == []
    assert known <= set(commands())


def test_every_switch_exists() -> None:
    deployed = (ROOT / "serverless.yml").read_text()
    switches = re.findall(r"--param (\w+)=", GUIDE)
    assert len(switches) >= 4
    assert [switch for switch in switches if f"param:{switch}," not in deployed] == []


def test_every_route_exists() -> None:
    known = re.findall(r"\| `(?:GET|POST|PUT|PATCH|DELETE) (/api/[^`]+)`", REFERENCE)
    for route in re.findall(r"`(?:GET )?(/api/[^`]+)`", GUIDE):
        assert route in known, route


def button() -> dict[str, str]:
    """Returns the parameters of the deploy button's address."""
    (address,) = re.findall(r"\((https://vercel\.com/new/clone\?[^)]+)\)", GUIDE)
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def missing(**given: Any) -> set[str]:
    """Returns the settings that a production deployment reports as missing."""
    try:
        Settings(_env_file=None, sluice_env="production", public_base_url="https://sluice.vercel.app", **given)
    except ValidationError as error:
        return set(re.findall(r"([A-Z_]+) is missing", str(error)))
    return set()


def test_the_button_asks_for_what_a_deployment_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in setting_names():
        monkeypatch.delenv(name, raising=False)
    needed = missing()
    assert {"API_KEYS", "SIGNING_SECRET", "UPSTASH_REDIS_REST_URL"} <= needed
    integration = {"UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"}
    asked = button()["env"].split(",")
    assert set(asked) == needed - integration | {"CRON_SECRET", "OPERATOR_TOKEN", "VERCEL_PYTHON_COMPILEALL"}
    assert len(asked) == len(set(asked))
    assert json.loads(button()["envDefaults"]) == {"VERCEL_PYTHON_COMPILEALL": "1"}
    (product,) = json.loads(button()["products"])
    assert (product["integrationSlug"], product["productSlug"]) == ("upstash", "upstash-kv")
    # The integration's own variable names are enough.
    assert missing(kv_rest_api_url="https://eu1-x.upstash.io", kv_rest_api_token="AXw1ASQg") == needed - integration


def test_the_buttons_repository_is_a_placeholder() -> None:
    assert button()["repository-url"] == "https://github.com/YOU/sluice"
    assert GUIDE.count("https%3A%2F%2Fgithub.com%2FYOU%2Fsluice") == 2  # in the text and in the button


def test_the_guide_quotes_sluices_error_about_a_tcp_address() -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(
            _env_file=None, sluice_env="production", upstash_redis_rest_url="rediss://default:pw@x.upstash.io:6379"
        )
    (quoted,) = re.findall(r'"(UPSTASH_REDIS_REST_URL is [^"]+)"', GUIDE)
    assert " ".join(quoted.split()) in str(refused.value)


def test_the_line_for_pro_is_vercel_jsons_except_for_the_schedule() -> None:
    (line,) = re.findall(r"```json\n( *\"crons\".*)\n", GUIDE)
    line_of_hobby = re.search(r'^ *"crons".*$', (ROOT / "vercel.json").read_text(), re.M)
    assert line_of_hobby is not None
    assert line == re.sub(r'"schedule": "[^"]+"', '"schedule": "* * * * *"', line_of_hobby.group())


def test_the_regions_are_vercel_jsons() -> None:
    regions = json.loads((ROOT / "vercel.json").read_text())["regions"]
    assert f'`"regions": {json.dumps(regions)}`' in GUIDE


def test_s3_accepts_the_lifecycle_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = re.findall(r"```json\n(\{\n.*?)^```", GUIDE, re.M | re.S)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="files")
        client.put_bucket_lifecycle_configuration(Bucket="files", LifecycleConfiguration=json.loads(text))
        (rule,) = client.get_bucket_lifecycle_configuration(Bucket="files")["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1} and rule["Status"] == "Enabled"


def test_the_secrets_command_makes_a_secret() -> None:
    (command,) = [line for line in commands() if line.startswith("openssl")]
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on PATH (apt install openssl)")
    made = subprocess.run(shlex.split(command), capture_output=True, text=True, check=True).stdout.strip()
    assert re.fullmatch(r"[0-9a-f]{64}", made)


def test_the_command_that_builds_the_package() -> None:
    """Checks only the command; tests next to this file check the package."""
    dry = subprocess.run(make("make artifact --dry-run"), cwd=ROOT, capture_output=True, text=True, check=True)
    assert "-m local.artifact" in dry.stdout


def make(command: str) -> list[str]:
    """Returns a make command that does not touch the environment it runs in."""
    words = shlex.split(command)
    at = words.index("make")
    return ["env", *words[:at], "make", "-o", ".venv/.local", *words[at + 1 :]]


@contextlib.contextmanager
def fake_accounts() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Serves the calls to Replicate and QStash. Yields the address and the requests: method, path and cron."""
    asked: list[tuple[str, str, str]] = []
    answers = {
        "/account": {"username": "ada"},
        "/webhooks/default/secret": {"key": WEBHOOK_SECRET},
        "/v2/keys": {"current": "sig_current", "next": "sig_next"},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.command, self.path, self.headers.get("Upstash-Cron", "")))
            body = json.dumps(answers.get(self.path, {"scheduleId": "s"})).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_DELETE = do_GET

        def log_message(self, *_: Any) -> None:
            """Logs nothing: pytest shows what matters."""

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked


def test_the_setup_commands_fetch_from_replicate_and_qstash(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    (project / ".venv").symlink_to(Path(sys.prefix))
    with fake_accounts() as (url, asked):
        tokens = f"REPLICATE_API_TOKEN=r8_of_the_account\nQSTASH_TOKEN=qt\nREPLICATE_BASE_URL={url}\nQSTASH_URL={url}\n"
        (project / ".env").write_text(tokens)
        for command in ("make setup-replicate", *SCHEDULES):
            ended = subprocess.run(
                make(command), cwd=project, env=bare(), capture_output=True, text=True, check=False, timeout=60
            )
            assert ended.returncode == 0, (command, ended.stdout, ended.stderr)
            assert WEBHOOK_SECRET not in ended.stdout
    kept = (project / ".env").read_text()
    assert f"REPLICATE_WEBHOOK_SECRET={WEBHOOK_SECRET}\n" in kept
    assert "QSTASH_CURRENT_SIGNING_KEY=sig_current\n" in kept and "QSTASH_NEXT_SIGNING_KEY=sig_next\n" in kept
    schedules = [one for one in asked if one[1].startswith("/v2/schedules/")]
    destination = "/v2/schedules/https://your-project.vercel.app/api/process-queue"
    assert schedules == [("POST", destination, "*/2 * * * *"), ("DELETE", "/v2/schedules/sluice-production", "")]


def bare() -> dict[str, str]:
    """Returns the environment without the variables of `make`."""
    others = {"MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "ARGS", "MAKELEVEL"}
    return {name: value for name, value in own_environment().items() if name not in others} | {"NO_PROXY": "127.0.0.1"}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another host's image: a copy of the project, with an environment that the guide's command fills."""
    project = copy_project(tmp_path_factory.mktemp("host") / "project")
    venv.create(project / ".venv", with_pip=True)
    (install,) = [line for line in commands() if line.startswith("pip install")]
    pinned = re.search(r"^uvicorn==.*$", (ROOT / "requirements-local.txt").read_text(), re.M)
    assert pinned is not None and install.endswith(pinned.group())
    subprocess.run(
        [project / ".venv" / "bin" / "python", "-m", *shlex.split(install)],
        cwd=project, env=bare(), capture_output=True, check=True, timeout=300,
    )  # fmt: skip
    return project


@pytest.mark.deploy
@pytest.mark.timeout(400)
def test_another_host_starts_it_and_the_guides_calls_answer(
    host: Path, valkey: RunningServer, simulator: RunningSimulator
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not on PATH (apt install curl)")
    valkey.flush()
    simulator.reset()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    known = {"API_KEY": secrets.token_hex(32), "QUEUE_PROCESSOR_TOKEN": secrets.token_hex(32)}
    known |= {"OPERATOR_TOKEN": secrets.token_hex(32), "PORT": str(port), "URL": url, "JOB": ""}
    settings = {
        "SLUICE_ENV": "production", "PUBLIC_BASE_URL": "https://queue.acme-studio.net",
        "UPSTASH_REDIS_REST_URL": valkey.url, "UPSTASH_REDIS_REST_TOKEN": valkey.token,
        "API_KEYS": f"app:{known['API_KEY']}", "SIGNING_SECRET": secrets.token_hex(32),
        "REPLICATE_API_TOKEN": simulator.token, "REPLICATE_WEBHOOK_SECRET": simulator.webhook_secret,
        "REPLICATE_BASE_URL": simulator.url,
    }  # fmt: skip
    path = f"{host / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**bare(), **known, "PATH": path}
    (start,) = [line for line in commands() if line.startswith("uvicorn")]
    # Only this machine may reach it.
    start = start.replace("0.0.0.0", "127.0.0.1")
    with (host / "output").open("w") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {start}"], cwd=host, env=environment | settings, stdout=output, stderr=output
        )
    try:
        await_health(url, process, host / "output")
        said = {}
        for command in (line for line in commands() if line.startswith("curl")):
            ended = subprocess.run(
                ["/bin/sh", "-c", command], env=environment, capture_output=True, text=True, check=False, timeout=60
            )
            assert ended.returncode == 0, (command, ended.stderr, (host / "output").read_text())
            said[command] = json.loads(ended.stdout)
            environment["JOB"] = environment["JOB"] or said[command].get("id", "")
    finally:
        process.terminate()
        assert process.wait(20) in (0, -15)
    answers = list(said.values())
    assert answers[0]["status"] == "ok" and answers[2]["id"] == answers[1]["id"] == environment["JOB"]
    assert answers[3]["rounds"] >= 1


def await_health(url: str, process: "subprocess.Popen[bytes]", output: Path) -> None:
    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/api/health", trust_env=False).status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(output.read_text())
