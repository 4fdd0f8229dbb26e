"""The steps of the AWS Lambda build that need no network. tests/deploy builds a whole package."""

import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from local import artifact, interpreter
from local.artifact import BuildFailed


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("pass\n")


def relative(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_only_modules_and_scripts_of_the_project_are_packed(tmp_path: Path) -> None:
    ours = {"functions/submit.py", "shared/jobqueue/scripts/claim.lua", "shared/media/media.py"}
    left = (
        "functions/.env", "functions/.env.py", "shared/.hidden/token.py", "shared/__pycache__/old.py",
        "shared/file.mp4", "tests/test.py", ".env",
    )  # fmt: skip
    write(tmp_path, *ours, *left)
    (tmp_path / "shared/link.py").symlink_to(tmp_path / ".env")
    artifact.copy_sources(tmp_path, tmp_path / "task")
    assert relative(tmp_path / "task") == ours


def test_a_wheel_keeps_its_modules_metadata_and_licences(tmp_path: Path) -> None:
    kept = {"x/a.py", "x/a.so", "x-1.dist-info/METADATA", "x-1.dist-info/entry_points.txt", "x-1.dist-info/licenses/L"}
    dropped = (
        "bin/x", "x/a.pyi", "x/tests/t.py", "x/__pycache__/a.pyc", "x-1.dist-info/RECORD", "pip/p.py",
        "pip-23.2.dist-info/METADATA", "x/.agents/skill.md", "x/py.typed",
    )  # fmt: skip
    write(tmp_path, *kept, *dropped)
    artifact.strip(tmp_path)
    assert relative(tmp_path) == kept


def test_equal_content_makes_equal_bytes_for_any_time_order_and_mode(tmp_path: Path) -> None:
    for name, order in (("a", ("x/1.py", "y.so")), ("b", ("y.so", "x/1.py"))):
        write(tmp_path / name, *order)
        artifact.write_zip(tmp_path / name, tmp_path / f"{name}.zip")
        os.utime(tmp_path / "b", (0, 0)) if name == "b" else (tmp_path / "a/y.so").chmod(0o600)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == ["x/1.py", "y.so"]
        assert [entry.external_attr >> 16 & 0o777 for entry in archive.infolist()] == [0o644, 0o755]


def test_a_failed_build_says_why_and_keeps_the_last_package(tmp_path: Path) -> None:
    write(tmp_path, "functions/submit.py", "shared/a.py", "build/sluice-x86_64.zip")
    (tmp_path / "requirements.txt").write_text("-r nowhere.txt\n")
    with pytest.raises(BuildFailed, match=r"could not be installed:\n.*nowhere\.txt"):
        artifact.build(root=tmp_path)
    assert relative(tmp_path / "build") == {"sluice-x86_64.zip"}


def shim(folder: Path) -> Path:
    """Writes a version manager's shim of a version that is not selected."""
    folder.mkdir(parents=True)
    made = folder / "python3.12"
    made.write_text("#!/bin/sh\necho 'python3.12: command not found' >&2\nexit 127\n")
    made.chmod(0o755)
    return made


def has_version(path: Path) -> bool:
    return path.is_file() and not path.read_bytes().startswith(b"#!")


def test_a_shim_that_does_not_run_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(shim(tmp_path / "venv")))
    real = shutil.which(f"python{sys.version_info[0]}.{sys.version_info[1]}", path=str(Path(sys.prefix) / "bin"))
    monkeypatch.setattr(interpreter, "VERSION", f"{sys.version_info[0]}.{sys.version_info[1]}")
    monkeypatch.setattr(interpreter, "NAME", "python3.12")
    link = tmp_path / "versions/3/bin/python3.12"
    link.parent.mkdir(parents=True)
    assert real is not None
    link.symlink_to(real)
    path = os.pathsep.join([str(shim(tmp_path / "shims").parent), str(link.parent)])
    assert has_version(interpreter.find({"PATH": path, "HOME": str(tmp_path)}))


@pytest.mark.parametrize("folder", [".pyenv/versions/3.12.7/bin", ".local/share/uv/python/cpython-3.12.11-linux/bin"])
def test_a_version_managers_own_folder_is_searched(folder: str, tmp_path: Path) -> None:
    made = shim(tmp_path / folder)
    assert made in set(interpreter.candidates({"PATH": "", "HOME": str(tmp_path)}))


def test_without_an_interpreter_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(shim(tmp_path / "venv")))
    with pytest.raises(interpreter.NoInterpreter, match=r"No Python 3\.12 was found.*Install one"):
        interpreter.find({"PATH": str(shim(tmp_path / "shims").parent), "HOME": str(tmp_path)})


def test_the_command_prints_a_failure_as_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> Path:
        raise BuildFailed("The dependencies could not be installed: no network")

    monkeypatch.setattr(artifact, "build", refuse)
    assert artifact.main(["--arch", "arm64"]) == 1
    assert capsys.readouterr().err == "artifact: The dependencies could not be installed: no network\n"
