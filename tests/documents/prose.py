"""Counts how long the sentences of a document are.

    python -m tests.documents.prose README.md docs/*.md              median and ninetieth percentile of each file
    python -m tests.documents.prose --longest 10 DESIGN.md           and its ten longest sentences

What counts: paragraphs, items of lists, and cells of tables with at least ``MIN_CELL`` words. Code blocks, headings and
diagrams do not. A span of code is one word, a link counts by its text.
"""

import argparse
import math
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_MEDIAN = 13
MAX_NINETIETH = 25
# A shorter cell is a value or a name; counted as a sentence it would only lower the median.
MIN_CELL = 8

FENCE = re.compile(r"^ *(```|~~~).*?^ *\1[ \t]*$", re.M | re.S)
COMMENT = re.compile(r"<!--.*?-->", re.S)
INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?: {4,}(?![-*] |\d+\. ).*\n(?:\n(?= {4}))?)+")
LINK = re.compile(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])")
SPAN = re.compile(r"(`+).+?\1", re.S)
ITEM = re.compile(r"^\s*(?:[-*+]|\d+\.)\s+")
RULE = re.compile(r"^[|:\-\s]+$")
# A sentence ends before a capital, a number, code or a quotation; "e.g. this" and "3.11" do not end one.
END = re.compile(r"(?<=[.!?])[\"')*_]*\s+(?=[\"'(*_\[]*[A-Z0-9\u25a0])")
WORD = re.compile(r"[^\W_]+(?:[\u2019'.,/:-][^\W_]+)*|\u25a0")


@dataclass(frozen=True)
class Prose:
    """The sentences of one document, each with its number of words."""

    sentences: list[tuple[int, str]]

    @property
    def lengths(self) -> list[int]:
        return sorted(length for length, _ in self.sentences)

    @property
    def median(self) -> float:
        return statistics.median(self.lengths) if self.sentences else 0

    @property
    def ninetieth(self) -> int:
        """The length that nine in ten sentences do not exceed."""
        return self.lengths[math.ceil(0.9 * len(self.lengths)) - 1] if self.sentences else 0

    @property
    def is_plain(self) -> bool:
        return self.median <= MAX_MEDIAN and self.ninetieth <= MAX_NINETIETH

    def longest(self, count: int) -> list[tuple[int, str]]:
        return sorted(self.sentences, reverse=True)[:count]


def read(text: str) -> Prose:
    """The prose of a Markdown document."""
    found = []
    for block in blocks(text):
        for sentence in END.split(block):
            length = len(WORD.findall(sentence))
            if length:
                found.append((length, sentence))
    return Prose(found)


def blocks(text: str) -> Iterator[str]:
    """Each paragraph, list item and long enough table cell, on one line, with code as one mark."""
    for lines in re.split(r"\n\s*\n", stripped(text)):
        paragraph: list[str] = []
        for line in lines.splitlines():
            starts_anew = ITEM.match(line) or line.lstrip().startswith(("|", "#"))
            if starts_anew and paragraph:
                yield " ".join(paragraph)
                paragraph = []
            if line.startswith("#") or RULE.match(line):
                continue
            if line.lstrip().startswith("|"):
                yield from (cell for cell in cells(line) if len(WORD.findall(cell)) >= MIN_CELL)
            else:
                paragraph.append(ITEM.sub("", line).strip("> "))
        if paragraph:
            yield " ".join(paragraph)


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def stripped(text: str) -> str:
    """The text without code blocks, comments and addresses; a span of code becomes one mark."""
    for what in (FENCE, COMMENT, INDENTED):
        text = what.sub("\n", text)
    return LINK.sub(r"\1", SPAN.sub("\u25a0", text))


def main() -> None:
    parser = argparse.ArgumentParser(description="Sentence lengths: median and ninetieth percentile of each file.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--longest", type=int, default=0, metavar="N", help="also print the N longest sentences")
    options = parser.parse_args()
    print(f"{'file':<40} {'sentences':>9} {'median':>7} {'90 %':>5}   at most {MAX_MEDIAN} and {MAX_NINETIETH}")
    for path in options.files:
        prose = read(path.read_text())
        mark = "" if prose.is_plain else "too long"
        print(f"{path!s:<40} {len(prose.sentences):>9} {prose.median:>7g} {prose.ninetieth:>5}   {mark}".rstrip())
        for length, sentence in prose.longest(options.longest):
            print(f"    {length:>3}  {sentence}")


if __name__ == "__main__":
    main()
