"""The processes: a store, a provider, and instances of the functions that can be killed, frozen and restarted."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from local.children import Child
from tests.deployment import free_port
from tests.soak.deployment import PROVIDER_TOKEN, STORE_TOKEN
from tests.soak.door import HOST

START_DEADLINE = 30.0


class Process:
    """One child that listens on a port."""

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str], log: IO[str]) -> None:
        self.name = name
        self.port = 0
        self._command = command
        self._environment = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **environment}
        self._log = log
        self._child: Child | None = None
        self._frozen: Child | None = None

    async def start(self) -> None:
        """Returns once the port accepts connections. Replaces a child that ends before, its port taken by another."""
        deadline = time.monotonic() + START_DEADLINE
        while True:
            self.port = free_port()
            self._child = Child(self.name, [*self._command, "--port", str(self.port)], self._environment, self._log)
            while self._child.exit_status is None and time.monotonic() < deadline:
                if await _listens(self.port):
                    return
                await asyncio.sleep(0.05)
            said = self._child.last_output()
            await self.stop()
            if time.monotonic() >= deadline:
                raise RuntimeError(f"{self.name} did not start; its last output:\n{said}")

    async def stop(self) -> None:
        """Ends it with SIGTERM."""
        self.thaw()
        child, self._child = self._child, None
        if child is not None:
            await asyncio.to_thread(child.stop)

    async def kill(self) -> None:
        """Ends it with SIGKILL at once."""
        child, self._child = self._child, None
        if child is not None:
            os.kill(child.pid, signal.SIGKILL)
            await asyncio.to_thread(child.stop)

    def freeze(self) -> None:
        """Suspends it: its connections stay open, but get no answers."""
        if self._child is not None and self._child.exit_status is None:
            os.kill(self._child.pid, signal.SIGSTOP)
            self._frozen = self._child

    def thaw(self) -> None:
        """Resumes it, unless it was not frozen or was killed meanwhile."""
        frozen, self._frozen = self._frozen, None
        if frozen is not None and frozen is self._child and frozen.exit_status is None:
            os.kill(frozen.pid, signal.SIGCONT)

    @property
    def runs(self) -> bool:
        """Whether it was started, and neither stopped nor killed since."""
        return self._child is not None


async def _listens(port: int) -> bool:
    with suppress(OSError):
        _, writer = await asyncio.open_connection(HOST, port)
        writer.close()
        return True
    return False


class Fleet:
    """All processes. Their output goes to files in ``logs``."""

    def __init__(self, logs: Path) -> None:
        self.log_of_instances = logs / "functions.log"
        self.instances: list[Process] = []
        self._logs = logs
        self._files: list[IO[str]] = []
        self.store = Process(
            "store",
            ["local.rest_server", "--ephemeral"],
            {"UPSTASH_REDIS_REST_TOKEN": STORE_TOKEN},
            self._file("store.log"),
        )
        self.provider: Process | None = None

    async def start_servers(self, webhook_secret: str) -> None:
        """Starts the store and the provider, which are never killed."""
        command = ["local.simulator", "--token", PROVIDER_TOKEN, "--webhook-secret", webhook_secret]
        self.provider = Process("provider", [*command, "--rate-limit", "0"], {}, self._file("provider.log"))
        await asyncio.gather(self.store.start(), self.provider.start())

    async def start_instances(self, count: int, environment: Mapping[str, str]) -> None:
        """Starts ``count`` instances."""
        log = self._file(self.log_of_instances.name)
        command = ["uvicorn", "functions.index:app", "--host", HOST, "--log-level", "warning", "--no-access-log"]
        command += ["--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "3"]
        self.instances += [Process(f"instance {n}", command, environment, log) for n in range(count)]
        await asyncio.gather(*(instance.start() for instance in self.instances))

    def ports(self) -> list[int]:
        """Returns the ports on which instances listen, or listened a moment ago."""
        return [instance.port for instance in self.instances if instance.runs]

    async def stop_instances(self) -> None:
        """Stops the instances only."""
        await asyncio.gather(*(instance.stop() for instance in self.instances))

    async def stop(self) -> None:
        """Stops all processes."""
        await self.stop_instances()
        await asyncio.gather(self.store.stop(), *((self.provider.stop(),) if self.provider else ()))
        for file in self._files:
            file.close()

    def _file(self, name: str) -> IO[str]:
        self._logs.mkdir(parents=True, exist_ok=True)
        file = (self._logs / name).open("w")
        self._files.append(file)
        return file
