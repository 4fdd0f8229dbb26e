"""What importing each function costs a cold start, compared with starting Python: ``python -m bench.cold``.

Each import runs in a new process, in turn with ``python -c pass``, with bytecode on disk as in a deployed package. An
import also reads the settings and builds the routes, as a cold start does.
"""

import argparse
import json
import subprocess
import sys

from bench import report
from bench.environment import ROOT, environment
from bench.measure import Case, Timing, time_in_turn

RUNS = 20
TARGET = 45.0  # maximum, in starts of Python, of the median wall time
STORE = "https://eu1-steady-heron-30871.upstash.io"  # never called: an import opens no connection
FUNCTIONS = tuple(
    f"functions.{path.stem}" for path in sorted((ROOT / "functions").glob("*.py")) if path.stem != "__init__"
)
PASS = "pass"
# An import may load none of these: a submit, a poll or a health check may never need it.
HEAVY = ("fastapi", "httpx", "upstash_redis", "av", "PIL", "obstore", "aiosmtplib", "fakeredis")
COMPOSED = "functions.index"  # is FastAPI's
PACKAGES = ("fastapi", "starlette", "pydantic", "pydantic-settings", "mangum", "structlog")
DEADLINE = 60.0  # s


def python(code: str, variables: dict[str, str]) -> str:
    """Runs ``code`` in a new interpreter with these environment variables and returns its output."""
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True, check=True, timeout=DEADLINE
    ).stdout


def heavy_modules(module: str, variables: dict[str, str]) -> list[str]:
    """Returns the modules of HEAVY that importing ``module`` loads, directly or not."""
    unwanted = [name for name in HEAVY if name != "fastapi" or module != COMPOSED]
    code = f"import {module}, json, sys; print(json.dumps([name for name in {unwanted!r} if name in sys.modules]))"
    loaded: list[str] = json.loads(python(code, variables).splitlines()[-1])
    return loaded


def measure(runs: int, variables: dict[str, str]) -> dict[str, Timing]:
    """Returns the timings of ``pass`` and of each import; the warm-up leaves the bytecode on disk."""

    def starting(name: str, code: str) -> Case:
        return Case(name, lambda _: python(code, variables))

    timed = [starting(PASS, "pass"), *(starting(name, f"import {name}") for name in FUNCTIONS)]
    return time_in_turn(timed, runs)


def print_report(timings: dict[str, Timing], heavy: dict[str, list[str]], runs: int) -> None:
    """Prints the ratios and the heavy modules, the versions, and last the unit on this machine."""
    unit = timings[PASS].median
    print(f"Imports in new processes in units of `python -c pass`; {runs} interleaved runs.\n")
    rows = []
    for name in FUNCTIONS:
        wall = timings[name].median / unit
        loaded = ", ".join(heavy[name]) or "none"
        rows.append([name, f"{wall:.1f}", f"{timings[name].p95 / unit:.1f}", report.verdict(wall, TARGET), loaded])
    report.print_table(["import", "wall, median", "wall, p95", "target (wall, median)", "heavy modules loaded"], rows)
    print(f"\nHeavy modules: {', '.join(HEAVY)}.")
    report.print_versions(PACKAGES)
    print(f"The unit here: {unit / 1e6:.1f} ms wall.")


def main() -> int:
    """Measures and prints; returns 1 if an import misses the target or loads a heavy module."""
    parser = argparse.ArgumentParser(prog="python -m bench.cold", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=RUNS, help=f"how often each import is timed (default {RUNS})")
    parser.add_argument("--no-targets", action="store_true", help="exit with 0 even if a target is missed")
    options = parser.parse_args()
    variables = environment(STORE)
    timings = measure(options.runs, variables)
    heavy = {name: heavy_modules(name, variables) for name in FUNCTIONS}
    print_report(timings, heavy, options.runs)
    limit = TARGET * timings[PASS].median
    is_missed = any(timings[name].median > limit or heavy[name] for name in FUNCTIONS)
    return 1 if is_missed and not options.no_targets else 0


if __name__ == "__main__":
    sys.exit(main())
