"""Redis commands and round trips of Sluice and of other queues, on one server: ``python -m bench.peers``.

Counted with MONITOR: commands per job, paced and in a burst, and per idle day, those of scripts apart; and what Upstash
would charge for them. Every row is printed, also those where Sluice loses.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence

from bench import report
from bench.peers.catalogue import PEERS, SLUICE
from bench.peers.monitor import is_explained
from bench.peers.scenario import Plan, Row, measure
from bench.peers.table import COUNTS, PROMISES, as_json, counts, notes, ordered, promises
from shared.usage import prices as pricing

NAMES = [peer.name for peer in (SLUICE, *PEERS)]


def print_report(rows: Sequence[Row], plan: Plan, comparison: tuple[int, dict[str, int]], engine: str) -> None:
    """Prints the table, the queues that were not measured and why, and how to read it."""
    prices = pricing.load()
    report.print_table(COUNTS, [counts(row, prices) for row in ordered(rows)])
    print()
    report.print_table(PROMISES, [promises(row) for row in ordered(rows)])
    print()
    for row in rows:
        if row.failure:
            print(f"{row.peer.name}: not measured: {row.failure}")
    for note in notes(plan, prices):
        print(f"* {note}")
    seen, fewer = comparison
    differing = ", ".join(f"{name} {count}" for name, count in sorted(fewer.items())) or "none"
    judged = "ok" if is_explained(fewer) else "FAIL"
    print(
        f"MONITOR showed {seen:,} commands. The server's statistics lack, blocking ones alone: {differing}: {judged}."
    )
    print(f"Python {platform.python_version()}; {engine}; {time.strftime('%Y-%m-%d')}.")


def main() -> int:
    """Measures and prints; returns 1 if an installed queue failed or the counts disagree."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=Plan.jobs, help=f"paced jobs (default {Plan.jobs})")
    parser.add_argument("--burst", type=int, default=Plan.burst, help=f"jobs of the burst (default {Plan.burst})")
    parser.add_argument("--idle", type=float, default=Plan.idle, help=f"idle seconds (default {Plan.idle:g})")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--json", action="store_true", help="plain numbers")
    parser.add_argument("--no-targets", action="store_true", help="exit with 0 even if a target is missed")
    options = parser.parse_args()
    began, plan = time.monotonic(), Plan(options.jobs, options.burst, options.idle)
    peers = [peer for peer in (SLUICE, *PEERS) if peer.name in options.only]
    rows, comparison, engine = measure(peers, plan)
    if options.json:
        print(json.dumps([as_json(row, pricing.load()) for row in rows], indent=1))
    else:
        print_report(rows, plan, comparison, engine)
        print(f"The whole took {time.monotonic() - began:.0f} s.")
    is_sound = not any(row.failure and row.is_installed for row in rows) and is_explained(comparison[1])
    return 0 if is_sound or options.no_targets else 1


if __name__ == "__main__":
    sys.exit(main())
