"""What `make check` says of a Lua script that breaks a rule, and of a machine without the tools."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lua.__main__ import main
from tests.project import ROOT

LUACHECK = shutil.which("luacheck")
wants_luacheck = pytest.mark.skipif(not LUACHECK and not os.environ.get("CI"), reason="luacheck is not installed")
SCRIPT = "shared/jobqueue/scripts/progress.lua"


def warnings_of(root: Path) -> str:
    """What luacheck says of the script in a copy of the project."""
    assert LUACHECK
    done = subprocess.run([LUACHECK, "--quiet", "--no-color", SCRIPT], cwd=root, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for room in ("jobqueue", "verification", "statistics", "doctor", "alerts"):
        shutil.copytree(ROOT / "shared" / room / "scripts", tmp_path / "shared" / room / "scripts")
    shutil.copy(ROOT / ".luacheckrc", tmp_path)
    for shared in ("constants.py", "keys.py"):
        shutil.copy(ROOT / "shared/jobqueue" / shared, tmp_path / "shared/jobqueue")
    return tmp_path


@wants_luacheck
@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("local set = user_key('a', 'b')\nreturn set", "accessing undefined variable 'user_key'"),
        ("done = text(1)", "setting non-standard global variable 'done'"),
        ("local unused = text(1)", "unused variable 'unused'"),
        (f"return '{'a' * 120}'", "line is too long"),
        ("return f" + " or f" * 10, "cyclomatic complexity of main chunk is too high"),
        ("os.exit()", "accessing undefined variable 'os'"),
    ],
)
def test_luacheck_knows_what_a_script_is_given_and_the_limits(copy: Path, line: str, warning: str) -> None:
    script = copy / SCRIPT
    source = script.read_text()
    script.write_text(source.replace("return { 'noted' }", line))
    assert warning in warnings_of(copy)


@wants_luacheck
def test_a_script_may_use_the_libraries_that_its_header_names(copy: Path) -> None:
    script = copy / SCRIPT
    source = script.read_text().replace("return { 'noted' }", "return user_key('a', 'b')")
    script.write_text(source.replace("-- KEYS:", "-- With: keys\n-- KEYS:"))
    assert "0 warnings" in warnings_of(copy)


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("1", 1)])
def test_missing_tools_are_named_in_a_line_each_and_fail_only_in_ci(
    ci: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", ci)
    assert main([]) == code
    luacheck, stylua = capsys.readouterr().out.splitlines()
    assert "luacheck is skipped" in luacheck and "apt install lua-check" in luacheck
    assert "StyLua is skipped" in stylua
