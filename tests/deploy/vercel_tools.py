"""Vercel's own builder and its needs, installed into build/tools/vercel once: its CLI from npm, uv from PyPI."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.interpreter import NAME, find
from tests.project import ROOT

TOOLS = ROOT / "build" / "tools" / "vercel"
PACKAGE = Path(__file__).parent / "vercel" / "package.json"
REQUIREMENTS = Path(__file__).parent / "vercel" / "requirements.txt"
INSTALL_DEADLINE = 600.0  # s


class ToolMissing(Exception):
    """The machine lacks something that Vercel's builder needs; the message says what."""


@dataclass(frozen=True)
class Tools:
    """The installed tools."""

    vercel: Path
    python: Path  # of an environment with uv only

    @property
    def path(self) -> str:
        """PATH for the builder, which looks for `uv` and `python3.12` but not as a shim or an environment's Python."""
        node = shutil.which("node")
        assert node is not None
        real = Path(_ask(str(self.python), "import os, sys; print(os.path.realpath(sys._base_executable))"))
        return os.pathsep.join([str(TOOLS / "bin"), str(real.parent), str(Path(node).parent), os.defpath])


def install_tools() -> Tools:
    """Returns the pinned tools, and installs them if they are missing or old. Raises ToolMissing or NoInterpreter."""
    with _locked():
        if _stamp() != _wanted():
            _install()
            (TOOLS / "stamp").write_text(_wanted())
    return Tools(TOOLS / "node_modules" / ".bin" / "vercel", TOOLS / "python" / "bin" / NAME)


def _ask(python: str, code: str) -> str:
    ended = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    return ended.stdout.strip()


def _install() -> None:
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise ToolMissing("Vercel's builder needs node and npm on PATH (Node 20 or newer).")
    python = str(find())
    for part in ("node_modules", "python", "bin"):
        shutil.rmtree(TOOLS / part, ignore_errors=True)
    shutil.copy(PACKAGE, TOOLS / "package.json")
    _run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"])
    _run([python, "-m", "venv", "python"])
    pip = [f"python/bin/{NAME}", "-m", "pip", "install", "--quiet"]
    _run([*pip, "--disable-pip-version-check", "-r", str(REQUIREMENTS)])
    (TOOLS / "bin").mkdir()
    (TOOLS / "bin" / "uv").symlink_to(Path("..") / "python" / "bin" / "uv")


def _run(command: list[str]) -> None:
    ended = subprocess.run(command, cwd=TOOLS, capture_output=True, text=True, check=False, timeout=INSTALL_DEADLINE)
    if ended.returncode != 0:
        raise ToolMissing(f"`{' '.join(command)}` ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")


def _wanted() -> str:
    """Returns a hash of the pinned versions."""
    return hashlib.sha256(PACKAGE.read_bytes() + REQUIREMENTS.read_bytes()).hexdigest()


def _stamp() -> str:
    stamp = TOOLS / "stamp"
    return stamp.read_text() if stamp.exists() else ""


@contextmanager
def _locked() -> Iterator[None]:
    """Holds a lock: a test and a bench may both find that no tool is installed."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    with (TOOLS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
