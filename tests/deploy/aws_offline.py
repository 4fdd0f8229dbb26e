"""serverless-offline: the sources behind a local API Gateway, and a schedule that ticks every minute."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from local.rest_server.running import running_server
from local.simulator.running import RunningSimulator, running_simulator
from tests.deploy import aws_project, aws_tools
from tests.deploy.aws_emulator import stop
from tests.deployment import free_port

READY_SECONDS = 60.0


@dataclass
class Offline:
    """The running API. It has its own store and provider, since its schedule ticks at any time."""

    client: httpx.Client
    simulator: RunningSimulator
    process: "subprocess.Popen[bytes]"
    log: Path

    def await_ready(self) -> None:
        """Returns when the API answers."""
        give_up_at = time.monotonic() + READY_SECONDS
        while True:
            assert self.process.poll() is None and time.monotonic() < give_up_at, self.log.read_text()
            try:
                if self.client.get("/api/health").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)


@contextmanager
def running_offline(folder: Path) -> Iterator[Offline]:
    """Starts the API in a copy of the project, and returns before it is ready."""
    project, port = aws_project.copy_project(folder / "project"), free_port()
    (project / "node_modules").symlink_to(aws_tools.node_modules())
    with ExitStack() as stack:
        server = stack.enter_context(running_server())
        simulator = stack.enter_context(running_simulator())
        variables = {**aws_project.settings(server, simulator), **aws_project.beyond(simulator)}
        _add_plugin(project / "serverless.yml", variables)
        # serverless-offline runs `python3`, which must have the packages of this environment.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = aws_project.tool_environment({**variables, "PATH": path, "VIRTUAL_ENV": sys.prefix})
        command = [
            str(project / "node_modules" / ".bin" / "serverless"), "offline", "start", "--stage", "preview",
            "--host", "127.0.0.1", "--httpPort", str(port), "--lambdaPort", str(free_port()),
        ]  # fmt: skip
        log = stack.enter_context((folder / "log").open("w"))
        process = subprocess.Popen(
            command, cwd=project, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        stack.callback(stop, process)
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False))
        yield Offline(client, simulator, process, folder / "log")
    shutil.rmtree(project)


def _add_plugin(file: Path, variables: Mapping[str, str]) -> None:
    """Adds the plugin, for tests only, and removes the package so that it runs the sources.

    The plugin passes null on as text, where Lambda has no such variable. So what is unset is left out here.
    """
    document: dict[str, Any] = yaml.safe_load(file.read_text())
    del document["package"]
    for part in (document["provider"], *document["functions"].values()):
        part["environment"] = {
            name: value
            for name, value in part.get("environment", {}).items()
            if name in variables or value != f"${{env:{name}, null}}"
        }
    file.write_text(yaml.safe_dump({**document, "plugins": ["serverless-offline"]}, sort_keys=False))
