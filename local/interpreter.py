"""Finds a real Python 3.12: AWS Lambda and Vercel run it, so their packages must be built with it.

A version manager's shim may be on PATH and yet refuse to run, so each candidate is run once.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

VERSION = "3.12"
NAME = f"python{VERSION}"
QUESTION = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
ANSWER_SECONDS = 20.0


class NoInterpreter(Exception):
    """No Python 3.12 was found; the message says what to do."""


def find(environment: Mapping[str, str] = os.environ) -> Path:
    """Returns the binary of a Python 3.12 that runs, never a shim; raises NoInterpreter."""
    for candidate in candidates(environment):
        if found := _ask(candidate):
            return found
    raise NoInterpreter(
        f"No Python {VERSION} was found, which the package needs: neither {NAME} on PATH nor one of pyenv or uv runs. "
        f"Install one (for example: uv python install {VERSION}) and put it on PATH."
    )


def candidates(environment: Mapping[str, str]) -> Iterator[Path]:
    """Yields paths, the likeliest first; some may not exist, not run, or be another version."""
    yield Path(sys.executable)
    for folder in environment.get("PATH", "").split(os.pathsep):
        if found := shutil.which(NAME, path=folder or os.curdir):
            yield Path(found)
    home = Path(environment.get("HOME") or Path.home())
    versions = Path(environment.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    data = Path(environment.get("XDG_DATA_HOME") or home / ".local/share")
    installed = Path(environment.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python")
    for root, pattern in ((versions, f"{VERSION}*"), (installed, f"cpython-{VERSION}.*")):
        yield from (folder / "bin" / NAME for folder in sorted(root.glob(pattern), reverse=True))


def _ask(candidate: Path) -> Path | None:
    try:
        asked = subprocess.run(
            [candidate, "-c", QUESTION], capture_output=True, text=True, timeout=ANSWER_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version, _, path = asked.stdout.strip().partition(" ")
    return Path(path) if version == VERSION and path else None
