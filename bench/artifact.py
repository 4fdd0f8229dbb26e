"""How long the deployed package takes for a cold start: ``python -m bench.artifact``.

The package is built and unpacked, then started under AWS's emulator of Lambda. Each start is a new one. Starts take
turns with those of a handler that imports only json, and of the same package without bytecode. They are compared by the
emulator's INIT duration: from the start of the interpreter until the handler is imported. A second table has the CPU of
INIT and the first answer, where another checkout's package may take turns: ``--beside ../parent``.
"""

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import first_answer, report
from bench.cold import STORE
from bench.environment import deployment
from bench.invocations import event
from local import artifact
from tests.deploy.aws_emulator import emulated
from tests.deploy.aws_tools import ARCH

RUNS = 10
MAX_BARE_RATIO = 11.0  # of a start with bytecode to one of the bare handler
MAX_BYTECODE_RATIO = 0.5  # of a start with bytecode to one without
BARE = "bare json handler"
FUNCTIONS = {"submit": "/api/submit", "process_queue": "/api/process-queue"}
BARE_CODE = """
import json


def handler(event, context):
    return {"statusCode": 200, "body": json.dumps({"path": event["rawPath"]})}
"""
PACKAGES = ("fastapi", "starlette", "pydantic", "pydantic-settings", "mangum", "structlog")


@dataclass(frozen=True)
class Start:
    """A package that is started with one of its handlers."""

    name: str
    task: Path
    handler: str
    path: str  # of the first request; without a key it is refused at once


def without_bytecode(name: str) -> str:
    return f"{name}, no bytecode"


@contextmanager
def starts() -> Iterator[tuple[list[Start], Path]]:
    """Yields every package to start, unpacked, and the folder of the deployed one."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as scratch:
        bare, full, stripped = (Path(scratch) / name for name in ("bare", "full", "stripped"))
        bare.mkdir()
        (bare / "bare.py").write_text(BARE_CODE)
        artifact.compile_all(bare)
        with zipfile.ZipFile(artifact.build(ARCH)) as archive:
            archive.extractall(full)
        shutil.copytree(full, stripped, ignore=shutil.ignore_patterns("__pycache__"))
        made = [Start(BARE, bare, "bare.handler", "/")]
        for name, path in FUNCTIONS.items():
            handler = f"functions/{name}.handler"
            made += [Start(name, full, handler, path), Start(without_bytecode(name), stripped, handler, path)]
        yield made, full


def measure(order: list[Start], runs: int) -> dict[str, list[float]]:
    """Returns the INIT durations of each package in ms, after one start that warms the disk's cache."""
    settings, taken = deployment(STORE), dict[str, list[float]]()
    for number in range(runs + 1):
        random.shuffle(order)
        for start in order:
            with emulated(start.task, start.handler, settings) as function:
                answer = function.invoke(event("POST", start.path, {}))
                assert answer.get("statusCode") in (200, 401), answer
                if number:
                    taken.setdefault(start.name, []).append(function.init_ms())
    return taken


@contextmanager
def unpacked(checkout: Path) -> Iterator[Path]:
    """Yields the unpacked package of another checkout of the project."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as scratch:
        with zipfile.ZipFile(artifact.build(ARCH, root=checkout)) as archive:
            archive.extractall(scratch)
        yield Path(scratch)


def print_report(taken: dict[str, list[float]], runs: int) -> bool:
    """Prints the table and returns whether the targets are met."""
    medians = {name: statistics.median(values) for name, values in taken.items()}
    unit, is_met, rows = medians[BARE], True, []
    print(f"INIT durations under AWS's emulator in units of a {BARE}'s; medians of {runs} interleaved cold starts.\n")
    for name in FUNCTIONS:
        ratio, share = medians[name] / unit, medians[name] / medians[without_bytecode(name)]
        is_met &= ratio <= MAX_BARE_RATIO and share <= MAX_BYTECODE_RATIO
        verdicts = [
            report.verdict(ratio, MAX_BARE_RATIO),
            f"{share:.2f}",
            report.verdict(share, MAX_BYTECODE_RATIO),
        ]
        rows.append([f"functions.{name}", f"{ratio:.1f}", f"{ratio / share:.1f}", *verdicts])
    header = ["start", "with bytecode", "without", "target", "with / without", "target (with / without)"]
    report.print_table(header, rows)
    print()
    report.print_versions(PACKAGES)
    print(f"The unit here: {unit:.0f} ms.")
    return is_met


def main() -> int:
    """Measures and prints; returns 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.artifact", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=RUNS, help=f"cold starts of each kind (default {RUNS})")
    parser.add_argument("--beside", type=Path, help="another checkout, whose package takes turns in the second table")
    parser.add_argument("--no-targets", action="store_true", help="exit with 0 even if a target is missed")
    options = parser.parse_args()
    with starts() as (order, full), ExitStack() as stack:
        is_met = print_report(measure(order, options.runs), options.runs)
        packages = {"this package": full}
        if options.beside:
            packages["the other checkout"] = stack.enter_context(unpacked(options.beside.resolve()))
        is_met &= first_answer.print_report(first_answer.measure(packages, options.runs), options.runs)
    return 0 if is_met or options.no_targets else 1


if __name__ == "__main__":
    sys.exit(main())
