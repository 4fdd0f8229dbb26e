"""The embedded stack starts, runs jobs and stops as a whole, and so does the demo."""

import hashlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import av
import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from local.configuration import Configuration
from local.environment import Environment, given_settings, local_secrets, setting_names
from local.receiver import Event, Receiver, secrets_of
from local.receiver import main as receive
from local.schedule import tick
from local.simulator.media import FRAMES
from local.stack import Stack, StackError
from shared.config.storage import StorageSettings
from tests.project import ROOT

FREE_PORTS = {"SLUICE_PORT": "0", "SLUICE_STORE_PORT": "0", "SLUICE_PROVIDER_PORT": "0"}
UP = "Sluice is up."


def clean_environment() -> dict[str, str]:
    """Returns this process's environment without Sluice's settings; SLUICE_ENV=test keeps a developer's .env out."""
    others = {name: value for name, value in os.environ.items() if name not in setting_names()}
    return {**others, **FREE_PORTS, "SLUICE_ENV": "test"}


def sealed(data_dir: Path, **changes: object) -> Configuration:
    """Configures a stack on free ports that ignores the tests' environment; its output goes to files."""
    values: dict[str, object] = {
        "port": 0, "store_port": 0, "provider_port": 0, "data_dir": data_dir, "log_dir": data_dir / "logs",
        "sealed": True, "settings": {"SLUICE_ENV": "test"},
    }  # fmt: skip
    return Configuration(**(values | changes))  # type: ignore[arg-type]


class Process(NamedTuple):
    pid: int
    parent: int
    command: str


def processes() -> list[Process]:
    """Returns all running processes, without zombies."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True)
    rows = (line.split(None, 3) for line in listed.stdout.splitlines())
    return [Process(int(row[0]), int(row[1]), row[3]) for row in rows if len(row) == 4 and not row[2].startswith("Z")]


def descendants(pid: int) -> list[Process]:
    children = [process for process in processes() if process.parent == pid]
    return children + [below for child in children for below in descendants(child.pid)]


def eventually(claim: Callable[[], bool], seconds: float = 15.0) -> bool:
    give_up_at = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.02)
    return True


def all_gone(family: list[Process]) -> bool:
    return not {process.pid for process in family} & {process.pid for process in processes()}


@contextmanager
def running_stack(*flags: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Runs `make dev` in its own process; yields it and its output until the stack was up."""
    command = [sys.executable, "-m", "local.stack", *flags]
    with subprocess.Popen(
        command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            printed = ""
            for line in process.stdout:
                printed += line
                if "/api/status/JOB_ID" in line:
                    break
            assert UP in printed, process.communicate()
            yield process, printed
        finally:
            if process.poll() is None:
                process.terminate()


@pytest.mark.parametrize(
    ("flag", "variable", "part"),
    [
        ("--port", "SLUICE_PORT", "functions"),
        ("--store-port", "SLUICE_STORE_PORT", "store"),
        ("--provider-port", "SLUICE_PROVIDER_PORT", "provider"),
    ],
)
def test_an_occupied_port_is_named_before_anything_starts(flag: str, variable: str, part: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupier:
        port = str(occupier.getsockname()[1])
        command = [sys.executable, "-m", "local.stack", "--data-dir", str(tmp_path / "data"), flag, port]
        ended = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert all(word in ended.stderr for word in (port, flag, variable, part, "occupied"))
    assert len(ended.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_after_any_signal_the_stack_leaves_no_process(number: signal.Signals, status: int, tmp_path: Path) -> None:
    with running_stack("--data-dir", str(tmp_path)) as (process, _):
        family = descendants(process.pid)
        commands = " ".join(child.command for child in family)
        assert all(part in commands for part in ("local.rest_server", "local.simulator", "uvicorn", "local.schedule"))
        process.send_signal(number)
        _, complaints = process.communicate(timeout=30)
        assert (process.returncode, complaints) == (status, "")
        assert eventually(lambda: all_gone(family))


def test_when_a_part_dies_the_stack_names_it_and_stops_the_rest(tmp_path: Path) -> None:
    with running_stack("--data-dir", str(tmp_path), "--fresh") as (process, _):
        family = descendants(process.pid)
        simulator = next(child for child in family if "-m local.simulator" in child.command)
        os.kill(simulator.pid, signal.SIGKILL)
        _, complaints = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "the provider ended on its own with exit status -9" in complaints
        assert eventually(lambda: all_gone(family))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on PATH")
def test_the_printed_command_submits_a_job(tmp_path: Path) -> None:
    with running_stack("--data-dir", str(tmp_path), "--fresh") as (_, printed):
        command = next(line for line in printed.splitlines() if "/api/submit" in line)
        answer = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True)
    assert '"id":"job_' in answer.stdout


BODY = {"model": "acme/text-to-video", "input": {"prompt": "a boat", "simulate": {"seconds": 0.2}}, "user_id": "ada"}


def run_job(stack: Stack) -> tuple[httpx.Response, Event]:
    """Returns the answer to a submit, and the event of the job's end, verified with the deployment's secret."""
    events: list[Event] = []
    with Receiver(secrets_of(stack.urls.functions, stack.api_key), events.append) as receiver:
        body = {**BODY, "hook_url": receiver.url}
        submitted = httpx.post(f"{stack.urls.functions}/api/submit", json=body, headers=authorization(stack))
        assert submitted.status_code == 202
        assert eventually(lambda: bool(events))
    return submitted, events[0]


def authorization(stack: Stack) -> dict[str, str]:
    return {"Authorization": f"Bearer {stack.api_key}"}


def test_a_job_its_file_and_the_api_key_outlive_a_restart(tmp_path: Path) -> None:
    with Stack(sealed(tmp_path)) as stack:
        submitted, event = run_job(stack)
        assert (event.type, event.subject) == ("job.completed", submitted.json()["id"])
    assert len(list((tmp_path / "storage").rglob("results/**/*.mp4"))) == 1
    with Stack(sealed(tmp_path)) as stack:
        found = httpx.get(stack.urls.functions + submitted.json()["links"]["status"], headers=authorization(stack))
        (file,) = found.json()["files"]
        result = stack.urls.functions + submitted.json()["links"]["result"]
        film = httpx.get(result, headers=authorization(stack), follow_redirects=True).content
    assert found.json()["user_id"] == "ada"
    assert file["state"] == "stored" and hashlib.sha256(film).hexdigest() == file["sha256"]
    assert '"event": "submitted"' not in (tmp_path / "logs" / "functions.log").read_text(), (
        "each start begins a new log"
    )


def test_a_fresh_stack_keeps_files_only_while_it_runs(tmp_path: Path) -> None:
    with Stack(sealed(tmp_path, fresh=True)) as stack:
        _, event = run_job(stack)
        (file,) = event.body["data"]["files"]
        assert file["state"] == "stored" and httpx.get(file["url"]).content[4:8] == b"ftyp"
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_memory_mode_runs_without_a_store(tmp_path: Path) -> None:
    with Stack(sealed(tmp_path, memory=True)) as stack:
        health = httpx.get(f"{stack.urls.functions}/api/health").json()
        assert [child.name for child in stack.children] == ["provider", "functions", "schedule"]
    assert (stack.urls.store, health["store"]["mode"]) == (None, "memory")


def test_a_part_that_cannot_start_is_reported_with_its_last_output(tmp_path: Path) -> None:
    stack = Stack(sealed(tmp_path, settings={"SLUICE_ENV": "test", "LEASE": "1"}))
    with pytest.raises(StackError, match=r"the functions ended on its own.*(?s:.*)LEASE"):
        stack.start()
    assert stack.children == []


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in setting_names():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLUICE_ENV", "test")
    return monkeypatch


PORTS = {"functions": 1, "store": 2, "provider": 3}


def test_with_a_replicate_token_the_real_provider_is_used_without_a_made_up_webhook_secret(
    no_settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_settings.setenv("REPLICATE_API_TOKEN", "r8_0123456789abcdef")
    plan = Environment(Configuration(data_dir=tmp_path))
    variables = plan.variables(PORTS)
    assert not plan.needs_simulator
    assert variables["REPLICATE_API_TOKEN"] == "r8_0123456789abcdef"
    assert "REPLICATE_BASE_URL" not in variables
    assert "REPLICATE_WEBHOOK_SECRET" not in variables


def test_the_developers_settings_win_and_placeholders_do_not_count(
    no_settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_settings.setenv("API_KEYS", "mine:0123456789abcdef")
    no_settings.setenv("KV_REST_API_URL", "https://loud-cat-1.upstash.io")
    no_settings.setenv("REPLICATE_API_TOKEN", "r8_your-token")
    no_settings.setenv("MAX_CONCURRENT_TASKS", "7")
    plan = Environment(Configuration(data_dir=tmp_path))
    variables = plan.variables(PORTS)
    assert (plan.needs_store, plan.needs_simulator) == (False, True)
    assert (variables["API_KEYS"], variables["MAX_CONCURRENT_TASKS"]) == ("mine:0123456789abcdef", "7")
    assert "UPSTASH_REDIS_REST_URL" not in variables
    assert variables["REPLICATE_BASE_URL"] == "http://127.0.0.1:3/v1"


def test_results_are_stored_in_the_data_folder_and_may_come_from_this_machine(
    no_settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    variables = Environment(Configuration(data_dir=tmp_path)).variables(PORTS)
    assert (variables["STORAGE_URL"], variables["ALLOW_LOOPBACK"]) == ((tmp_path / "storage").as_uri(), "true")
    assert Environment(Configuration(data_dir=tmp_path, fresh=True)).variables(PORTS)["STORAGE_URL"] == "memory://"
    no_settings.setenv("SLUICE_ENV", "production")
    assert "ALLOW_LOOPBACK" not in Environment(Configuration(data_dir=tmp_path)).variables(PORTS)
    assert "STORAGE_URL" not in Environment(Configuration(data_dir=tmp_path, fresh=True)).variables(PORTS)


def test_the_developers_bucket_and_keys_are_used_unless_the_stack_is_sealed(
    no_settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = {
        "STORAGE_URL": "s3://todo-app-example/results", "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIA0000",
        "AWS_SECRET_ACCESS_KEY": "a/secret/with/xxx/in/it", "AWS_SESSION_TOKEN": "a-token", "AWS_PROFILE": "mine",
    }  # fmt: skip
    for name, value in given.items():
        no_settings.setenv(name, value)
    variables = Environment(Configuration(data_dir=tmp_path)).variables(PORTS)
    assert {name: variables[name] for name in given} == given
    with storage_settings(variables) as own:
        assert own.storage_region == "eu-west-1" and own.storage_keys == (
            "AKIA0000",
            "a/secret/with/xxx/in/it",
            "a-token",
        )
    in_seal = Environment(sealed(tmp_path)).variables(PORTS)
    assert {name for name in given if in_seal.get(name) == given[name]} == {"AWS_PROFILE"}


@contextmanager
def storage_settings(environ: dict[str, str]) -> Iterator[StorageSettings]:
    """Yields the storage settings of a child with this environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        yield StorageSettings()


def test_the_receiver_accepts_events_signed_with_its_secrets_and_no_others(tmp_path: Path) -> None:
    old, new, other = (f"whsec_{letter * 32}" for letter in "AbC")
    body, now = b'{"type":"job.completed","data":{"id":"job_1"}}', datetime.now(UTC)
    events: list[Event] = []

    def post(secret: str, *, at: datetime = now, content: bytes = body, signature: str = "") -> int:
        signature = signature or Webhook(secret).sign("evt_1", at, body.decode())
        stamp = str(int(at.timestamp()))
        headers = {"webhook-id": "evt_1", "webhook-timestamp": stamp, "webhook-signature": signature}
        return httpx.post(receiver.url, content=content, headers=headers).status_code

    with Receiver([old, new], events.append) as receiver:
        assert [post(old), post(new)] == [204, 204]
        assert [(event.type, event.subject) for event in events] == [("job.completed", "job_1")], (
            "one event, received twice"
        )
        refused = [
            post(other), post(old, content=body + b" "), post(old, at=now - timedelta(minutes=10)),
            post(old, signature="nonsense"), post(old, signature="v1,!"),
            httpx.post(receiver.url, content=body).status_code,
        ]  # fmt: skip
        assert (refused, receiver.refused) == ([401] * 6, 6)
        assert httpx.post(receiver.url, content=b"." * 70_000).status_code == 413
    assert len(events) == 1


def test_the_receiver_says_why_it_cannot_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("API_KEY", raising=False)
    assert receive([]) == 2 and "API_KEY" in capsys.readouterr().err
    assert receive(["--api-key", "k", "--url", "http://127.0.0.1:1"]) == 2
    assert "ConnectError" in capsys.readouterr().err


def test_the_environment_wins_over_the_env_file_which_only_development_reads(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("QUEUES=from-file:1\nLOG_LEVEL=DEBUG\nUNRELATED=1\n")
    assert given_settings({"QUEUES": "given:2"}, file) == {"QUEUES": "given:2", "LOG_LEVEL": "DEBUG"}
    assert given_settings({"SLUICE_ENV": "test"}, file) == {"SLUICE_ENV": "test"}


def test_only_the_owner_can_read_the_file_of_local_secrets(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "local.env"
    made = local_secrets(file)
    assert local_secrets(file) == made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert local_secrets(None) != made


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (httpx.Response(200, json={"started": 0, "looked_at": 0, "missing": 0, "failed": 0, "rounds": 1}), None),
        (httpx.Response(200, json={"started": 2, "rounds": 1}), "tick started=2 rounds=1"),
        (httpx.Response(503, json={"code": "store_unavailable"}), "tick failed: status 503"),
        (httpx.Response(200, text="<html>"), "tick failed: JSONDecodeError"),
        (httpx.ConnectError("refused"), "tick failed: ConnectError"),
    ],
)
def test_the_schedule_reports_only_ticks_that_did_work_or_failed(
    answer: httpx.Response | httpx.ConnectError, line: str | None
) -> None:
    def handle(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, httpx.ConnectError):
            raise answer
        return answer

    with httpx.Client(base_url="http://functions", transport=httpx.MockTransport(handle)) as client:
        assert tick(client) == line


def test_the_demo_completes_five_jobs_with_one_retry_and_leaves_files_that_play(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local.demo", "--data-dir", str(tmp_path)]
    ended = subprocess.run(
        command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False, timeout=110
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    table = ended.stdout.partition("Results\n")[2]
    rows = re.findall(
        r"^(job_\w{8}\.\w{3}) +(ada|grace) +(\d) +[\d.]+ +[\d.]+ +(\w+) +[\d.]+ KB +(2.0 s|-) +(yes|-)", table, re.M
    )
    assert [row[1:] for row in rows] == [
        ("ada", "1", "stored", "2.0 s", "yes"), ("grace", "2", "stored", "2.0 s", "yes"),
        ("ada", "1", "stored", "2.0 s", "yes"), ("ada", "1", "stored", "-", "yes"),
        ("grace", "1", "stored", "2.0 s", "yes"),
    ]  # fmt: skip
    done = re.findall(r"(job_\w{4}) .* completed +done .* received job.completed, verified", ended.stdout)
    assert len(set(done)) == 5
    assert "retry after: CUDA out of memory" in ended.stdout
    assert re.search(r"[1-9]\d* of them answered 304", ended.stdout)
    assert re.search(r"6 predictions; .* [1-9] found by polling", ended.stdout)
    results = tmp_path / "demo" / "results"
    assert sorted(file.name for file in results.iterdir()) == sorted(row[0] for row in rows)
    for file in results.iterdir():
        with av.open(str(file)) as media:
            assert sum(1 for _ in media.decode(video=0)) == (1 if file.suffix == ".png" else FRAMES)
