"""Runs the mutants, two at a time, and prints the result of each."""

import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants import health, isolation, lives, media, modules, outbox, pushback, scripts, stopped
from tests.mutants.mutant import Mutant
from tests.mutants.workshop import Verdict, Workshop

AT_ONCE = 2
PARTS = (scripts, pushback, isolation, outbox, health, media, modules, lives, stopped)
MUTANTS: tuple[Mutant, ...] = tuple(mutant for part in PARTS for mutant in part.MUTANTS)


def main(words: Sequence[str]) -> int:
    """The exit code: 0 if the original passes its tests and every mutant was made and killed."""
    began = time.monotonic()
    mutants = [mutant for mutant in MUTANTS if all(word in mutant.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="sluice-mutants-") as folder:
        workshop = Workshop(Path(folder))
        trouble = workshop.try_original(sorted({test for mutant in mutants for test in mutant.tests}))
        if trouble:
            print(f"The original does not pass the mutants' tests, so that nothing can be proved:\n{trouble}")
            return 1
        with ThreadPoolExecutor(AT_ONCE) as pool:
            verdicts = list(pool.map(workshop.try_out, mutants))
    print(table(verdicts))
    killed = sum(verdict.is_killed for verdict in verdicts)
    print(f"\n{killed} of {len(verdicts)} mutants killed in {time.monotonic() - began:.0f} s")
    return 0 if verdicts and killed == len(verdicts) else 1


def table(verdicts: Sequence[Verdict]) -> str:
    """mutant | file | killed by | result, one a line."""
    rows = [("mutant", "file", "killed by", "result")]
    rows += [(v.name, v.files, v.killed_by, v.result) for v in verdicts]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        " | ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]) for row in rows
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
