"""Serving processes to measure: uvicorn with the application of this tree or of another revision, and a store each."""

import io
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from bench.environment import ROOT, environment
from bench.invocations import SUBMISSION
from local.environment import first_api_key

HERE = "this tree"
AT_ONCE = 4  # calls of a server's client
DEADLINE = 60.0  # s
STOP_DEADLINE = 10.0  # s
PACKAGES = ("fastapi", "starlette", "uvicorn", "upstash-redis", "httpx", "httpcore")
# No limit and no rate makes a job wait, and no poll comes from a cache of a job seen before.
SETTINGS = {
    "MAX_CONCURRENT_TASKS": "1000",
    "MAX_USER_TASKS": "1000",
    "MAX_QUEUE_SIZE": "100000",
    "PROVIDER_RATES": "replicate:60000",
    "STATUS_CACHE_TTL": "2",
    "CHECK_INTERVAL": "30",
    "ALLOW_LOOPBACK": "true",
    "SLUICE_ENV": "test",
}


@dataclass(frozen=True)
class Server:
    """uvicorn with the application of one tree, and a store of its own."""

    process: int
    client: httpx.AsyncClient

    def cpu(self) -> float:
        """Returns the CPU time of all threads of the process until now, in s."""
        tasks = Path(f"/proc/{self.process}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    async def submit(self, user: str, simulate: dict[str, object]) -> str:
        """Submits a job and returns its id."""
        body = {**SUBMISSION, "user_id": user, "input": {**SUBMISSION["input"], "simulate": simulate}}  # type: ignore[dict-item]
        answer = await self.client.post("/api/submit", json=body)
        assert answer.status_code == 202, answer.text
        job: str = answer.json()["id"]
        return job

    async def poll(self, job: str, expected: str) -> None:
        """Polls a job, which has this status."""
        answer = await self.client.get(f"/api/status/{job}")
        assert answer.json().get("status") == expected, answer.text


@contextmanager
def tree_of(revision: str) -> Iterator[Path]:
    """Yields a folder with the files of a revision."""
    command = ["git", "archive", revision]
    packed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    with TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(packed)) as files:
        files.extractall(folder, filter="data")
        yield Path(folder)


@contextmanager
def trees_with(revision: str | None) -> Iterator[dict[str, Path]]:
    """Yields the folders of this tree and, if one is named, of another revision."""
    if revision is None:
        yield {HERE: ROOT}
    else:
        with tree_of(revision) as folder:
            yield {HERE: ROOT, revision: folder}


@contextmanager
def store_process(changes: dict[str, str]) -> Iterator[dict[str, str]]:
    """Yields the variables of a deployment with these changes, on an empty store in a process of its own."""
    variables = environment("") | changes
    command = [sys.executable, "-m", "local.rest_server", "--port", "0", "--ephemeral"]
    with child(command, ROOT, variables, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield variables | {"UPSTASH_REDIS_REST_URL": process.stdout.readline().decode().rpartition(" ")[2].strip()}


@contextmanager
def child(
    command: Sequence[str], folder: Path, variables: dict[str, str], stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a command until the block ends."""
    process = subprocess.Popen(command, cwd=folder, env=variables, stdout=stdout)
    try:
        yield process
    finally:
        process.terminate()
        if process.stdout is not None:
            process.stdout.close()
        process.wait(STOP_DEADLINE)


@contextmanager
def serving(folder: Path, changes: dict[str, str]) -> Iterator[Server]:
    """Yields a server of a tree once it answers."""
    with ExitStack() as stack:
        variables = stack.enter_context(store_process(SETTINGS))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        variables |= {"PUBLIC_BASE_URL": url, **changes}
        command = [
            *(sys.executable, "-m", "uvicorn", "functions.index:app", "--host", "127.0.0.1", "--port", str(port)),
            *("--log-level", "warning", "--no-access-log", "--timeout-keep-alive", "75"),
        ]
        process = stack.enter_context(child(command, folder, variables))
        headers = {"Authorization": f"Bearer {first_api_key(variables)}"}
        limits = httpx.Limits(max_connections=AT_ONCE)
        client = httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=DEADLINE, trust_env=False)
        wait_for(f"{url}/api/health", process)
        yield Server(process.pid, client)


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Returns when the URL answers."""
    give_up_at = time.monotonic() + DEADLINE
    while True:
        assert process.poll() is None and time.monotonic() < give_up_at, f"{url} does not answer"
        try:
            httpx.get(url, trust_env=False, timeout=DEADLINE)
        except httpx.HTTPError:
            time.sleep(0.05)
        else:
            return
