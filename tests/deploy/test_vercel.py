"""Built by Vercel's own builder and run by Vercel's own runtime: the bundle's content, and a whole job through it."""

import functools
import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer
from local.simulator.running import RunningSimulator, running_simulator
from shared.config.hosting import BYPASS
from tests.bench.output import first_cells, run
from tests.deploy.vercel_bundle import Bundle, Output, build, copy_project
from tests.deploy.vercel_edge import Edge, running_edge
from tests.deploy.vercel_host import Instance, StartFailed, running
from tests.deploy.vercel_tools import Tools, install_tools
from tests.project import ROOT

# Installing the builder takes half a minute, a build ten seconds.
pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

LIMIT = 250 * 10**6  # bytes unpacked (Vercel, "Functions limits")
CANARY = "canary-7b1d5e0f-never-in-a-bundle"
PLANTED = (
    ".env", ".env.local", ".env.production", ".sluice/local.env", ".sluice/logs/functions.log", "build/artifact.txt",
    "tests/secret.txt", "tests/deploy/secret.py", "local/secret.py", "bench/secret.txt", "web/page.html",
    "sluice/client.py", "functions/.env", "shared/.env.local", "shared/store/.env/token", ".serverless/state.json",
    ".aws/credentials", "notes.md", ".netrc",
)  # fmt: skip
API_KEY = "a-key-of-the-app-38f5b1c2"
AUTH = {"Authorization": f"Bearer {API_KEY}"}
CRON = {"User-Agent": "vercel-cron/1.0", "x-vercel-cron-schedule": "0 5 * * *"}


@pytest.fixture(scope="module")
def tools() -> Tools:
    return install_tools()


@pytest.fixture(scope="module")
def output(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Output:
    """The build of a developer's copy, which has their secrets, data and leftovers."""
    project = copy_project(tmp_path_factory.mktemp("vercel") / "project")
    for name in PLANTED:
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"SECRET = {CANARY!r}\n")
    return build(tools, project)


@pytest.fixture(scope="module")
def bundle(output: Output) -> Bundle:
    return output.only


@pytest.fixture(scope="module")
def unpacked(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle.unpack(tmp_path_factory.mktemp("task"))


def test_all_routes_are_one_function(output: Output) -> None:
    assert [function.name for function in output.functions] == ["fastapi.func"]
    to_functions = [route for route in output.config["routes"] if route.get("dest") == "/fastapi"]
    assert [route["src"] for route in to_functions] == ["/(.*)"]
    config = output.only.config
    assert (config["runtime"], config["maxDuration"]) == ("python3.12", 60)


def test_the_bundle_is_small(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f" {bundle.size / 1e6:.1f} MB in {len(bundle.files)} files", end=" ")
    assert bundle.size < LIMIT


def test_the_bundle_has_no_secret_and_no_useless_file(bundle: Bundle) -> None:
    assert {name.split("/")[0] for name in bundle.files} == {"functions", "shared", "_vendor", "vc__handler__python.py"}
    assert [name for name in bundle.files if "/.env" in name or name.startswith(".env")] == []
    found = [name for name, path in bundle.files.items() if CANARY.encode() in path.read_bytes()]
    assert found == []


def test_the_canaries_would_be_found(output: Output) -> None:
    """The build's folder has them; only vercel.json keeps them out of the bundle."""
    assert all(CANARY in (output.project / name).read_text() for name in PLANTED)


def test_the_bundle_has_every_file_that_a_function_needs(bundle: Bundle) -> None:
    wanted = {str(path.relative_to(ROOT)) for folder in ("functions", "shared") for path in (ROOT / folder).rglob("*")}
    wanted = {name for name in wanted if name.endswith((".py", ".lua", ".toml"))}
    assert any(name.endswith(".lua") for name in wanted)
    assert wanted <= set(bundle.files)
    installed = {name.split("/")[1] for name in bundle.files if name.endswith(".dist-info/METADATA")}
    assert set(pins(ROOT / "requirements.txt")) <= {plain(name.removesuffix(".dist-info")) for name in installed}


def pins(requirements: Path) -> list[str]:
    """Returns a file's pinned packages, as name-version."""
    return [plain(line.replace("==", "-")) for line in requirements.read_text().splitlines() if "==" in line]


def plain(name: str) -> str:
    return name.replace("_", "-").lower()


def test_the_bundle_has_bytecode_that_is_valid_at_any_file_time(bundle: Bundle) -> None:
    for name in [
        known for known in bundle.files if known.startswith(("functions/", "shared/")) and known[-3:] == ".py"
    ]:
        folder, _, file = name.rpartition("/")
        compiled = bundle.files[f"{folder}/__pycache__/{file[:-3]}.cpython-312.pyc"]
        assert compiled.read_bytes()[4:8] == b"\x01\0\0\0", name  # by hash, unchecked (PEP 552)


def test_the_schedule_reaches_the_platform(output: Output) -> None:
    assert output.config["crons"] == json.loads((ROOT / "vercel.json").read_text())["crons"]


def test_the_builder_accepts_vercel_json_without_a_warning(output: Output) -> None:
    complaints = [
        line for line in output.printed.splitlines() if "WARN" in line and "not running on Vercel" not in line
    ]
    assert complaints == []


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with running_edge(tmp_path_factory.mktemp("edge"), protection=secrets.token_hex(16)) as running:
        yield running


@pytest.fixture(scope="module")
def provider(edge: Edge) -> Iterator[RunningSimulator]:
    """A simulator that trusts the edge's certificate."""
    with pytest.MonkeyPatch.context() as patched:
        trusting = functools.partial(httpx.AsyncClient, verify=edge.trust)
        patched.setattr("local.simulator.webhooks.httpx.AsyncClient", trusting)
        with running_simulator() as simulator:
            patched.undo()
            yield simulator


@pytest.fixture(scope="module")
def settings(valkey: RunningServer, provider: RunningSimulator, edge: Edge) -> dict[str, str]:
    """A preview's settings: the variables of Upstash's integration and of the platform, and the guide's secrets."""
    return {
        "KV_REST_API_URL": valkey.url,
        "KV_REST_API_TOKEN": valkey.token,
        "API_KEYS": f"app:{API_KEY}",
        "SIGNING_SECRET": secrets.token_hex(32),
        "QUEUE_PROCESSOR_TOKEN": secrets.token_hex(32),
        "CRON_SECRET": secrets.token_hex(32),
        "REPLICATE_API_TOKEN": provider.token,
        "REPLICATE_WEBHOOK_SECRET": provider.webhook_secret,
        "REPLICATE_BASE_URL": provider.url,
        "VERCEL_URL": edge.address,
        "VERCEL_AUTOMATION_BYPASS_SECRET": edge.protection or "",
        "NO_PROXY": "127.0.0.1",
    }


@pytest.fixture(scope="module")
def instance(
    tools: Tools, bundle: Bundle, unpacked: Path, settings: dict[str, str], edge: Edge, valkey: RunningServer
) -> Iterator[Instance]:
    valkey.flush()
    with running(tools, bundle, unpacked, settings) as started:
        edge.function = started.url
        yield started


@pytest.fixture
def client(instance: Instance, edge: Edge) -> Iterator[httpx.Client]:
    """A caller from outside who knows the secret of the preview's protection."""
    known = {BYPASS: edge.protection or ""}
    with httpx.Client(base_url=edge.url, verify=edge.trust, trust_env=False, timeout=30, headers=known) as opened:
        yield opened


def test_a_whole_job_goes_through_the_bundle(
    client: httpx.Client, edge: Edge, provider: RunningSimulator, valkey: RunningServer, instance: Instance
) -> None:
    asked = {"prompt": "a paper boat", "simulate": {"seconds": 0.2, "start_delay": 0.0}}
    submitted = client.post(
        "/api/submit", headers=AUTH, json={"model": "acme/text-to-video", "input": asked, "user_id": "ada"}
    )
    assert submitted.status_code == 202, (submitted.text, instance.output.read_text())
    job = submitted.json()
    webhook = wait_for_webhook(edge)
    assert (webhook.status, webhook.query["job"], webhook.query[BYPASS]) == (200, job["id"], edge.protection)
    status = client.get(job["links"]["status"], headers=AUTH).json()
    assert status["status"] == "completed" and status["output"]
    assert status["attempts"] == len(provider.predictions()) == 1
    keys = {str(key) for key in texts(valkey.ask("KEYS", "*"))}
    assert keys and all(key.startswith("sluice:preview") for key in keys)


def wait_for_webhook(edge: Edge, seconds: float = 20.0) -> Any:
    """Returns the provider's call, once the edge has passed it on."""
    give_up_at = time.monotonic() + seconds
    while True:
        for passed in list(edge.passed):
            if passed.path.startswith("/api/webhook/"):
                return passed
        assert time.monotonic() < give_up_at, edge.passed
        time.sleep(0.02)


def texts(reply: Any) -> list[str]:
    return [item.decode() if isinstance(item, bytes) else str(item) for item in reply]


def test_vercels_cron_ticks(client: httpx.Client, settings: dict[str, str]) -> None:
    ticked = client.get("/api/process-queue", headers={**CRON, "Authorization": f"Bearer {settings['CRON_SECRET']}"})
    assert ticked.status_code == 200 and ticked.json()["rounds"] >= 1
    health = client.get("/api/health").json()
    assert health["status"] == "ok" and health["tick_is_late"] is False
    assert client.get("/api/process-queue", headers=CRON).status_code == 401


def test_an_unknown_path_is_answered_404_in_json(client: httpx.Client) -> None:
    for path in ("/", "/api/nothing", "/.env"):
        answer = client.get(path)
        assert answer.status_code == 404 and answer.headers["content-type"].startswith("application/"), path


def test_the_edge_refuses_a_caller_without_the_secret(edge: Edge, instance: Instance) -> None:
    with httpx.Client(verify=edge.trust, trust_env=False) as outsider:
        assert outsider.get(f"{edge.url}/api/health").status_code == 401


def test_the_runtime_saw_each_request_begin_and_end(client: httpx.Client, instance: Instance) -> None:
    assert client.get("/api/health").status_code == 200
    started = instance.wait_for("handler-started")
    assert started["payload"]["handlerStartedAt"] > 0
    assert instance.wait_for("end")["type"] == "end"
    assert not [message for message in instance.seen if message["type"] == "unrecoverable-error"]


def test_a_deployment_without_a_setting_does_not_start_and_says_which_is_missing(
    tools: Tools, bundle: Bundle, unpacked: Path, settings: dict[str, str]
) -> None:
    without = {name: value for name, value in settings.items() if name != "SIGNING_SECRET"}
    with pytest.raises(StartFailed, match="Sluice cannot start: SIGNING_SECRET is missing"):
        with running(tools, bundle, unpacked, without):
            pass


@pytest.mark.parametrize("name", ["development", "test"])
def test_the_public_secrets_of_development_do_not_start_on_vercel(
    tools: Tools, bundle: Bundle, unpacked: Path, settings: dict[str, str], name: str
) -> None:
    with pytest.raises(StartFailed, match="must not run on Vercel"):
        with running(tools, bundle, unpacked, settings | {"SLUICE_ENV": name}):
            pass


def test_the_bench_of_starts_prints_every_row(tools: Tools) -> None:
    printed = run("bench.vercel_start", "--runs", "1", "--no-targets", seconds=500)
    assert first_cells(printed) == ["bare handler", "Sluice with bytecode", "Sluice without"]
    assert "With bytecode to without:" in printed
