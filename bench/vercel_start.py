"""What a cold start on Vercel costs, compared with a bare handler's: ``python -m bench.vercel_start``.

Vercel's builder builds each, and Vercel's runtime starts each in new processes, in turn, and reports how long its start
took (initDuration). The second figure is the time from the launch of the process until a request reaches the function.
The platform's machine and container come on top of both and are the same for all.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench import report
from bench.environment import deployment
from bench.measure import Timing
from tests.deploy.vercel_bundle import Bundle, build, copy_project
from tests.deploy.vercel_host import running
from tests.deploy.vercel_tools import Tools, install_tools

RUNS = 20
MAX_BARE_RATIO = 11.0  # of initDuration with bytecode to the bare handler's
MAX_BYTECODE_RATIO = 0.5  # of initDuration with bytecode to that without
STORE = "https://eu1-steady-heron-30871.upstash.io"  # never called: the timed request has no route
NO_ROUTE = "/api/none"
BARE, COMPILED, SOURCE = "bare handler", "Sluice with bytecode", "Sluice without"
PACKAGES = ("fastapi", "pydantic", "upstash-redis")
BARE_HANDLER = """
import json
from http.server import BaseHTTPRequestHandler


class handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"status": "ok"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
"""


@dataclass
class Started:
    """A built function, and the times of its starts in ns."""

    bundle: Bundle
    folder: Path
    settings: Mapping[str, str]
    init: Timing = field(default_factory=Timing)
    reached: Timing = field(default_factory=Timing)

    def start(self, tools: Tools, *, is_counted: bool) -> None:
        """Makes one cold start with its first request."""
        with running(tools, self.bundle, self.folder, self.settings) as instance:
            httpx.get(instance.url + NO_ROUTE, trust_env=False)
            reached = instance.wait_for("handler-started")["heard_at"] - instance.launched
        if is_counted:
            self.init.add(instance.init_ms * 1_000_000, 0)
            self.reached.add(int(reached * 1e9), 0)


def prepare(tools: Tools, folder: Path) -> dict[str, Started]:
    """Builds all three functions."""
    bare = folder / "bare"
    (bare / "api").mkdir(parents=True)
    (bare / "api" / "index.py").write_text(BARE_HANDLER)
    (bare / ".python-version").write_text("3.12\n")
    settings = deployment(STORE) | {"VERCEL_ENV": "production"}
    made = {}
    for name, project, with_bytecode in (
        (BARE, bare, True),
        (COMPILED, copy_project(folder / "compiled"), True),
        (SOURCE, copy_project(folder / "source"), False),
    ):
        bundle = build(tools, project, with_bytecode=with_bytecode).only
        unpacked = bundle.unpack(folder / f"{project.name}-task")
        made[name] = Started(bundle, unpacked, {} if name == BARE else settings)
    return made


def measure(tools: Tools, functions: Mapping[str, Started], runs: int) -> None:
    """Starts each in turn, after two rounds that warm the disk's cache."""
    order, shuffle = list(functions.values()), random.Random(0).shuffle
    for number in range(runs + 2):
        shuffle(order)
        for function in order:
            function.start(tools, is_counted=number >= 2)


def print_report(functions: Mapping[str, Started], runs: int) -> bool:
    """Prints the ratios, the versions, and last the unit on this machine; returns whether both targets are met."""
    bare = functions[BARE]
    print(f"Starts by Vercel's runtime in units of a {BARE}'s; {runs} interleaved runs.\n")
    rows = []
    for name, function in functions.items():
        size = f"{function.bundle.size / 1e6:.1f}"
        init, reached = function.init, function.reached
        ratios = [init.median / bare.init.median, init.p95 / bare.init.median, reached.median / bare.reached.median]
        target = MAX_BARE_RATIO if name == COMPILED else None
        rows.append([name, *(f"{ratio:.2f}" for ratio in ratios), report.verdict(ratios[0], target), size])
    report.print_table(
        ["function", "initDuration, median", "p95", "first request, median", "target (initDuration)", "MB unpacked"],
        rows,
    )
    to_bare = functions[COMPILED].init.median / bare.init.median
    to_source = functions[COMPILED].init.median / functions[SOURCE].init.median
    print(f"\nWith bytecode to without: {to_source:.2f} ({report.verdict(to_source, MAX_BYTECODE_RATIO)}).")
    report.print_versions(PACKAGES)
    here = (f"{name} {each.init.median / 1e6:.0f}/{each.reached.median / 1e6:.0f}" for name, each in functions.items())
    print(f"Here, initDuration/first request in ms: {', '.join(here)}.")
    return to_bare <= MAX_BARE_RATIO and to_source <= MAX_BYTECODE_RATIO


def main() -> int:
    """Builds, measures and prints; returns 1 if a target is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.vercel_start", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--runs", type=int, default=RUNS, help=f"how often each is started (default {RUNS})")
    parser.add_argument("--no-targets", action="store_true", help="exit with 0 even if a target is missed")
    options = parser.parse_args()
    tools = install_tools()
    with tempfile.TemporaryDirectory() as folder:
        functions = prepare(tools, Path(folder))
        measure(tools, functions, options.runs)
        is_met = print_report(functions, options.runs)
    return 0 if is_met or options.no_targets else 1


if __name__ == "__main__":
    sys.exit(main())
