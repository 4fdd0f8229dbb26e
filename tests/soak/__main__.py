"""`python -m tests.soak`: runs the soak, prints its report, and exits with 0 if the run was valid."""

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.soak.checks import objections, tally
from tests.soak.evidence import records
from tests.soak.report import lines
from tests.soak.run import Options, soak
from tests.soak.verdict import judge


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 after a valid run, else 1."""
    chosen = _parser().parse_args(arguments)
    seed = random.randrange(1_000_000) if chosen.seed is None else chosen.seed
    logs = chosen.logs or Path(tempfile.mkdtemp(prefix="sluice-soak-"))
    options = Options(chosen.seconds, seed, chosen.jobs_per_second, chosen.instances, logs)
    print(f"seed {seed}: {options.seconds:g} s of {options.jobs_per_second:g} jobs a second, "
          f"{options.instances} instances; logs in {logs}", flush=True)  # fmt: skip
    run = asyncio.run(soak(options))
    verdict, tallies = judge(run.observed, run.evidence), tally(run.evidence)
    verdict.objections += objections(run.evidence, tallies)
    verdict.objections += [f"{count} unexplained answers: {what}" for what, count in run.surprises.items()]
    verdict.objections += run.nemesis.failures
    if run.settled_after is None:
        verdict.objections.append(f"some jobs were not over {run.settle_limit:.0f} s after the last fault")
    print("\n".join(lines(run, verdict, tallies)), flush=True)
    if suspects := verdict.lost | verdict.unexpected | verdict.wrong.keys() | verdict.duplicated.keys():
        kept = logs / "suspects.json"
        kept.write_text(json.dumps(records(run.evidence, suspects), indent=1))
        print(f"records of the suspect jobs in the store and at the provider: {kept}")
    return 0 if verdict.is_valid else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long jobs are submitted (default: 600)")
    parser.add_argument("--seed", type=int, help="seed of workload and nemesis (default: random)")
    parser.add_argument("--jobs-per-second", type=float, default=8, help="average submission rate (default: 8)")
    parser.add_argument("--instances", type=int, default=4, help="number of function instances (default: 4)")
    parser.add_argument("--logs", type=Path, help="where the processes log (default: a temporary directory)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
