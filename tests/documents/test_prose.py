"""The documents' sentences are short, by a definition of a sentence that is tested too."""

from pathlib import Path

import pytest

from tests.documents.prose import read
from tests.project import ROOT

NAMES = ("README.md", "DESIGN.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
DOCUMENTS = [*(ROOT / name for name in NAMES), *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_sentences_of_a_document_are_short(path: Path) -> None:
    prose = read(path.read_text())
    assert prose.is_plain, f"median {prose.median}, ninetieth percentile {prose.ninetieth}: {prose.longest(5)}"


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("One two three. Four five.\n", [2, 3]),
        ("It needs Python 3.11 or newer, e.g. this one.\n", [9]),
        ("A line that\ngoes on here.\n", [6]),
        ("# A heading\n\nOne two.\n", [2]),
        ("* One two.\n* Three\n  four five.\n1. Six.\n", [1, 2, 3]),
        ("One `a b. C d` two.\n\n```console\n$ make demo. Not this.\n```\n", [3]),
        ("A picture:\n\n    one two three\n\nAfter it.\n", [2, 2]),
        ("[One two](https://example.com/a/b/c) three.\n", [3]),
        ("| name | meaning |\n|---|---|\n| `x` | two words |\n", []),
        ("| `x` | This cell has a sentence of more than eight words. |\n", [10]),
        ("**Bold.** Then three words.\n", [1, 3]),
    ],
)
def test_what_counts_as_a_sentence(text: str, lengths: list[int]) -> None:
    assert read(text).lengths == lengths


def test_the_ninetieth_percentile_is_the_length_that_nine_in_ten_do_not_exceed() -> None:
    prose = read("\n\n".join("word " * length for length in range(1, 21)))
    assert (prose.median, prose.ninetieth) == (10.5, 18)
    assert not read("\n\n".join(["word " * 10] * 8 + ["word " * 26] * 2)).is_plain
    assert not read("word " * 14).is_plain
