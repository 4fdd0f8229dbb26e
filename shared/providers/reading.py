"""Reads a provider's answer, also one that cannot be read as a whole.

An answer may hold more bytes than are read, values nested too deep, or numbers too long. Its other members still say
which prediction it is about, and whether that has ended. So an answer that is refused is taken apart: each member is
read by itself, and what cannot be read is UNREAD.
"""

import re
from collections.abc import Iterator

from shared.json_value import Json, read_json

MAX_ANSWER = 10 * 1024 * 1024  # bytes that are read; a job's output may have 4 MB
MAX_APART = 1024 * 1024  # bytes that are taken apart, which takes much longer than reading


class Unread(str):
    """The value of a member that cannot be read. It is an empty text, so it passes for a member that says nothing."""


UNREAD = Unread()
INTO = ("data",)  # WaveSpeed's envelope holds the prediction, which is taken apart too
LEVELS = 2  # an envelope, its prediction
# Members that a cut object may have behind its end. A cut list ends with UNREAD.
ESSENTIAL = ("status", "output", "outputs")
SPACE = re.compile(rb"[ \t\r\n]*+")
# Possessive: no text, however it ends, makes them go back.
STRING = re.compile(rb'"(?:[^"\\]++|\\.?)*+(?P<end>"|\Z)', re.DOTALL)
WORD = re.compile(rb"[^\s,\[\]{}\"]++")
INSIDE = re.compile(rb'"(?:[^"\\]++|\\.?)*+(?:"|\Z)|[\[{]++|[\]}]', re.DOTALL)
OBJECT_END = ord("}")
PAIRS = {ord("["): ord("]"), ord("{"): OBJECT_END}


def read_answer(body: bytes, *, is_cut: bool = False, levels: int = LEVELS) -> Json:
    """Returns the JSON document with UNREAD for what cannot be read; takes apart what it must, ``levels`` deep.

    Raises ValueError for a body that is no JSON object or list, or that ends too early without being cut.
    """
    if not is_cut:
        try:
            return read_json(body)
        except ValueError:
            is_cut = len(body) > MAX_APART
    return _apart(body[:MAX_APART], is_cut, levels - 1)


def _apart(body: bytes, is_cut: bool, levels: int) -> Json:
    opener = body[_behind_space(body, 0) :][:1]
    if opener == b"[":
        values = [_value(part, is_whole, levels) for _, part, is_whole in _parts(body, is_cut)]
        return [*values, UNREAD] if is_cut else values
    if opener != b"{":
        raise ValueError("no JSON object")
    members: dict[str, Json] = dict.fromkeys(ESSENTIAL, UNREAD) if is_cut else {}
    for name, part, is_whole in _parts(body, is_cut):
        members[name] = _value(part, is_whole, levels if name in INTO else 0)
    return members


def _value(part: bytes, is_whole: bool, levels: int) -> Json:
    try:
        if levels:
            return read_answer(part, is_cut=not is_whole, levels=levels)
        return read_json(part) if is_whole else UNREAD
    except ValueError:
        return UNREAD


def _parts(body: bytes, is_cut: bool) -> Iterator[tuple[str, bytes, bool]]:
    """Yields each member of an object or list with its name, its bytes, and whether these are all of its bytes.

    Only the last member of a cut body may not be whole.
    """
    at = _behind_space(body, 0)
    closer = PAIRS[body[at]]
    at = _behind_space(body, at + 1)
    while at < len(body) and body[at] != closer:
        name, at = _name(body, at) if closer == OBJECT_END else ("", at)
        if at == len(body):
            break
        end = _end_of(body, at)
        yield name, body[at:end], end is not None
        at = _behind_space(body, len(body) if end is None else end)
        if body[at : at + 1] == b",":
            at = _behind_space(body, at + 1)
        elif at < len(body) and body[at] != closer:
            raise ValueError("no JSON")
    if at == len(body) and not is_cut:
        raise ValueError("the document ends too early")


def _name(body: bytes, at: int) -> tuple[str, int]:
    """Returns the name of a member, and where its value begins; that is the body's end if the name is cut."""
    found = STRING.match(body, at)
    if found is None:
        raise ValueError("no JSON object")
    colon = _behind_space(body, found.end())
    if colon == len(body):
        return "", colon
    if body[colon] != ord(":"):
        raise ValueError("no JSON object")
    return str(read_json(found.group())), _behind_space(body, colon + 1)


def _behind_space(body: bytes, at: int) -> int:
    found = SPACE.match(body, at)
    return found.end() if found else at


def _end_of(body: bytes, at: int) -> int | None:
    """Returns where the value that begins here ends; None if it does not."""
    if text := STRING.match(body, at):
        return text.end() if text["end"] else None
    if word := WORD.match(body, at):
        return word.end() if word.end() < len(body) else None
    depth = 0
    for token in INSIDE.finditer(body, at):
        first = body[token.start()]
        if first != ord('"'):
            depth += token.end() - token.start() if first in b"[{" else -1
        if depth <= 0:
            return token.end()
    return None
