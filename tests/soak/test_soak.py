"""A minute of the soak: under constant faults, no job is lost, duplicated or left behind."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import ROOT

SEED = 20260226


def number_of(name: str, report: str) -> int:
    """Returns the first number after a name in the report."""
    found = re.search(rf"^{name} +(\d+)", report, re.M)
    assert found is not None, f"{name} is not in the report:\n{report}"
    return int(found.group(1))


@pytest.mark.exhaustive
@pytest.mark.timeout(300)
def test_a_minute_of_kills_and_lost_answers_loses_and_doubles_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.soak", "--seconds", "60", "--seed", str(SEED), "--logs", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    report = ended.stdout
    assert ended.returncode == 0, report + ended.stderr
    assert report.startswith(f"seed {SEED}:")
    assert "\nVALID" in report
    assert number_of("acknowledged", report) == number_of("ok", report) >= 300
    for name in ("lost", "unexpected", "duplicated", "wrong"):
        assert number_of(name, report) == 0
    for name in ("recovered", "adopted", "rescued", "resubmitted", "instances"):
        assert number_of(name, report) >= 1
