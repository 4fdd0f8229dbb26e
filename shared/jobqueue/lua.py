"""Lua source as text: without comments, with numbers for names, and without the functions that nothing uses.

This is no parser. It relies on the form that the scripts have: a statement at the top level begins at the left margin,
and its other lines are indented, or close a block. No string and no comment spans lines.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

# Strings come first, so that nothing inside them is taken for code.
_STRING = r"""'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*\""""
_COMMENT = re.compile(rf"({_STRING})|--.*")
_PLACE = re.compile(rf"(?:{_STRING})|(?<![\w.:])(arg|key|rest)\.([A-Za-z_]\w*)")
_WORD = re.compile(rf"(?:{_STRING})|(?<![\w.:])([A-Za-z_]\w*)")
_STATEMENT = re.compile(r"^(?=(?!end\b)[A-Za-z_])", re.M)
_DEFINED = re.compile(r"local function (?P<function>\w+)|(?:local )?(?P<names>\w+(?:, \w+)*)")


@dataclass(frozen=True)
class Statement:
    """A statement of a library: its text, the names that it defines, and all names in it."""

    text: str
    defines: frozenset[str]
    uses: frozenset[str]


def without_comments(source: str) -> str:
    """The code alone, without empty lines; still indented."""
    code = []
    for line in source.split("\n"):
        text = _COMMENT.sub(r"\1", line).rstrip() if "--" in line else line
        if text.strip():
            code.append(f"{text}\n")
    return "".join(code)


def without_indentation(code: str) -> str:
    """The code as it is sent."""
    return "".join(f"{line.lstrip()}\n" for line in code.splitlines())


def with_names_replaced(source: str, replacement: Callable[[str, str], str]) -> str:
    """The source with ``replacement("arg", "now")`` for ``arg.now``, and so for ``key`` and ``rest``."""
    return _PLACE.sub(lambda found: replacement(found[1], found[2]) if found[1] else found[0], source)


def statements(code: str) -> list[Statement]:
    """The statements of a library at its top level, in order. ``code`` holds no comments."""
    found = []
    for text in filter(None, _STATEMENT.split(code)):
        defined = _DEFINED.match(text)
        names = (defined["function"] or defined["names"]).split(", ") if defined else []
        found.append(Statement(text, frozenset(names), words(text)))
    return found


def words(code: str) -> frozenset[str]:
    """All names in the code, without those of fields."""
    return frozenset(_WORD.findall(code))


def needed(library: Sequence[Statement], used: Iterable[str]) -> list[Statement]:
    """The statements that define what is used, and what these use themselves, in the library's order."""
    definers: dict[str, list[int]] = {}
    for number, one in enumerate(library):
        for name in one.defines:
            definers.setdefault(name, []).append(number)
    taken: set[int] = set()
    wanted = list(used)
    while wanted:
        for number in definers.pop(wanted.pop(), ()):
            taken.add(number)
            wanted += library[number].uses
    return [library[number] for number in sorted(taken)]
