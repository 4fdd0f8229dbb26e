"""`make demo` in a fresh clone, with an environment of its own, on the oldest and on a newer Python."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.env_file import setting_names
from tests.project import ROOT

VERSIONS = ("3.11", "3.13")
INSTALL_SECONDS = 400


def interpreters() -> Iterator[Path]:
    """Yields one interpreter of each version: what is on PATH and runs, else one of pyenv's."""
    for version in VERSIONS:
        name = f"python{version}"
        on_path = [Path(folder, name) for folder in os.get_exec_path()]
        of_pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/{name}"))
        for candidate in [*on_path, *of_pyenv]:
            if candidate.exists() and runs(candidate):
                yield candidate
                break


def runs(candidate: Path) -> bool:
    return subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0


@pytest.mark.deploy
@pytest.mark.timeout(600)
@pytest.mark.parametrize("python", list(interpreters()), ids=lambda path: path.name)
def test_make_demo_runs_in_a_fresh_clone(python: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    others = {*setting_names(), "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL", "ARGS", "VIRTUAL_ENV"}
    environ = {name: value for name, value in os.environ.items() if name.upper() not in others}
    ended = subprocess.run(
        ["make", "demo", f"PYTHON={python}"], cwd=clone, env=environ, capture_output=True, text=True, check=False,
        timeout=INSTALL_SECONDS,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("received job.completed, verified") >= 5
    assert not list((clone / ".venv").rglob("pytest")), "the demo installed a tool of the tests"
    shutil.rmtree(clone)
