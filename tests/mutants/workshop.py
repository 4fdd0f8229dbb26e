"""Makes mutants in copies of the project and runs their tests there."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutants.edit import EditDoesNotApply
from tests.mutants.mutant import Mutant
from tests.project import ROOT

NEEDED = ("functions", "shared", "local", "bench", "tests", "pyproject.toml")
TIMEOUT = 120.0  # s
TESTS_FAILED = 1  # pytest's exit code; others mean that the tests could not be run
FAILED = "FAILED "  # how a line of pytest's summary begins

Ignore = Callable[[Any, list[str]], Iterable[str]]


@dataclass(frozen=True)
class Verdict:
    """A mutant's result: killed only if a test failed, not if the tests could not run."""

    name: str
    files: str
    killed_by: str
    result: str

    @property
    def is_killed(self) -> bool:
        return self.result == "killed"


class Workshop:
    """Keeps a tested and compiled copy of the original, from which it makes mutants."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._original = folder / "original"
        for name in NEEDED:
            copy(ROOT / name, self._original / name, shutil.ignore_patterns("__pycache__"))

    def try_original(self, tests: Sequence[str]) -> str:
        """Runs the tests on the original; returns the failures, '' if all pass."""
        code, output = run_tests(self._original, tests)
        return "" if code == 0 else output

    def try_out(self, mutant: Mutant) -> Verdict:
        """Makes the mutant in its own copy and runs its tests."""
        files = ", ".join(Path(file).name for file in mutant.files)
        root = Path(tempfile.mkdtemp(dir=self._folder))
        copy(self._original, root, self._stale(mutant))
        try:
            mutant.apply(root)
            code, output = run_tests(root, mutant.tests)
        except EditDoesNotApply as error:
            return Verdict(mutant.name, files, str(error), "EDIT DOES NOT APPLY")
        finally:
            shutil.rmtree(root, ignore_errors=True)
        if code == 0:
            return Verdict(mutant.name, files, "", "SURVIVED")
        failed = [line.removeprefix(FAILED).split(" - ")[0] for line in output.splitlines() if line.startswith(FAILED)]
        if code != TESTS_FAILED or not failed:
            return Verdict(mutant.name, files, output[-300:].strip(), "TESTS DID NOT RUN")
        return Verdict(mutant.name, files, failed[0], "killed")

    @staticmethod
    def _stale(mutant: Mutant) -> Ignore:
        """Skips compiled files: an edited source may have the age and size of the compiled one."""
        return shutil.ignore_patterns(*(f"{Path(file).stem}.*.pyc" for file in mutant.files))


def copy(source: Path, target: Path, ignore: Ignore) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=ignore, dirs_exist_ok=True)
    else:
        shutil.copy2(source, target)


def run_tests(root: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Pytest's exit code and output in the copy under ``root``."""
    # Only the plugins that the tests need: each of the others is loaded once a mutant.
    plugins = ["-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin", "-p", "pytest_timeout"]
    command = [sys.executable, "-m", "pytest", "-q", "-x", *plugins, *tests]
    environment = os.environ | {
        "PYTHONPATH": str(root), "PYTHONHASHSEED": "0", "COLUMNS": "300", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }  # fmt: skip
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return -1, f"no end within {TIMEOUT:g} s"
    return done.returncode, done.stdout + done.stderr
