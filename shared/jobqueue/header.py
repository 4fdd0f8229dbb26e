"""What the head of a script says: its promise, the libraries it needs, its keys and arguments, its answers.

    -- verb: what it does.
    -- With: library, library
    -- KEYS: name, name
    -- ARGV: name: kind, name: kind?, name: kind...
    -- Returns: {word, name} | {word}

A list goes on in the next line behind seven spaces. Lines between and behind these are prose.
"""

import re
from dataclasses import dataclass

from shared.jobqueue.kinds import KINDS, Argument

ARGUMENT = re.compile(r"([a-z_]+): ([a-z]+(?:\.\.\.)?)(\??)")
CONTINUED = "--       "


class InvalidHeader(ValueError):
    """The head of a script does not have the form that the loader reads."""


@dataclass(frozen=True)
class Header:
    """The order of ``keys`` and ``arguments`` is the order in which they are sent."""

    promise: str
    libraries: tuple[str, ...]
    keys: tuple[str, ...]
    arguments: tuple[Argument, ...]

    @classmethod
    def of(cls, verb: str, source: str) -> "Header":
        """Reads the head of a verb's source. Raises InvalidHeader."""
        lines = source.split("\n")
        if not lines[0].startswith(f"-- {verb}: "):
            raise InvalidHeader(f"{verb}.lua does not begin with its verb and its promise")
        keys = _listed(lines, "KEYS")
        arguments = tuple(_argument(verb, said) for said in _listed(lines, "ARGV"))
        names = [*keys, *(argument.name for argument in arguments)]
        if len(names) != len(set(names)):
            raise InvalidHeader(f"{verb}.lua names something twice")
        if any(argument.kind.is_rest for argument in arguments[:-1]):
            raise InvalidHeader(f"{verb}.lua has arguments behind a list of any length")
        return cls(lines[0].removeprefix(f"-- {verb}: "), _listed(lines, "With"), keys, arguments)


def _listed(lines: list[str], title: str) -> tuple[str, ...]:
    """What a line of the head lists; empty if the line is missing."""
    said: list[str] = []
    for line in lines:
        if line.startswith(f"-- {title}:"):
            said.append(line.removeprefix(f"-- {title}:"))
        elif said and line.startswith(CONTINUED):
            said.append(line.removeprefix("--"))
        elif said:
            break
    return tuple(part.strip() for part in " ".join(said).split(",")) if said else ()


def _argument(verb: str, said: str) -> Argument:
    match = ARGUMENT.fullmatch(said)
    if not match or match[2] not in KINDS:
        raise InvalidHeader(f"{verb}.lua: {said!r} is no argument with a known kind")
    return Argument(match[1], KINDS[match[2]], is_optional=bool(match[3]))
