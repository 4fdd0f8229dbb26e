"""The benches run and tell all they promise to; what a cold start loads is counted, never timed."""

import subprocess
import sys

import pytest

from bench import cases, cold
from bench.environment import ROOT, environment
from bench.measure import Case, WrongResult, time_in_turn

# The interpreter may be told elsewhere to write no bytecode; what is tested here is the environment of a deployment.
DEPLOYED = environment(cold.STORE)


def run(*arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert not ran.stderr
    return ran.stdout


def first_cells(table: str) -> list[str]:
    return [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][1:]


def test_the_bench_of_warm_invocations_prints_every_row() -> None:
    printed = run("bench.handlers", "--rounds", "3", "--no-targets")
    assert first_cells(printed) == list(cases.ROWS)
    assert "fastapi" in printed and "The unit here" in printed


def test_the_bench_of_cold_starts_prints_every_function() -> None:
    printed = run("bench.cold", "--runs", "1", "--no-targets")
    assert first_cells(printed) == list(cold.FUNCTIONS)
    assert "fastapi" in printed and "The unit here" in printed


@pytest.mark.parametrize("function", cold.FUNCTIONS)
def test_importing_a_function_loads_nothing_heavy(function: str) -> None:
    assert cold.heavy_modules(function, DEPLOYED) == []


def test_a_heavy_import_is_noticed() -> None:
    assert cold.heavy_modules("upstash_redis.asyncio", DEPLOYED) == ["httpx", "upstash_redis"]


def test_a_case_that_misbehaves_is_not_timed() -> None:
    broken = Case("broken", lambda _: 500, is_right=lambda answer: bool(answer == 200))
    with pytest.raises(WrongResult, match="broken: 500"):
        time_in_turn([broken], 1)
