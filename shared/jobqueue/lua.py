"""Lua source as text: without comments, with numbers for names, and without the functions that nothing uses.

This is no parser. It relies on the form that the scripts have: a statement at the top level begins at the left margin,
and its other lines are indented, or close a block.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

# Strings and comments come first, so that nothing inside them is taken for code.
_TOKEN = re.compile(
    r"""(?P<comment>--(?:\[\[.*?\]\]|[^\n]*))
      | (?P<string>'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|\[\[.*?\]\])
      | (?<![\w.:])(?:(?P<table>arg|key|rest)\.(?P<name>[A-Za-z_]\w*)|(?P<word>[A-Za-z_]\w*))""",
    re.X | re.S,
)
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
    code = _TOKEN.sub(lambda token: "" if token["comment"] else token[0], source)
    return "".join(f"{line.rstrip()}\n" for line in code.split("\n") if line.strip())


def without_indentation(code: str) -> str:
    """The code as it is sent. No string of ours spans lines."""
    return "".join(f"{line.lstrip()}\n" for line in code.splitlines())


def with_names_replaced(source: str, replacement: Callable[[str, str], str]) -> str:
    """The source with ``replacement("arg", "now")`` for ``arg.now``, and so for ``key`` and ``rest``."""
    return _TOKEN.sub(lambda token: replacement(token["table"], token["name"]) if token["table"] else token[0], source)


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
    return frozenset(token["word"] for token in _TOKEN.finditer(code) if token["word"])


def needed(library: Sequence[Statement], used: Iterable[str]) -> list[Statement]:
    """The statements that define what is used, and what these use themselves, in the library's order."""
    taken: set[Statement] = set()
    wanted = set(used)
    while more := [one for one in library if one not in taken and one.defines & wanted]:
        taken.update(more)
        wanted.update(*(one.uses for one in more))
    return [one for one in library if one in taken]
