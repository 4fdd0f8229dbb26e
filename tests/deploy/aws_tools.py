"""AWS's tools and those of its deployment, installed into build/tools/aws once, by npm and pip."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from local.artifact import compile_all
from local.environment import setting_names
from local.interpreter import VERSION, find
from tests.project import ROOT

TOOLS = ROOT / "build" / "tools" / "aws"
WANTED = Path(__file__).parent / "aws"
SAM = "aws-sam-cli==1.170.0"  # its wheel carries AWS's Runtime Interface Emulator; nothing else of it is used
EMULATOR = "samcli/local/rapid/aws-lambda-rie-{}"
ARCH = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
INSTALL_SECONDS = 300


def environment() -> dict[str, str]:
    """This process' environment without any setting of Sluice, as a tool wants it."""
    return {name: value for name, value in os.environ.items() if name.upper() not in setting_names()}


def node_modules() -> Path:
    """The folder of what aws/package.json pins, the commands in its .bin."""
    wanted, folder = WANTED / "package.json", TOOLS / "node"
    if _is_new(folder, wanted.read_bytes()):
        if shutil.which("npm") is None:
            raise RuntimeError("npm is not on PATH; these tests need Node.js 20 or newer")
        shutil.copyfile(wanted, folder / "package.json")
        _run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"], folder)
        _done(folder, wanted.read_bytes())
    return folder / "node_modules"


def lambda_python() -> Path:
    """A Python 3.12 with nothing installed, which starts as Lambda's does: what a package lacks is found nowhere."""
    python, folder = find(), TOOLS / "python"
    if _is_new(folder, str(python).encode()):
        _run([str(python), "-m", "venv", "--without-pip", str(folder)], TOOLS)
        _done(folder, str(python).encode())
    return folder / "bin" / f"python{VERSION}"


def runtime_client() -> Path:
    """A folder to import AWS's runtime client from."""
    wanted, folder = WANTED / "requirements.txt", TOOLS / "runtime-client"
    if _is_new(folder, wanted.read_bytes()):
        wheels = [f"--platform=manylinux_2_{minor}_{platform.machine()}" for minor in range(34, 16, -1)]
        wheels += [f"--platform=manylinux2014_{platform.machine()}", "--implementation=cp", "--only-binary=:all:"]
        wheels += [f"--python-version={VERSION}", f"--target={folder}", "--no-deps", "--no-compile"]
        _pip("install", *wheels, "-r", str(wanted))
        compile_all(folder)
        _done(folder, wanted.read_bytes())
    return folder


def interface_emulator() -> Path:
    """AWS's Runtime Interface Emulator, which plays Lambda to the runtime client."""
    folder, member = TOOLS / "interface-emulator", EMULATOR.format(ARCH)
    if _is_new(folder, SAM.encode()):
        _pip("download", "--no-deps", f"--dest={folder}", SAM)
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(member, folder)
        wheel.unlink()
        (folder / member).chmod(0o755)
        _done(folder, SAM.encode())
    return folder / member


def _pip(*arguments: str) -> None:
    _run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], ROOT)


def _run(command: Sequence[str], folder: Path) -> None:
    ran = subprocess.run(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=INSTALL_SECONDS, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, f"{' '.join(command[:4])} failed:\n{ran.stdout}"


def _is_new(folder: Path, wanted: bytes) -> bool:
    """Whether it must be installed; if so its folder is there and empty."""
    mark = folder / ".wanted"
    if mark.exists() and mark.read_text() == hashlib.sha256(wanted).hexdigest():
        return False
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return True


def _done(folder: Path, wanted: bytes) -> None:
    (folder / ".wanted").write_text(hashlib.sha256(wanted).hexdigest())
