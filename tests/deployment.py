"""Instances of the functions as separate processes, on a real store and a simulated provider."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import httpx

from local.rest_server.running import RunningServer
from local.simulator.running import RunningSimulator
from tests.project import ROOT
from tests.world import API_KEY, AUTH

START_DEADLINE = 20.0


@dataclass
class Deployment:
    """The base URLs of the instances; each must serve every request alike."""

    urls: list[str]

    def url(self, number: int, path: str) -> str:
        return self.urls[number % len(self.urls)] + path


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@contextmanager
def running_deployment(
    server: RunningServer,
    simulator: RunningSimulator,
    settings: dict[str, str],
    *,
    instances: int = 1,
    output: IO[str] | None = None,
) -> Iterator[Deployment]:
    """Runs the composed application ``instances`` times until the block ends."""
    server.clear_faults()
    server.flush()
    simulator.reset()
    ports = [free_port() for _ in range(instances)]
    environment = {
        "PATH": os.environ["PATH"],
        "SLUICE_ENV": "test",
        "UPSTASH_REDIS_REST_URL": server.url,
        "UPSTASH_REDIS_REST_TOKEN": server.token,
        "REPLICATE_BASE_URL": simulator.url,
        "REPLICATE_API_TOKEN": simulator.token,
        "REPLICATE_WEBHOOK_SECRET": simulator.webhook_secret,
        "API_KEYS": f"app:{API_KEY}",
        "QUEUE_PROCESSOR_TOKEN": "processor-token-in-tests",
        "SIGNING_SECRET": "signing-secret-in-tests",
        "PUBLIC_BASE_URL": f"http://127.0.0.1:{ports[0]}",
        "LOG_LEVEL": "WARNING",
        **settings,
    }
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "functions.index:app",
        "--log-level",
        "warning",
        "--timeout-keep-alive",
        "120",
    ]
    children = [
        subprocess.Popen([*command, "--port", str(port)], cwd=ROOT, env=environment, stdout=output, stderr=output)
        for port in ports
    ]
    try:
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        for url in urls:
            _wait_for(f"{url}/api/health")
        yield Deployment(urls)
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait(10)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + START_DEADLINE
    while time.monotonic() < deadline:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)  # the process is still importing
    raise TimeoutError(f"{url} did not answer")


async def poll_until_terminal(
    client: httpx.AsyncClient, url: str, job_id: str, headers: dict[str, str] = AUTH
) -> dict[str, Any]:
    """The job's document when it has ended."""
    while True:
        answer = await client.get(f"{url}/api/status/{job_id}", headers=headers)
        document: dict[str, Any] = answer.json()
        if document["status"] in ("completed", "failed", "canceled"):
            return document
        await asyncio.sleep(0.2)
