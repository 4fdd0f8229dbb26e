"""Runs one function of the package as Lambda does: AWS's emulator and runtime client, the unpacked zip, Python 3.12."""

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.deploy import aws_tools
from tests.deployment import free_port

START_SECONDS = 20.0
STOP_SECONDS = 10.0
CALL_SECONDS = 70.0
INIT = re.compile(r"INIT REPORT\(durationMs: ([\d.]+)\)")


@dataclass
class Emulator:
    """A running function. Like Lambda, it serves one invocation at a time and starts at the first one."""

    url: str
    log_file: Path
    client: httpx.Client

    def invoke(self, event: Mapping[str, Any]) -> Any:
        """Returns the handler's result; an exception comes back in Lambda's own form."""
        return self.client.post(self.url, json=event).json()

    @property
    def log(self) -> str:
        """The output of emulator and function so far."""
        return self.log_file.read_text(errors="replace")

    def init_ms(self) -> float:
        """Returns how long the function's start took, as the emulator reports it."""
        deadline = time.monotonic() + STOP_SECONDS
        while (found := INIT.search(self.log)) is None:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)
        return float(found.group(1))


@contextmanager
def emulated(task: Path, handler: str, settings: Mapping[str, str], timeout: int = 29) -> Iterator[Emulator]:
    """Runs ``handler`` of the package unpacked at ``task`` until the block ends; it sees only ``settings``."""
    port = free_port()
    variables = {
        "PATH": os.defpath,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "LAMBDA_TASK_ROOT": str(task),
        # In the cloud a package can write no bytecode.
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": f"{task}{os.pathsep}{aws_tools.runtime_client()}",
        "AWS_REGION": "eu-central-1",
        "AWS_LAMBDA_FUNCTION_NAME": handler.replace("/", "-").replace(".", "-"),
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        **settings,
    }
    command = [
        str(aws_tools.interface_emulator()),
        "--log-level", "info",  # else it reads LOG_LEVEL, which may be empty
        "--runtime-interface-emulator-address", f"127.0.0.1:{port}",
        "--runtime-api-address", f"127.0.0.1:{free_port()}",
        str(aws_tools.lambda_python()), "-m", "awslambdaric", handler,
    ]  # fmt: skip
    with tempfile.NamedTemporaryFile("w", suffix=".log") as log, httpx.Client(timeout=CALL_SECONDS) as client:
        process = subprocess.Popen(
            command, cwd=task, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _await_port(port, process, Path(log.name))
            url = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
            yield Emulator(url, Path(log.name), client)
        finally:
            stop(process)


def _await_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/")
            return
        except httpx.TransportError:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ends a tool and all that it started, which share one session."""
    for signalled in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signalled)
            process.wait(STOP_SECONDS)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait()
