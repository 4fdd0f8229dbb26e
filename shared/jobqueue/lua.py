"""Lua source as text: without comments, with numbers for names, and without the functions that nothing uses.

This is no parser. It relies on the form that the scripts have: a statement at the top level begins at the left margin,
and its other lines are indented, or close a block. No string and no comment spans lines.
"""

import functools
import re
from collections.abc import Callable, Iterable, Sequence

from shared.frozen import dataclass

# A script is loaded at its first use in a process, which is part of a cold start. So the patterns begin with a set of
# characters, by which the engine of re skips all others; a look-behind in front would make it try each position.
_STRING = r"""'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*\""""
_STRINGS = re.compile(_STRING)
_STRINGS_KEPT = re.compile(f"({_STRING})")
_COMMENT = re.compile(rf"({_STRING})|--.*")
_PLACE = re.compile(r"(arg|key|rest)\.([A-Za-z_]\w*)")
_NAME = re.compile(r"([A-Za-z_]\w*)(?:[.:]\w+)*")
_STATEMENT = re.compile(r"^(?=(?!end\b)[A-Za-z_])", re.M)
_DEFINED = re.compile(r"local function (?P<function>\w+)|(?:local )?(?P<names>\w+(?:, \w+)*)")


@dataclass(frozen=True)
class Statement:
    """A statement of a library: its text, and the names that it defines."""

    text: str
    defines: tuple[str, ...]

    @functools.cached_property
    def uses(self) -> frozenset[str]:
        """All names in it; looked for only where the statement is needed."""
        return words(self.text)


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

    def replaced(found: re.Match[str]) -> str:
        before = found.string[found.start() - 1 : found.start()]
        is_field = before in (".", ":") or before.isalnum() or before == "_"
        return found[0] if is_field else replacement(found[1], found[2])

    parts = _STRINGS_KEPT.split(source)
    parts[::2] = [_PLACE.sub(replaced, part) for part in parts[::2]]
    return "".join(parts)


def statements(code: str) -> list[Statement]:
    """The statements of a library at its top level, in order. ``code`` holds no comments."""
    found = []
    for text in filter(None, _STATEMENT.split(code)):
        defined = _DEFINED.match(text)
        names = (defined["function"] or defined["names"]).split(", ") if defined else []
        found.append(Statement(text, tuple(names)))
    return found


def words(code: str) -> frozenset[str]:
    """All names in the code, without those of fields."""
    return frozenset(_NAME.findall(_STRINGS.sub("''", code)))


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
