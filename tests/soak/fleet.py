"""The processes: a store, a provider, and instances of the functions that can be killed, frozen and started again."""

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
        """Returns once somebody listens; a child that ends before (its port was taken meanwhile) is replaced."""
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
                raise RuntimeError(f"{self.name} did not start; it said:\n{said}")

    async def stop(self) -> None:
        """Ends it politely."""
        self.thaw()
        child, self._child = self._child, None
        if child is not None:
            await asyncio.to_thread(child.stop)

    async def kill(self) -> None:
        """Ends it with SIGKILL, whatever it is doing."""
        child, self._child = self._child, None
        if child is not None:
            os.kill(child.pid, signal.SIGKILL)
            await asyncio.to_thread(child.stop)

    def freeze(self) -> None:
        """Stops it where it is; its connections stay open and are not answered."""
        if self._child is not None and self._child.exit_status is None:
            os.kill(self._child.pid, signal.SIGSTOP)
            self._frozen = self._child

    def thaw(self) -> None:
        """Lets it go on, if it was frozen and has not been killed meanwhile."""
        frozen, self._frozen = self._frozen, None
        if frozen is not None and frozen is self._child and frozen.exit_status is None:
            os.kill(frozen.pid, signal.SIGCONT)

    @property
    def runs(self) -> bool:
        """Whether it has been started and not ended by us."""
        return self._child is not None


async def _listens(port: int) -> bool:
    with suppress(OSError):
        _, writer = await asyncio.open_connection(HOST, port)
        writer.close()
        return True
    return False


class Fleet:
    """All processes; their output goes to files in ``logs``."""

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
        """Starts the store and the provider, which nobody kills."""
        command = ["local.simulator", "--token", PROVIDER_TOKEN, "--webhook-secret", webhook_secret]
        self.provider = Process("provider", [*command, "--rate-limit", "0"], {}, self._file("provider.log"))
        await asyncio.gather(self.store.start(), self.provider.start())

    async def start_instances(self, count: int, environment: Mapping[str, str]) -> None:
        """Starts so many instances."""
        log = self._file(self.log_of_instances.name)
        command = ["uvicorn", "functions.index:app", "--host", HOST, "--log-level", "warning", "--no-access-log"]
        command += ["--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "3"]
        self.instances += [Process(f"instance {n}", command, environment, log) for n in range(count)]
        await asyncio.gather(*(instance.start() for instance in self.instances))

    def ports(self) -> list[int]:
        """Where instances listen, or did until a moment ago."""
        return [instance.port for instance in self.instances if instance.runs]

    async def stop_instances(self) -> None:
        """Ends the instances and leaves the store and the provider."""
        await asyncio.gather(*(instance.stop() for instance in self.instances))

    async def stop(self) -> None:
        """Ends everything."""
        await self.stop_instances()
        await asyncio.gather(self.store.stop(), *((self.provider.stop(),) if self.provider else ()))
        for file in self._files:
            file.close()

    def _file(self, name: str) -> IO[str]:
        self._logs.mkdir(parents=True, exist_ok=True)
        file = (self._logs / name).open("w")
        self._files.append(file)
        return file
