"""`python -m tests.soak`: runs the soak, prints its reports, and exits with 0 if the runs were valid."""

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.soak.checks import objections, tally
from tests.soak.evidence import records
from tests.soak.report import comparison, lines
from tests.soak.run import Options, soak
from tests.soak.verdict import judge
from tests.soak.waits import Waits, waits_of
from tests.soak.watching import judge_polls


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 after valid runs, else 1."""
    chosen = _parser().parse_args(arguments)
    seed = random.randrange(1_000_000) if chosen.seed is None else chosen.seed
    logs = chosen.logs or Path(tempfile.mkdtemp(prefix="sluice-soak-"))
    options = Options(chosen.seconds, seed, chosen.jobs_per_second, chosen.instances, logs, pollers=chosen.pollers)
    print(f"seed {seed}: {options.seconds:g} s of {options.jobs_per_second:g} jobs a second, "
          f"{options.instances} instances, {options.pollers} pollers; logs in {logs}", flush=True)  # fmt: skip
    if chosen.alone:
        return 0 if run(options)[0] else 1
    print("without the guilty parties", flush=True)
    is_quiet_valid, without = run(replace(options, logs=logs / "without", has_guilty=False))
    print("\nwith the guilty parties", flush=True)
    is_valid, waits = run(options)
    print("\n" + "\n".join(comparison(without, waits)), flush=True)
    return 0 if is_valid and is_quiet_valid else 1


def run(options: Options) -> tuple[bool, Waits]:
    """Runs once and prints the report; returns whether the run was valid, and how long innocent jobs waited."""
    ran = asyncio.run(soak(options))
    verdict, tallies = judge(ran.observed, ran.evidence), tally(ran.evidence)
    verdict.objections += objections(ran.evidence, tallies)
    verdict.objections += [f"{count} unexplained answers: {what}" for what, count in ran.surprises.items()]
    verdict.objections += ran.nemesis.failures
    watched = judge_polls(ran.sightings, ran.evidence, ran.healed_at)
    verdict.objections += watched.objections[:20]
    if ran.settled_after is None:
        verdict.objections.append(f"some jobs were not over {ran.settle_limit:.0f} s after the last fault")
    waits = waits_of(ran.observed, ran.evidence)
    print("\n".join(lines(ran, verdict, tallies, waits, watched)), flush=True)
    if suspects := verdict.lost | verdict.unexpected | verdict.wrong.keys() | verdict.duplicated.keys():
        kept = options.logs / "suspects.json"
        kept.write_text(json.dumps(records(ran.evidence, suspects), indent=1))
        print(f"records of the suspect jobs in the store and at the provider: {kept}")
    return verdict.is_valid, waits


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long jobs are submitted (default: 600)")
    parser.add_argument("--seed", type=int, help="seed of workload and nemesis (default: random)")
    parser.add_argument("--jobs-per-second", type=float, default=8, help="average submission rate (default: 8)")
    parser.add_argument("--instances", type=int, default=4, help="number of function instances (default: 4)")
    parser.add_argument("--pollers", type=int, default=200, help="clients that watch jobs too (default: 200)")
    parser.add_argument("--alone", action="store_true", help="only the run with the guilty parties; compare nothing")
    parser.add_argument("--logs", type=Path, help="where the processes log (default: a temporary directory)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
