"""The bench of copying runs and prints all its rows."""

import pytest

from bench import copy
from tests.bench.output import first_cells, run


@pytest.mark.exhaustive
def test_the_bench_of_copying_prints_every_case() -> None:
    printed = run("bench.copy", "--bytes", str(24 * copy.MIB), "--rounds", "1", "--no-targets")
    assert first_cells(printed) == [f"{name}, {bucket}" for bucket in copy.BUCKETS for name in copy.NAMES.values()]
    assert "at most 32" in printed and "obstore" in printed and "The unit here" in printed
