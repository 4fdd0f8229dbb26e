"""`python -m local.artifact`: builds the package that AWS Lambda runs, `build/sluice-<arch>.zip`.

It holds `functions/`, `shared/` and their dependencies, with bytecode. The same sources make the same zip, byte for
byte. It holds the modules, scripts and prices of these two packages and the wheels that requirements.txt pins, nothing
else.

Lambda's file system is read-only, so a module without bytecode is compiled again at every cold start. So is one whose
bytecode checks the source's time, since no installer keeps that time. Hence unchecked hashes.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from local.children import ROOT
from local.interpreter import VERSION, NoInterpreter, find

PACKAGES = ("functions", "shared")
SUFFIXES = (".py", ".lua", ".toml")
MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}  # Lambda's name and the wheels'
# Minor versions of the glibc that a wheel may need: Lambda's Python 3.12 runs on Amazon Linux 2023, which has 2.34.
GLIBCS = range(34, 16, -1)
TASK_ROOT = "/var/task"
DEADLINE = 600.0  # s
# The files of a wheel that only pip, a type checker or a terminal reads. METADATA and entry points stay:
# opentelemetry-api, which FastAPI imports, finds its own parts by them.
NEVER_READ = ("RECORD", "WHEEL", "INSTALLER", "REQUESTED", "direct_url.json", "top_level.txt", "py.typed")
UNUSED_FOLDERS = ("bin", "tests", "test", "__pycache__", "pip", "setuptools", "sboms")
UNUSED_SUFFIXES = (".pyi", ".pyc", ".pyx", ".pxd", ".c", ".h")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold


class BuildFailed(Exception):
    """The package cannot be built; the message says why."""


def build(
    arch: str = "x86_64",
    *,
    root: Path = ROOT,
    media: bool = False,
    mail: bool = False,
    jwt: bool = False,
    sentry: bool = False,
    tracing: bool = False,
    bytecode: bool = True,
) -> Path:
    """Builds the package of the project at ``root`` and returns its path; raises BuildFailed or NoInterpreter."""
    target = root / "build" / f"sluice-{arch}.zip"
    with tempfile.TemporaryDirectory(prefix="sluice-artifact-") as scratch:
        staged = Path(scratch) / "task"
        wanted = {"media": media, "mail": mail, "jwt": jwt, "sentry": sentry, "tracing": tracing}
        install(staged, arch, root, [name for name, is_wanted in wanted.items() if is_wanted])
        strip(staged)
        copy_sources(root, staged)
        if bytecode:
            compile_all(staged)
        target.parent.mkdir(exist_ok=True)
        # Moved into place whole: a deploy at this moment gets the old one or the new one.
        unfinished = target.with_suffix(".part")
        write_zip(staged, unfinished)
        unfinished.replace(target)
    return target


def install(target: Path, arch: str, root: Path, optional: Sequence[str] = ()) -> None:
    """Puts the wheels that the requirements pin for Lambda's Python and this machine type into ``target``."""
    machine = MACHINES[arch]
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in GLIBCS] + [f"manylinux2014_{machine}"]
    lists = ["requirements.txt", *(f"requirements-{name}.txt" for name in optional)]
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"),
        *("--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={VERSION}"),
        f"--target={target}",
        *(f"--platform={platform}" for platform in platforms),
        *(part for name in lists for part in ("--requirement", str(root / name))),
    ]
    _run(command, "The dependencies could not be installed", dict(os.environ))


def strip(folder: Path) -> None:
    """Removes the installed files that no function reads."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and (path.name in UNUSED_FOLDERS or path.name.startswith((".", "pip-", "setuptools-"))):
            shutil.rmtree(path)
        elif path.is_file() and (path.suffix in UNUSED_SUFFIXES or path.name in NEVER_READ):
            path.unlink()


def copy_sources(root: Path, target: Path) -> None:
    """Adds the modules, scripts and prices of functions/ and shared/, and no other file of these folders."""
    for source in sources(root):
        copy = target / source.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)


def sources(root: Path) -> Iterator[Path]:
    """Yields the files of functions/ and shared/ that belong to the program."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            is_ours = not any(part.startswith((".", "__pycache__")) for part in path.relative_to(root).parts)
            if is_ours and path.suffix in SUFFIXES and path.is_file() and not path.is_symlink():
                yield path


def compile_all(folder: Path) -> None:
    """Writes bytecode next to every module, in the form of Lambda's Python, which will not check the sources' age."""
    command = [
        *(str(find()), "-S", "-m", "compileall", "-q", "-j", "1", "--invalidation-mode", "unchecked-hash"),
        *("-s", str(folder), "-p", TASK_ROOT, str(folder)),
    ]
    # The seed is fixed because bytecode holds sets in the order of their hashes.
    _run(command, "The modules could not be compiled", {"PATH": os.defpath, "PYTHONHASHSEED": "0"})


def write_zip(folder: Path, target: Path) -> None:
    """Packs a folder so that equal content makes equal bytes: sorted, without times, owners and masks."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), EPOCH)
            entry.create_system = 3  # Unix, so that the modes are read
            entry.external_attr = (0o100755 if path.suffix == ".so" else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())


def _run(command: Sequence[str], failure: str, environment: dict[str, str]) -> None:
    try:
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildFailed(f"{failure}: {error}") from None
    if ran.returncode:
        raise BuildFailed(f"{failure}:\n{ran.stderr.strip() or ran.stdout.strip()}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds the package and prints its path; returns 1, with the reason on standard error, if it cannot."""
    parser = argparse.ArgumentParser(prog="python -m local.artifact", description="Builds the package for AWS Lambda.")
    parser.add_argument("--arch", choices=sorted(MACHINES), default="x86_64", help="machine type (default: x86_64)")
    parser.add_argument("--media", action="store_true", help="add requirements-media.txt, which makes thumbnails")
    parser.add_argument("--mail", action="store_true", help="add requirements-mail.txt, which SMTP_URL needs")
    parser.add_argument("--jwt", action="store_true", help="add requirements-jwt.txt, for public keys of JWTs")
    parser.add_argument("--sentry", action="store_true", help="add requirements-sentry.txt, which SENTRY_DSN needs")
    parser.add_argument("--tracing", action="store_true", help="add requirements-tracing.txt, for OpenTelemetry")
    chosen = vars(parser.parse_args(arguments))
    try:
        made = build(chosen.pop("arch"), **chosen)
    except (BuildFailed, NoInterpreter) as error:
        print(f"artifact: {error}", file=sys.stderr)
        return 1
    with zipfile.ZipFile(made) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        count = len(archive.infolist())
    size = made.stat().st_size
    print(f"{made.relative_to(ROOT)}: {size / 1e6:.1f} MB, {unpacked / 1e6:.1f} MB unpacked, {count} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
