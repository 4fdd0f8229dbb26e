"""AWS's tools, which npm and pip install into build/tools/aws once."""

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
from local.interpreter import VERSION, find
from shared.env_file import setting_names
from tests.project import ROOT

TOOLS = ROOT / "build" / "tools" / "aws"
WANTED = Path(__file__).parent / "aws"
SAM = "aws-sam-cli==1.170.0"  # only for AWS's Runtime Interface Emulator, which is in its wheel
EMULATOR = "samcli/local/rapid/aws-lambda-rie-{}"
ARCH = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
INSTALL_SECONDS = 300


def environment() -> dict[str, str]:
    """Returns this process's environment without Sluice's settings."""
    return {name: value for name, value in os.environ.items() if name.upper() not in setting_names()}


def node_modules(wanted: Path = WANTED / "package.json", folder: Path = TOOLS / "node") -> Path:
    """Returns the folder with the packages that a package.json pins; their commands are in its .bin."""
    if _is_new(folder, wanted.read_bytes()):
        if shutil.which("npm") is None:
            raise RuntimeError("npm is not on PATH; these tests need Node.js 20 or newer")
        shutil.copyfile(wanted, folder / "package.json")
        _run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"], folder)
        _done(folder, wanted.read_bytes())
    return folder / "node_modules"


def lambda_python() -> Path:
    """Returns an empty Python 3.12 that starts as Lambda's does, so that a package missing in the zip is not found."""
    python, folder = find(), TOOLS / "python"
    if _is_new(folder, str(python).encode()):
        _run([str(python), "-m", "venv", "--without-pip", str(folder)], TOOLS)
        _done(folder, str(python).encode())
    return folder / "bin" / f"python{VERSION}"


def runtime_client() -> Path:
    """Returns a folder from which AWS's runtime client can be imported."""
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
    """Returns AWS's Runtime Interface Emulator, which the runtime client takes for Lambda."""
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
    """Whether the folder's content must be installed. If so, leaves the folder empty."""
    mark = folder / ".wanted"
    if mark.exists() and mark.read_text() == hashlib.sha256(wanted).hexdigest():
        return False
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return True


def _done(folder: Path, wanted: bytes) -> None:
    (folder / ".wanted").write_text(hashlib.sha256(wanted).hexdigest())
