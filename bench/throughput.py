"""How much one process on one core can do: ``python -m bench.throughput --against REVISION`` (Linux).

uvicorn serves the composed application of this tree, and that of another revision. Both take turns, so that a slow
phase of the machine slows both. A figure is a count divided by the CPU seconds of the serving process: the store, the
provider and the client run in other processes, and on one core alone the process would do no more.
"""

import argparse
import asyncio
import io
import os
import socket
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from bench import report
from bench.environment import ROOT, environment
from bench.invocations import SUBMISSION
from local.environment import first_api_key
from local.simulator.running import RunningSimulator, running_simulator

HERE = "this tree"
ROUNDS, SUBMITS, JOBS = 5, 300, 60
AT_ONCE = 4
DEADLINE = 60.0  # s
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
ROWS = ("submits", "polls", "whole jobs")
SIMULATED: dict[str, object] = {"seconds": 0.5, "start_delay": 0, "output": "text"}


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


async def each(work: Callable[[int], Awaitable[None]], count: int) -> None:
    """Does all of the work, some at once."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await work(number)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


async def rate(server: Server, work: Callable[[int], Awaitable[None]], count: int) -> float:
    """Returns how often the work was done for each CPU second of the server."""
    before = server.cpu()
    await each(work, count)
    return count / (server.cpu() - before)


@dataclass(frozen=True)
class Tree:
    """Two servers of one tree. ``waiting`` starts no job at its submit; ``starting`` starts each one."""

    waiting: Server
    starting: Server
    rates: dict[str, list[float]] = field(default_factory=lambda: {row: [] for row in ROWS})

    async def play(self, simulator: RunningSimulator, turn: int, submits: int, jobs: int) -> None:
        """One turn: submits that only queue, a first poll of each, and jobs from submit to the last poll."""
        queued, started = list[str](), list[str]()

        async def submit(number: int) -> None:
            queued.append(await self.waiting.submit(f"user{turn}-{number}", {}))

        async def start(number: int) -> None:
            started.append(await self.starting.submit(f"user{turn}-{number}", SIMULATED))

        self.rates["submits"].append(await rate(self.waiting, submit, submits))
        self.rates["polls"].append(
            await rate(self.waiting, lambda at: self.waiting.poll(queued[at], "pending"), submits)
        )
        before = self.starting.cpu()
        await each(start, jobs)
        await delivered(simulator, jobs)
        await each(lambda number: self.starting.poll(started[number], "completed"), jobs)
        self.rates["whole jobs"].append(jobs / (self.starting.cpu() - before))
        simulator.reset()


async def delivered(simulator: RunningSimulator, count: int) -> None:
    """Waits until as many predictions have been announced by a webhook that was answered with success."""
    give_up_at = time.monotonic() + DEADLINE
    while True:
        found = await asyncio.to_thread(simulator.predictions)
        if sum(any(tried["status_code"] == 200 for tried in one["deliveries"]) for one in found) >= count:
            return
        assert time.monotonic() < give_up_at, "webhooks are missing"
        await asyncio.sleep(0.05)


@contextmanager
def tree_of(revision: str) -> Iterator[Path]:
    """Yields a folder with the files of a revision."""
    command = ["git", "archive", revision]
    packed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    with TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(packed)) as files:
        files.extractall(folder, filter="data")
        yield Path(folder)


@contextmanager
def store() -> Iterator[dict[str, str]]:
    """Yields the environment of a deployment on an empty store in a process of its own."""
    variables = environment("") | SETTINGS
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
        process.wait(DEADLINE)
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def serving(folder: Path, changes: dict[str, str]) -> Iterator[Server]:
    """Yields a server of a tree once it answers."""
    with ExitStack() as stack:
        variables = stack.enter_context(store())
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


def measure(revision: str | None, rounds: int, submits: int, jobs: int) -> dict[str, dict[str, float]]:
    """Returns the median rate of each row, by tree."""
    with ExitStack() as stack:
        trees = {HERE: ROOT}
        if revision is not None:
            trees[revision] = stack.enter_context(tree_of(revision))
        simulator = stack.enter_context(running_simulator())
        provider = {
            "REPLICATE_BASE_URL": simulator.url,
            "REPLICATE_API_TOKEN": simulator.token,
            "REPLICATE_WEBHOOK_SECRET": simulator.webhook_secret,
        }
        served = {
            name: Tree(
                stack.enter_context(serving(folder, provider | {"DISPATCH_ON_SUBMIT": "false"})),
                stack.enter_context(serving(folder, provider | {"DISPATCH_ON_SUBMIT": "true"})),
            )
            for name, folder in trees.items()
        }
        asyncio.run(in_turn(list(served.values()), simulator, rounds, submits, jobs))
    return {name: {row: statistics.median(rates) for row, rates in tree.rates.items()} for name, tree in served.items()}


async def in_turn(trees: list[Tree], simulator: RunningSimulator, rounds: int, submits: int, jobs: int) -> None:
    """Plays all rounds; the first one, in which connections are opened, does not count."""
    for turn in range(rounds + 1):
        for tree in trees:
            await tree.play(simulator, turn, submits, jobs)
            if turn == 0:
                for row in ROWS:
                    tree.rates[row].clear()
    for tree in trees:
        await tree.waiting.client.aclose()
        await tree.starting.client.aclose()


def print_report(rates: dict[str, dict[str, float]], rounds: int) -> None:
    """Prints the rates, and what this tree is to the other."""
    print(f"For each CPU second of one serving process; the median of {rounds} rounds, interleaved.\n")
    other = next((name for name in rates if name != HERE), None)
    rows = []
    for row in ROWS:
        here = rates[HERE][row]
        cells = [row, f"{here:,.0f}"]
        if other is not None:
            cells += [f"{rates[other][row]:,.0f}", f"{here / rates[other][row]:.2f}"]
        rows.append(cells)
    report.print_table(["a CPU second", HERE, *([other, "ratio"] if other is not None else [])], rows)
    print()
    report.print_versions(PACKAGES)


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--against", metavar="REVISION", help="another revision, which takes turns with this tree")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}")
    parser.add_argument("--submits", type=int, default=SUBMITS, help=f"of each round (default {SUBMITS})")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"whole jobs of each round (default {JOBS})")
    parser.add_argument("--no-targets", action="store_true", help="for make bench; nothing is judged here")
    options = parser.parse_args()
    if not os.path.exists("/proc/self/task"):
        print("bench.throughput reads /proc, which this system does not have.")
        return 0
    print_report(measure(options.against, options.rounds, options.submits, options.jobs), options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
