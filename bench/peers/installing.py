"""Installs each peer into its own folder under .sluice/peers, once for each set of pins."""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.environment import ROOT
from bench.peers.catalogue import HOME, NODE, NODE_SOURCE, Peer

REQUIREMENTS = ROOT / "requirements-bench.txt"
SECTION = re.compile(r"^# \[(\w+)\]\n((?:[^#\n].*\n)+)", re.M)
DEADLINE = 300.0  # s, for one environment
LINES_IN_ERRORS = 3


class NotInstalled(Exception):
    """A peer cannot be installed here; the message says why."""


def sections(text: str) -> dict[str, str]:
    """Returns the requirements of each environment, by its name."""
    return dict(SECTION.findall(text))


def install(peer: Peer) -> None:
    """Makes the peer's environment unless it exists; raises NotInstalled."""
    if peer.environment == "node":
        _install_node()
    elif peer.environment:
        _install_python(peer.environment, sections(REQUIREMENTS.read_text())[peer.environment])


def version(peer: Peer) -> str:
    """Returns the installed version."""
    if peer.environment == "node":
        source = (NODE / "node_modules" / peer.package / "package.json").read_text()
        return str(re.findall(r'"version":\s*"([^"]+)"', source)[0])
    (found,) = (HOME / peer.environment).glob(f"lib/python*/site-packages/{peer.package.replace('-', '_')}-*.dist-info")
    return found.name.removesuffix(".dist-info").rpartition("-")[2]


def _install_python(name: str, requirements: str) -> None:
    folder, wanted = HOME / name, f"{sys.version}\n{requirements}"
    if _is_ready(folder, wanted):
        return
    listed = HOME / f"{name}.txt"
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text(requirements)
    shutil.rmtree(folder, ignore_errors=True)
    print(f"Installing {name} into {folder.relative_to(ROOT)} (once) ...", file=sys.stderr, flush=True)
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], ROOT)
    python = str(folder / "bin" / "python")
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "-r", str(listed)]
    _run([sys.executable, "-m", "pip", "--python", python, "install", *options], ROOT)
    (folder / ".ready").write_text(wanted)


def _install_node() -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise NotInstalled("node and npm are not on PATH")
    wanted = (NODE_SOURCE / "package.json").read_text()
    if not _is_ready(NODE, wanted):
        shutil.rmtree(NODE, ignore_errors=True)
        NODE.mkdir(parents=True)
        shutil.copy(NODE_SOURCE / "package.json", NODE)
        print(f"Installing npm packages into {NODE.relative_to(ROOT)} (once) ...", file=sys.stderr, flush=True)
        # No lock file: the packages that send commands are pinned exactly, and none needs a build.
        options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel", "error"]
        _run(["npm", "install", *options], NODE)
        (NODE / ".ready").write_text(wanted)
    shutil.copy(NODE_SOURCE / "peers.js", NODE)


def _is_ready(folder: Path, wanted: str) -> bool:
    ready = folder / ".ready"
    return ready.exists() and ready.read_text() == wanted


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        ran = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"{command[0]} took longer than {DEADLINE:g} s") from None
    if ran.returncode:
        errors = [line for line in ran.stdout.splitlines() if "error" in line.lower()]
        raise NotInstalled(" ".join(errors[:LINES_IN_ERRORS]) or f"{command[0]} failed")
