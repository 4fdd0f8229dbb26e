"""Runs a bench as `make bench` does, and reads its table."""

import subprocess
import sys

from tests.project import ROOT


def run(*arguments: str, seconds: float = 100) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert not ran.stderr
    return ran.stdout


def first_cells(table: str) -> list[str]:
    return [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][1:]
