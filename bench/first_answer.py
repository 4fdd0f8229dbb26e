"""The CPU of a cold start with its first answer, in the built package: what a caller of a new instance waits for.

A new process of Lambda's Python imports the handler (INIT) and answers one event; both use the package alone. The store
is behind TLS and answers at once, so its certificate is checked as in production. All packages take turns.
"""

import json
import random
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import certifi
from cryptography.x509 import IPAddress

from bench import report
from bench.canned import canned_store
from bench.environment import deployment
from bench.invocations import SUBMISSION, event, replies
from tests.deploy.aws_tools import lambda_python
from tests.hooks.authority import Authority

GOAL = 400.0  # ms of CPU, of INIT and the first answer
CALL_SECONDS = 60.0
# Prints the CPU in ms that the process had used after each step; the first value includes the interpreter's start.
DRIVER = """
import json, os, sys, time
from importlib import import_module
module, _, name = os.environ["BENCH_HANDLER"].rpartition(".")
handler = getattr(import_module(module.replace("/", ".")), name)
ready = time.process_time()
answer = handler(json.loads(os.environ["BENCH_EVENT"]), None)
answered = time.process_time()
status = answer.get("statusCode", 200)
print("\\n" + json.dumps([ready * 1e3, answered * 1e3, status]))
"""
Order = Callable[[Mapping[str, str]], dict[str, Any]]


def _submission(variables: Mapping[str, str]) -> dict[str, Any]:
    key = variables["API_KEYS"].partition(":")[2]
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    return event("POST", "/api/submit", headers) | {"body": json.dumps(SUBMISSION)}


def _poll(variables: Mapping[str, str]) -> dict[str, Any]:
    key = variables["API_KEYS"].partition(":")[2]
    return event("GET", f"/api/status/job_{0:032x}", {"authorization": f"Bearer {key}"})


def _tick(_: Mapping[str, str]) -> dict[str, Any]:
    return {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}


# By handler: an event that it answers with success.
CALLS: Mapping[str, Order] = {
    "functions/submit.handler": _submission,
    "functions/status.handler": _poll,
    "functions/process_queue.handler": _tick,
}


@dataclass
class Taken:
    """CPU times in ms: of the import, and of the first answer after it."""

    init: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)

    @property
    def both(self) -> float:
        return statistics.median(a + b for a, b in zip(self.init, self.first, strict=True))


@contextmanager
def store_behind_tls() -> Iterator[dict[str, str]]:
    """Yields the variables of a deployment whose store has a certificate that only its process trusts."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as scratch:
        authority, trusted = Authority(Path(scratch)), Path(scratch) / "trusted.pem"
        authority.server(IPAddress(ip_address("127.0.0.1")))
        # As many certificates as a deployment reads, and one more.
        trusted.write_text(Path(certifi.where()).read_text() + authority.certificate)
        with canned_store(replies(), certificate=Path(scratch) / "server.pem") as url:
            yield deployment(url) | {"SSL_CERT_FILE": str(trusted)}


def measure(packages: Mapping[str, Path], runs: int) -> dict[str, dict[str, Taken]]:
    """Returns what each package took for each handler, after one round that warms the disk's cache."""
    taken = {name: {handler: Taken() for handler in CALLS} for name in packages}
    order = [(name, handler) for name in packages for handler in CALLS]
    with store_behind_tls() as variables:
        for number in range(runs + 1):
            random.shuffle(order)
            for name, handler in order:
                init, first = _start(packages[name], handler, variables)
                if number:
                    taken[name][handler].init.append(init)
                    taken[name][handler].first.append(first)
    return taken


def _start(task: Path, handler: str, variables: Mapping[str, str]) -> tuple[float, float]:
    given = {
        **variables,
        "BENCH_HANDLER": handler,
        "BENCH_EVENT": json.dumps(CALLS[handler](variables)),
        "PYTHONPATH": str(task),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
    }
    command: Sequence[str] = [str(lambda_python()), "-c", DRIVER]
    ran = subprocess.run(
        command, cwd=task, env=given, capture_output=True, text=True, timeout=CALL_SECONDS, check=False
    )
    assert ran.returncode == 0, ran.stderr
    ready, answered, status = json.loads(ran.stdout.splitlines()[-1])
    assert status in (200, 202), ran.stdout
    return ready, answered - ready


def print_report(taken: Mapping[str, Mapping[str, Taken]], runs: int) -> bool:
    """Prints a row for each handler and package, with the goal; returns whether the first package meets it."""
    print(
        f"\nCPU of INIT and the first answer in ms, without the emulator; medians of {runs} interleaved cold starts.\n"
    )
    rows, is_met = [], True
    for number, (name, handlers) in enumerate(taken.items()):
        for handler, of_handler in handlers.items():
            is_met &= number > 0 or of_handler.both <= GOAL
            parts = [statistics.median(of_handler.init), statistics.median(of_handler.first), of_handler.both]
            rows.append(
                [f"{name}: {handler}", *(f"{part:.0f}" for part in parts), report.verdict(of_handler.both, GOAL)]
            )
    report.print_table(["CPU of a start", "INIT", "first answer", "both", "goal (both)"], rows)
    return is_met
