"""Decisions have numbered pages, each with the same four parts, and an index of all of them."""

import re
from pathlib import Path

import pytest

from tests.project import ROOT

FOLDER = ROOT / "docs" / "decisions"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
PARTS = ["Context", "Decision", "Price", "Rejected"]


def test_pages_are_numbered_without_a_gap() -> None:
    assert [int(path.name[:4]) for path in PAGES] == list(range(1, len(PAGES) + 1))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_has_a_title_a_date_and_four_parts(path: Path) -> None:
    text = path.read_text()
    assert re.match(rf"# {path.name[:4]}\. \S.*\n\nSince \d+ \w+ 20\d\d[.;]", text)
    parts = re.split(r"^## (.+)\n", text, flags=re.M)[1:]
    assert parts[0::2] == PARTS
    assert all(body.strip() for body in parts[1::2])


def test_the_index_lists_every_page_with_its_title() -> None:
    rows = re.findall(r"^\| \[(\d{4})\]\((.+?)\) \| (.+) \|$", (FOLDER / "README.md").read_text(), re.M)
    titles = [path.read_text().split("\n", 1)[0].removeprefix(f"# {path.name[:4]}. ") for path in PAGES]
    assert rows == [(path.name[:4], path.name, title) for path, title in zip(PAGES, titles, strict=True)]


def test_every_link_to_a_decision_leads_to_a_page() -> None:
    for document in (ROOT / "DESIGN.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        if document.exists():
            for target in re.findall(r"\(([^()\s#]*\d{4}-[a-z0-9-]+\.md)", document.read_text()):
                assert (document.parent / target).is_file(), f"{document.name}: {target}"
