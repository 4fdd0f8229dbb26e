"""The REST server's process and its engine: start, stop and sudden end."""

import os
import re
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from local.rest_server.engine import Engine, EngineError
from local.rest_server.running import running_server
from tests.project import ROOT

# The engine and the process around it


def test_data_outlives_a_stop_when_a_directory_is_given(tmp_path: Path) -> None:
    with running_server(data_dir=tmp_path / "store") as running:
        httpx.get(f"{running.url}/set/k/v?_token={running.token}")
        with pytest.raises(EngineError, match="in use by another engine"):
            Engine(data_dir=tmp_path / "store").start()
    with running_server(data_dir=tmp_path / "store") as running:
        assert running.ask("GET", "k") == b"v"


def test_a_hanging_request_does_not_hold_up_the_stop() -> None:
    with socket.socket() as client:
        with running_server() as running:
            hung = running.inject("hang")
            client.connect(("127.0.0.1", int(running.url.rpartition(":")[2])))
            client.sendall(f"GET /get/a?_token={running.token} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            while not hung.fired:
                os.sched_yield()
        assert client.recv(1) == b""


def test_an_engine_that_ends_or_does_not_answer_is_an_error_with_its_log(tmp_path: Path) -> None:
    binary = tmp_path / "engine"
    for script, message in (("exit 1", "ended while starting"), ("exec sleep 60", "did not answer PING in time")):
        binary.write_text(f"#!/bin/sh\necho bad setting\n{script}\n")
        binary.chmod(0o755)
        with pytest.raises(EngineError, match=message) as raised:
            Engine(binary).start(deadline_seconds=0.2)
        assert "bad setting" in str(raised.value)


def test_stopping_twice_is_harmless() -> None:
    engine = Engine().start()
    engine.stop()
    engine.stop()
    with pytest.raises(EngineError, match="not running"):
        _ = engine.pid


def command_line(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "local.rest_server", *arguments]


def test_an_occupied_port_is_one_message_and_status_2() -> None:
    with socket.socket() as occupant:
        occupant.bind(("127.0.0.1", 0))
        occupant.listen()
        port = str(occupant.getsockname()[1])
        ended = subprocess.run(command_line("--port", port), cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == f"rest_server: cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="pidfd, to wait for a foreign process, is Linux only")
@pytest.mark.parametrize(
    ("number", "status"),
    [
        pytest.param(signal.SIGTERM, 0, marks=pytest.mark.exhaustive),
        pytest.param(signal.SIGINT, 0, marks=pytest.mark.exhaustive),
        (signal.SIGKILL, -9),
    ],
)
def test_the_engine_ends_with_the_server_after_any_signal(number: signal.Signals, status: int) -> None:
    environment = os.environ | {"UPSTASH_REDIS_REST_TOKEN": "t"}
    with subprocess.Popen(
        command_line("--port", "0"),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        url = process.stdout.readline().split()[-1]
        facts = httpx.get(f"{url}/info/server", headers={"Authorization": "Bearer t"}).json()["result"]
        engine = os.pidfd_open(int(re.search(r"process_id:(\d+)", facts)[1]))  # type: ignore[index]
        process.send_signal(number)
        assert process.wait(10) == status
        assert process.stderr.read() == ""
        assert select.select([engine], [], [], 10)[0] == [engine]
        os.close(engine)
