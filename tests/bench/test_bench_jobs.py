"""The benches of whole jobs run and print all their rows."""

import pytest

from bench import latency
from tests.bench.output import first_cells, run


@pytest.mark.exhaustive
def test_the_bench_of_a_jobs_cpu_counts_the_calls_that_a_queued_job_takes() -> None:
    printed = run("bench.job_cpu", "--jobs", "10", "--no-targets")
    (row,) = (line for line in printed.splitlines() if line.startswith("| submit"))
    assert row.split("|")[3].strip() == "4.00"
    assert "fastapi" in printed and "The unit here" in printed


def test_the_bench_of_watching_prints_what_each_poller_costs_beside_its_goal() -> None:
    printed = run("bench.watching")
    assert first_cells(printed) == [
        f"{what}, a {kind} model"
        for what in ("run of 120 s", "run of 300 s", "wait of 300 s")
        for kind in ("known", "new")
    ]
    assert printed.count("at most 60") == 4 and printed.count("at most 8: met") == 2


@pytest.mark.exhaustive
def test_the_bench_of_latency_prints_both_systems_against_both_periods() -> None:
    printed = run("bench.latency", "--jobs", "10", "--no-targets")
    assert first_cells(printed) == [latency.IDLE, latency.FULL]
    for line in printed.splitlines():
        if line.startswith(("| idle", "| full")):
            every30, every60 = (float(cell.strip().removesuffix(" s")) for cell in line.split("|")[5:7])
            assert 0 < every30 <= 30 and 0 < every60 <= 60
    assert "upstash-redis" in printed and "A bare call here" in printed
