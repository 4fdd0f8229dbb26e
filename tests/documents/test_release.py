"""The version is written once, and the changelog agrees with it; pre-commit runs the checks of `make check`."""

import re
import tomllib

from tests.project import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_changelogs_newest_release_is_the_version_and_has_a_date() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert headings[0] == "[Unreleased]"
    assert re.fullmatch(rf"\[{re.escape(VERSION)}\] - \d{{4}}-\d\d-\d\d", headings[1])


def test_a_commit_is_checked_by_what_make_check_runs() -> None:
    target = (ROOT / "Makefile").read_text().split("\ncheck: ", 1)[1].split("\n\n", 1)[0]
    hooks = re.findall(r"entry: \.venv/bin/(.+)", (ROOT / ".pre-commit-config.yaml").read_text())
    assert [hook.split()[0] for hook in hooks] == ["ruff", "ruff", "mypy"]
    for hook in hooks:
        assert f"$(BIN)/{hook}" in target
