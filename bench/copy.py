"""How fast a long file is stored, and in how much memory: ``python -m bench.copy``.

Source, bucket and copy are three processes on one machine. Sluice's copy counts the bytes, computes the digest and
detects the type on the way. The plain one only passes httpx's chunks to obstore, with their defaults. The two take
turns.
"""

import argparse
import json
import statistics
import subprocess
import sys
from contextlib import ExitStack

from bench import report
from bench.copying import CASES
from bench.environment import ROOT
from bench.files import files_server

MIB = 1024 * 1024
BYTES = 256 * MIB
ROUNDS = 3
FAR = 0.1  # s; about what a bucket in a region's network takes for a part of 5 MiB
BUCKETS = {"near": 0.0, "far": FAR}
MAX_MEMORY = 32.0  # MB of 10^6 bytes, above the process's memory before the copy
NAMES = {"copy": "copy_file", "pipe": "httpx into obstore"}
PACKAGES = ("httpx", "obstore", "filetype")
Runs = dict[tuple[str, str], list[dict[str, float]]]


def measure(size: int, rounds: int) -> Runs:
    """Returns the seconds and memory of each copy, by bucket and case."""
    taken: Runs = {(bucket, case): [] for bucket in BUCKETS for case in CASES}
    with ExitStack() as stack:
        source = stack.enter_context(files_server())
        sinks = {bucket: stack.enter_context(files_server(pause)) for bucket, pause in BUCKETS.items()}
        for _ in range(rounds):
            for bucket, case in taken:
                command = [sys.executable, "-m", "bench.copying", case, source, sinks[bucket], str(size)]
                printed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
                taken[bucket, case].append(json.loads(printed.splitlines()[-1]))
    return taken


def print_report(taken: Runs, size: int, rounds: int) -> bool:
    """Prints the table and returns whether the target is met."""
    seconds = {key: statistics.median(run["seconds"] for run in runs) for key, runs in taken.items()}
    memory = {key: max(run["memory"] for run in runs) / 1e6 for key, runs in taken.items()}
    print(
        f"A file of {size / MIB:,.0f} MiB from a URL into a bucket; {rounds} interleaved rounds. A bucket that is far"
    )
    print(f"takes {FAR * 1000:g} ms for each part. The unit is the plain way into the same bucket.\n")
    rows = []
    for bucket, case in taken:
        peak = memory[bucket, case]
        ratio = seconds[bucket, "pipe"] / seconds[bucket, case]
        judged = report.verdict(peak, MAX_MEMORY) if case == "copy" else ""
        rows.append([f"{NAMES[case]}, {bucket}", f"{ratio:.2f}", f"{peak:.1f} MB", judged])
    report.print_table(["case", "throughput, median", "memory, most of all rounds", "target (memory, MB)"], rows)
    print()
    report.print_versions(PACKAGES)
    speed = {bucket: size / seconds[bucket, "pipe"] / 1e6 for bucket in BUCKETS}
    print("The unit here: " + ", ".join(f"{value:,.0f} MB/s {bucket}" for bucket, value in speed.items()) + ".")
    return all(memory[bucket, "copy"] <= MAX_MEMORY for bucket in BUCKETS)


def main() -> int:
    """Measures and prints; returns 1 if the copy takes too much memory."""
    parser = argparse.ArgumentParser(prog="python -m bench.copy", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bytes", type=int, default=BYTES, help=f"of the file (default {BYTES}; 2 GiB: {2 << 30})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"copies of each kind (default {ROUNDS})")
    parser.add_argument("--no-targets", action="store_true", help="exit with 0 even if a target is missed")
    options = parser.parse_args()
    is_met = print_report(measure(options.bytes, options.rounds), options.bytes, options.rounds)
    return 0 if is_met or options.no_targets else 1


if __name__ == "__main__":
    sys.exit(main())
