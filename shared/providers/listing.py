"""Reads a page of a provider's list while it arrives, and holds no more of it than one member of one entry.

A page describes a hundred predictions, each with an output and logs of any size and depth. None of them may hide the
others. So what is not wanted of an entry passes by unread, and what cannot be read is UNREAD.

    {"next": ..., "results": [{"id": ..., "output": ..., ...}, ...]}
    PAGE                     LIST ENTRY
"""

import re
from collections.abc import Callable, Collection
from enum import Enum

from shared.json_value import Json, read_json
from shared.providers.reading import UNREAD

MAX_MEMBER = 1024 * 1024  # bytes of one member; an input that Sluice submits has at most 64 KB
OF_PAGE = ("next", "results")
# Possessive: no text, however it ends, makes them go back.
TEXT = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
PLAIN = re.compile(rb'[^",:\[\]{}]*+')
FLAT = rb'[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+"'
# What leaves the level as it is, and a run of brackets that change it.
NESTED = re.compile(rb"(?:%b|[\[{](?:%b)*+[\]}])*+" % (FLAT, FLAT), re.DOTALL)
BRACKETS = re.compile(rb"[\[{]++|[\]}]++")


class Place(Enum):
    """Where in a page the next byte is, apart from what is nested in a member."""

    START = 0
    PAGE = 1
    LIST = 2
    ENTRY = 3
    END = 4


class PageReader:
    """Takes the blocks of a page, and hands each entry to ``take``, with its ``wanted`` members only.

    An entry that is no object is UNREAD. ``page`` has the page's own ``next``, if it is there.
    """

    def __init__(self, wanted: Collection[str], take: Callable[[Json], None]) -> None:
        self.page: dict[str, Json] = {}
        self.has_list = False
        self._wanted: dict[Place, Collection[str]] = {Place.PAGE: OF_PAGE, Place.ENTRY: wanted}
        self._take = take
        self._place = Place.START
        self._entry: dict[str, Json] = {}
        self._name: str | None = None  # of the member whose value comes
        self._nested = 0  # levels of that value that are open
        self._in_text = False
        self._piece = bytearray()  # what is kept of this name or value
        self._is_kept, self._is_cut = True, False
        self._rest = b""  # the backslash at the end of a block: the next one says what it means

    @property
    def is_whole(self) -> bool:
        """Whether the page has come to its end."""
        return self._place is Place.END

    def feed(self, block: bytes) -> None:
        """Reads the next block; raises ValueError if this is no page of a list."""
        block, at = self._rest + block, 0
        while at < len(block):
            if self._in_text:
                end = _end(TEXT, block, at)
                self._in_text = block[end : end + 1] != b'"'
                end += not self._in_text
                self._keep(block[at:end])
                if self._in_text:
                    self._rest = block[end:]
                    return
            elif self._nested:
                end = self._inside(block, at)
            else:
                end = _end(PLAIN, block, at)
                self._keep(block[at:end])
                self._meet(block[end : end + 1])
                end += 1
            at = end
        self._rest = b""

    def _inside(self, block: bytes, at: int) -> int:
        """Reads on in a nested value, and returns where it ends, or where a text begins, or the block's end."""
        while self._nested and at < len(block) and not self._in_text:
            end = _end(NESTED, block, at)
            brackets = BRACKETS.match(block, end)
            if brackets is None:
                self._in_text = end < len(block)
                end += self._in_text
            elif brackets.group()[0] in b"[{":
                end = brackets.end()
                self._nested += end - brackets.start()
            else:
                end = min(brackets.end(), end + self._nested)
                self._nested -= end - brackets.start()
            self._keep(block[at:end])
            at = end
        return at

    def _keep(self, part: bytes) -> None:
        if self._is_kept and not self._is_cut:
            self._piece += part
            self._is_cut = len(self._piece) > MAX_MEMBER  # mutant: large member

    def _meet(self, char: bytes) -> None:
        """Goes on at a character that is outside of texts; an empty one is the end of the block."""
        if char == b'"':
            self._in_text = True
            self._keep(char)
        elif char in (b"[", b"{"):
            self._open(char)
        elif char in (b"]", b"}"):
            self._close(char)
        elif char == b":":
            if self._place not in self._wanted:
                raise ValueError("no page")
            self._name = str(self._value())
            self._is_kept = self._name in self._wanted[self._place]
        elif char == b",":
            self._end_value()

    def _open(self, char: bytes) -> None:
        match self._place, char:
            case Place.START, b"{":
                self._place = Place.PAGE
            case Place.PAGE, b"[" if self._name == "results":
                self._place, self.has_list = Place.LIST, True
            case Place.LIST, b"{":
                self._place, self._entry = Place.ENTRY, {}
            case ((Place.START | Place.END), _):
                raise ValueError("no page")
            case _:
                self._nested += 1
                self._keep(char)

    def _close(self, char: bytes) -> None:
        self._end_value()
        match self._place, char:
            case Place.ENTRY, b"}":
                self._place = Place.LIST
                self._take(self._entry)
            case Place.LIST, b"]":
                self._place = Place.PAGE
            case Place.PAGE, b"}":
                self._place = Place.END
            case _:
                raise ValueError("no page")

    def _end_value(self) -> None:
        """Notes the value that ends here."""
        is_wanted, is_there = self._is_kept, bool(self._piece.strip())
        value = self._value()
        if self._place is Place.LIST:
            if is_there:
                self._take(UNREAD)
        elif self._name is not None and is_wanted and is_there:
            (self._entry if self._place is Place.ENTRY else self.page)[self._name] = value
        self._name = None

    def _value(self) -> Json:
        """Returns the value of the piece, and begins another one."""
        piece, is_cut = bytes(self._piece), self._is_cut
        self._piece.clear()
        self._is_kept, self._is_cut = True, False
        try:
            return UNREAD if is_cut else read_json(piece)
        except ValueError:
            return UNREAD  # mutant: unread member


def _end(pattern: re.Pattern[bytes], block: bytes, at: int) -> int:
    found = pattern.match(block, at)
    return found.end() if found else at
