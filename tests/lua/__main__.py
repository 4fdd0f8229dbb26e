"""Runs luacheck and StyLua over the scripts, and looks for what two interpreters of Lua read differently.

A missing tool is skipped with a line, but in CI it is an error.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.alerts import alert_store
from shared.doctor import examiner
from shared.jobqueue.script import FOLDER
from shared.statistics import folding
from shared.verification import codes
from tests.lua.portable import faults_of
from tests.project import ROOT

HERE = Path(__file__).parent
TOOLS = ROOT / "build" / "tools" / "stylua"
FOLDERS = (FOLDER, codes.FOLDER, folding.FOLDER, examiner.FOLDER, alert_store.FOLDER)
FILES = sorted(path for folder in FOLDERS for path in folder.glob("*.lua"))
SCRIPTS = [str(path.relative_to(ROOT)) for path in FILES]
INSTALL_DEADLINE = 300.0  # s
DEADLINE = 60.0  # s


class ToolMissing(Exception):
    """This machine does not have the tool; the message says how to get it."""


def main(words: Sequence[str]) -> int:
    """The exit code: 0 if the scripts are clean, or the tools that would say otherwise are missing outside CI."""
    is_clean = portability()
    for check in (lint, format_of_scripts):
        try:
            is_clean = check("--write" in words) and is_clean
        except ToolMissing as missing:
            print(f"Lua scripts: {missing}")
            is_clean = is_clean and not os.environ.get("CI")
    return 0 if is_clean else 1


def portability() -> bool:
    """Whether stock Redis' Lua and gopher-lua agree on the scripts, as far as the text shows; prints where not."""
    faults = faults_of(FILES)
    for fault in faults:
        print(f"not portable: {fault}")
    return not faults


def lint(_is_writing: bool) -> bool:
    """Whether luacheck has no warning; prints those it has."""
    luacheck = shutil.which("luacheck")
    if luacheck is None:
        raise ToolMissing("luacheck is skipped, because it is not installed (Debian: apt install lua-check).")
    return run([luacheck, "--quiet", "--codes", "--no-color", *SCRIPTS]).returncode == 0


def format_of_scripts(is_writing: bool) -> bool:
    """Whether StyLua would change nothing; it changes the files if ``is_writing``, which is fine as well."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        raise ToolMissing("StyLua is skipped, because node and npm are not installed (Node 20 or newer).")
    install()
    command = [node, str(TOOLS / "format.mjs"), *(["--write"] if is_writing else []), *SCRIPTS]
    done = run(command, stdout=subprocess.PIPE)
    if done.returncode != 0:
        return False
    for name in done.stdout.split():
        print(f"{'formatted' if is_writing else 'needs the format of python -m tests.lua --write'}: {name}")
    return is_writing or not done.stdout


def install() -> None:
    """StyLua as package.json pins it, in build/tools/stylua; npm runs only if another version is there, or none."""
    pinned = (HERE / "package.json").read_text(encoding="utf-8")
    stamp = TOOLS / "stamp"
    TOOLS.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "format.mjs", TOOLS)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == pinned:
        return
    shutil.copy(HERE / "package.json", TOOLS)
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    if run(command, cwd=TOOLS, stdout=subprocess.PIPE, timeout=INSTALL_DEADLINE).returncode != 0:
        raise ToolMissing("StyLua is skipped, because npm could not install it.")
    stamp.write_text(pinned, encoding="utf-8")


def run(
    command: Sequence[str], cwd: Path = ROOT, stdout: int | None = None, timeout: float = DEADLINE
) -> "subprocess.CompletedProcess[str]":
    """The ended command; its output is ours unless ``stdout`` asks for it."""
    return subprocess.run(command, cwd=cwd, stdout=stdout, text=True, check=False, timeout=timeout)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
