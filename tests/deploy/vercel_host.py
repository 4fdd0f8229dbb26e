"""Vercel's host for a function: starts a bundle with Vercel's own runtime."""

import json
import os
import queue
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.deploy.vercel_bundle import Bundle, own_environment
from tests.deploy.vercel_tools import Tools

START_DEADLINE = 60.0  # s
# The platform's launcher imports the handler's module. With an IPC path it serves until the process is stopped.
LAUNCH = "import vc__handler__python"


class StartFailed(Exception):
    """The function did not start; the message is its output."""


@dataclass
class Instance:
    """A running function, and its messages to the platform."""

    process: "subprocess.Popen[bytes]"
    messages: "queue.Queue[dict[str, Any]]"
    output: Path
    launched: float  # when, by time.monotonic()
    port: int = 0
    init_ms: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The function's own address, behind the edge."""
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, kind: str) -> dict[str, Any]:
        """Returns the next message of this type. Raises StartFailed if the function ends or takes too long."""
        give_up_at = time.monotonic() + START_DEADLINE
        while time.monotonic() < give_up_at:
            try:
                message = self.messages.get(timeout=0.2)
            except queue.Empty:
                if self.process.poll() is None:
                    continue
                break
            self.seen.append(message)
            if message["type"] == kind:
                return message
            if message["type"] == "unrecoverable-error":
                break
        raise StartFailed(f"no {kind}: {self.seen}\n{self.output.read_text(errors='replace')}")


@contextmanager
def running(tools: Tools, bundle: Bundle, unpacked: Path, settings: Mapping[str, str]) -> Iterator[Instance]:
    """Runs an unpacked bundle until the block ends. One unpacked bundle serves any number of instances."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        address, printed = Path(folder) / "ipc", Path(folder) / "output"
        listening.bind(str(address))
        listening.listen()
        listening.settimeout(START_DEADLINE)
        environment = {
            **own_environment(),
            "PATH": os.defpath,
            "VERCEL": "1",
            "VERCEL_ENV": "preview",
            "VERCEL_REGION": "fra1",
            **bundle.config.get("environment", {}),
            "VERCEL_IPC_PATH": str(address),
            **settings,
        }
        with printed.open("wb") as output:
            launched = time.monotonic()
            process = subprocess.Popen(
                [tools.python, "-c", LAUNCH], cwd=unpacked, env=environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        instance = Instance(process, queue.Queue(), printed, launched)
        threading.Thread(target=_read, args=(listening, instance.messages), daemon=True).start()
        try:
            started = instance.wait_for("server-started")["payload"]
            instance.port, instance.init_ms = int(started["httpPort"]), int(started["initDuration"])
            yield instance
        finally:
            stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process with SIGTERM, and after 10 s with SIGKILL."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read(listening: socket.socket, messages: "queue.Queue[dict[str, Any]]") -> None:
    """Passes on the function's messages: JSON texts, each ended by a NUL."""
    try:
        connection, _ = listening.accept()
    except OSError:
        return  # the function has never connected
    rest = b""
    with connection:
        while data := connection.recv(65_536):
            *whole, rest = (rest + data).split(b"\0")
            for text in whole:
                messages.put(json.loads(text) | {"heard_at": time.monotonic()})
