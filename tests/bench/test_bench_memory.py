"""The bench of memory runs each of its cases in a new process and prints what it takes."""

import pytest

from bench.memory_cases import CASES
from tests.bench.output import first_cells, run


@pytest.mark.exhaustive
@pytest.mark.timeout(300)
def test_the_bench_of_memory_prints_every_case_and_meets_its_target() -> None:
    printed = run("bench.memory")
    assert first_cells(printed) == [*CASES] and printed.count("at most 40: met") == len(CASES)
