"""A test runs each bench of `make bench`: CI runs no other."""

import re

import pytest

from bench.peers import __main__ as peers
from bench.peers.catalogue import SLUICE
from tests.bench.output import first_cells, run
from tests.project import ROOT

RECIPE = (ROOT / "Makefile").read_text().partition("\nbench:")[2].partition("\n\n")[0]
BENCHES = re.findall(r"python -m (bench\.\w+)", RECIPE)


def test_a_test_runs_each_bench() -> None:
    assert len(BENCHES) > 10
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [bench for bench in BENCHES if f'"{bench}"' not in tests] == []


@pytest.mark.exhaustive
def test_the_bench_of_other_queues_prints_a_row_of_those_chosen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--jobs", "3", "--burst", "8", "--idle", "1"]
    monkeypatch.setattr("sys.argv", ["bench.peers", "--only", SLUICE.name, *few])
    assert peers.main() == 0
    assert first_cells(capsys.readouterr().out)[0] == SLUICE.name


def test_the_bench_of_costs_prints_a_bill() -> None:
    assert "Free tier" in run("bench.cost")
