"""Runs the mutants, and prints the result of each."""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants import (
    access,
    alerts,
    api_keys,
    doctor,
    edge,
    erasure,
    health,
    isolation,
    lives,
    logs,
    mail,
    media,
    modules,
    order,
    outbox,
    overview,
    pushback,
    rates,
    scripts,
    spending,
    statistics,
    stopped,
    transport,
    usage,
    verification,
)  # fmt: skip
from tests.mutants.mutant import Mutant
from tests.mutants.workshop import Verdict, Workshop

AT_ONCE = 2  # cores of a small machine
PARTS = (
    access, alerts, api_keys, doctor, edge, erasure, health, isolation, lives, logs, mail, media, modules, order,
    outbox, overview, pushback, rates, scripts, spending, statistics, stopped, transport, usage, verification,
)  # fmt: skip
MUTANTS: tuple[Mutant, ...] = tuple(mutant for part in PARTS for mutant in part.MUTANTS)


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 if the original passes its tests and every mutant was made and killed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants with all these words in their name")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help=f"mutants tried at once (default {AT_ONCE})")
    options = parser.parse_args(arguments)
    return prove(options.words, options.at_once)


def prove(words: Sequence[str], at_once: int) -> int:
    """Tries the mutants with these words in their name; returns the exit code."""
    began = time.monotonic()
    mutants = [mutant for mutant in MUTANTS if all(word in mutant.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="sluice-mutants-") as folder:
        workshop = Workshop(Path(folder))
        trouble = workshop.try_original(sorted({test for mutant in mutants for test in mutant.tests}))
        if trouble:
            print(f"The original does not pass the mutants' tests, so that nothing can be proved:\n{trouble}")
            return 1
        with ThreadPoolExecutor(at_once) as pool:
            verdicts = []
            for verdict in pool.map(workshop.try_out, mutants):
                print(line(verdict), flush=True)
                verdicts.append(verdict)
    survivors = [verdict for verdict in verdicts if not verdict.is_killed]
    print(f"\n{len(verdicts) - len(survivors)} of {len(verdicts)} mutants killed in {time.monotonic() - began:.0f} s")
    # Once more at the end: a log of CI may show its last lines only.
    print("".join(f"{line(survivor)}\n" for survivor in survivors), end="")
    return 0 if verdicts and not survivors else 1


def line(verdict: Verdict) -> str:
    """result | mutant | file | killed by"""
    return " | ".join((verdict.result, verdict.name, verdict.files, verdict.killed_by))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
