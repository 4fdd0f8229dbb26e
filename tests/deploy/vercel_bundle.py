"""The project built as Vercel builds it, from a copy, since the builder writes into its folder."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.env_file import setting_names
from tests.deploy.vercel_tools import Tools
from tests.project import ROOT

# Without these a build asks for a login; they name no account.
LINK = {"projectId": "prj_local", "orgId": "team_local", "settings": {"framework": None}}
BUILD_DEADLINE = 300.0  # s
LEFT_OUT = (".git", ".venv", ".sluice", "build", "node_modules", ".vercel", ".hypothesis", "__pycache__", ".*_cache")
# Variables of the developer that would change the build or the run.
FOREIGN = ("VERCEL", "PYTHON", "VIRTUAL_ENV", "UV_PYTHON", "NOW_", "AWS_LAMBDA", "KV_REST")


class BuildFailed(Exception):
    """`vercel build` failed; the message is its output."""


@dataclass(frozen=True)
class Bundle:
    """One function as the builder describes it: the path of each of its files, by name."""

    name: str
    files: Mapping[str, Path]
    config: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Bytes, unpacked; the platform limits this."""
        return sum(path.stat().st_size for path in self.files.values())

    def unpack(self, folder: Path) -> Path:
        """Writes the function's files as the platform does, which does not keep file times."""
        for name, path in self.files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        return folder


@dataclass(frozen=True)
class Output:
    """What a build creates: its functions, the platform's routes and crons, and its output."""

    project: Path
    functions: list[Bundle]
    config: Mapping[str, Any]
    printed: str

    @property
    def only(self) -> Bundle:
        """The one function; raises ValueError if there are others."""
        (bundle,) = self.functions
        return bundle


def copy_project(folder: Path) -> Path:
    """Copies the project without what only this machine has."""
    return Path(shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT, ".env", ".env.local")))


def build(tools: Tools, project: Path, *, with_bytecode: bool = True) -> Output:
    """Runs `vercel build` in the folder, without a login. Raises BuildFailed."""
    link = project / ".vercel" / "project.json"
    link.parent.mkdir(exist_ok=True)
    link.write_text(json.dumps(LINK))
    home = project / ".vercel" / "home"  # so that no login or settings of this machine are used
    home.mkdir(exist_ok=True)
    wanted = {
        "PATH": tools.path,
        "HOME": str(home),
        "VERCEL_TELEMETRY_DISABLED": "1",
        "NO_UPDATE_NOTIFIER": "1",
        "VERCEL_PYTHON_COMPILEALL": "1" if with_bytecode else "0",
    }
    ended = subprocess.run(
        [tools.vercel, "build", "--yes"], cwd=project, env=own_environment() | wanted,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=BUILD_DEADLINE,
    )  # fmt: skip
    printed = ended.stdout + ended.stderr
    if ended.returncode != 0:
        raise BuildFailed(printed)
    return _read(project, printed)


def own_environment() -> dict[str, str]:
    """Returns this process's environment without Sluice's settings and without other tools' switches."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.upper() not in setting_names() and not name.startswith(FOREIGN)
    }


def _read(project: Path, printed: str) -> Output:
    output = project / ".vercel" / "output"
    described = sorted((output / "functions").rglob(".vc-config.json"))
    functions = [_function(project, output / "functions", path) for path in described]
    return Output(project, functions, json.loads((output / "config.json").read_text()), printed)


def _function(project: Path, functions: Path, described: Path) -> Bundle:
    config = json.loads(described.read_text())
    folder = described.parent
    # Files are in the function's folder, or filePathMap names their place in the project.
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file() and path != described}
    files |= {name: project / path for name, path in config.get("filePathMap", {}).items()}
    return Bundle(str(folder.relative_to(functions)), files, config)
