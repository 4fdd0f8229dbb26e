"""The page about security names tests that exist; no rule of ruff's about security is off without reason and need."""

import io
import re
import subprocess
import sys
import tokenize
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests.project import ROOT

FOLDERS = ("functions", "shared", "local", "bench", "tests")
PYPROJECT = ROOT / "pyproject.toml"
RUFF = tomllib.loads(PYPROJECT.read_text())["tool"]["ruff"]["lint"]
PAGE = (ROOT / "docs" / "security.md").read_text()
OWASP = (  # OWASP API Security Top 10, 2023
    "API1 Broken object level authorization", "API2 Broken authentication",
    "API3 Broken object property level authorization", "API4 Unrestricted resource consumption",
    "API5 Broken function level authorization", "API6 Unrestricted access to sensitive business flows",
    "API7 Server side request forgery", "API8 Security misconfiguration", "API9 Improper inventory management",
    "API10 Unsafe consumption of APIs",
)  # fmt: skip
IGNORED = [(files, rule) for files, rules in RUFF["per-file-ignores"].items() for rule in rules]


def comments(path: Path) -> list[str]:
    """The comments of a Python file; a text that looks like one is none."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


def unexplained(found: list[str]) -> list[str]:
    """Comments that switch off a rule about security, without naming it alone and a reason in brackets after it."""
    of_security = [comment for comment in found if re.search(r"noqa(\s*$|:[^(]*\bS\d)", comment, re.I)]
    return [comment for comment in of_security if not re.fullmatch(r"# noqa: S\d{3} \(.{4,}\)", comment)]


@pytest.mark.parametrize("comment", ["# noqa", "# noqa: S101", "# noqa: S101, S105 (both)", "# ruff: noqa: S101"])
def test_a_comment_without_a_reason_is_found(comment: str) -> None:
    assert unexplained([comment]) == [comment]
    assert unexplained(["# noqa: S311 (jitter)", "# a noqa of S101 would be wrong here"]) == []


def test_each_line_that_ruff_must_not_judge_says_why() -> None:
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    every = {str(path.relative_to(ROOT)): comments(path) for path in paths}
    assert sum("noqa: S" in comment for found in every.values() for comment in found) > 5
    assert {path: found for path, all_of in every.items() if (found := unexplained(all_of))} == {}


def test_each_rule_that_is_switched_off_for_a_folder_has_a_line_and_a_reason() -> None:
    lines = re.findall(r"^ *(.*\"S\d.*)$", PYPROJECT.read_text(), re.M)
    selected = [line for line in lines if line.startswith("select")]
    explained = [line for line in lines if re.fullmatch(r'"S\d{3}",  # .{10,}', line)]
    assert len(explained) + len(selected) == len(lines) and len(explained) == len(IGNORED)
    assert "S" in RUFF["select"] and not any(rule.startswith("S") for rule in RUFF["ignore"])
    assert {files for files, _ in IGNORED} == {"tests/*", "local/*", "bench/*"}  # none of what runs in production


@cache
def judged_alone(folder: str) -> set[str]:
    """The rules about security that a folder breaks when no rule is switched off for it."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "S", "--output-format", "concise"]
    answer = subprocess.run([*command, folder], cwd=ROOT, capture_output=True, text=True, check=False)
    return set(re.findall(r": (S\d{3}) ", answer.stdout))


@pytest.mark.parametrize(("files", "rule"), IGNORED)
def test_each_rule_that_is_switched_off_is_needed(files: str, rule: str) -> None:
    assert rule in judged_alone(files.removesuffix("/*"))


def rows(text: str, first: str) -> list[list[str]]:
    """The rows of a table whose first cell begins so, as cells."""
    found = re.findall(r"^\| (.*) \|$", text, re.M)
    return [cells for row in found if (cells := row.split(" | "))[0].startswith(first)]


@pytest.mark.parametrize("entry", OWASP)
def test_each_entry_of_the_list_names_its_tests_and_what_is_not_covered(entry: str) -> None:
    number = entry.split()[0]
    (covered, remains) = (row for row in rows(PAGE, number) if row[0].split()[0] == number)
    assert covered[0] == entry and len(covered) == 3 and NAMED.search(covered[2])
    assert remains[0] == number and len(remains) == 2


NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_each_test_that_the_page_names_exists() -> None:
    named = NAMED.findall(PAGE)
    assert len(named) > 20
    for path, name in named:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.M), f"{path}::{name}"
