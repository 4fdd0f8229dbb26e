"""What the head of a script says: its promise, the libraries it needs, its keys and arguments, its answers.

    -- verb: what it does.
    -- With: library, library
    -- Calls: verb
    -- KEYS: name, name
    -- ARGV: name: kind, name: kind?, name: kind...
    -- Returns: {word, name: kind} | {word}
    --   rows: {name: kind, name: kind?}

An answer of one form needs no word: ``{name: kind, name: rows}``, or ``name: kind`` if it is no list. answers.py has
the kinds of answers. A list goes on in the next line behind seven spaces. Lines between and behind these are prose.
"""

import re
from collections.abc import Mapping

from shared.frozen import dataclass
from shared.jobqueue.kinds import KINDS, Argument

ARGUMENT = re.compile(r"([a-z_0-9]+): ([a-z]+(?:\.\.\.)?)(\??)")
ROWS = re.compile(r"--   ([a-z]+):(?= \{)")
CONTINUED = "--       "


@dataclass(frozen=True)
class Part:
    """One value of an answer."""

    name: str
    kind: str
    is_optional: bool = False


@dataclass(frozen=True)
class Form:
    """One form of an answer: its first word, '' without one, and what follows. If it ``is_bare``, its part is all."""

    word: str
    parts: tuple[Part, ...]
    is_bare: bool = False


class InvalidHeader(ValueError):
    """The head of a script does not have the form that the loader reads."""


@dataclass(frozen=True)
class Header:
    """The order of ``keys`` and ``arguments`` is the order in which they are sent."""

    promise: str
    libraries: tuple[str, ...]
    calls: tuple[str, ...]
    keys: tuple[str, ...]
    arguments: tuple[Argument, ...]
    returns: Mapping[str, Form]  # by word
    rows: Mapping[str, Form]

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
        rows = {match[1]: _form(verb, _said(lines, match[0])) for line in lines if (match := ROWS.match(line))}
        promise, libraries, calls = (
            lines[0].removeprefix(f"-- {verb}: "),
            _listed(lines, "With"),
            _listed(lines, "Calls"),
        )
        return cls(promise, libraries, calls, keys, arguments, _forms(verb, _said(lines, "-- Returns:")), rows)


def _said(lines: list[str], beginning: str) -> str:
    """What follows the beginning of a line, with the lines that continue it; '' without such a line."""
    said: list[str] = []
    for line in lines:
        if line.startswith(beginning):
            said.append(line.removeprefix(beginning))
        elif said and line.startswith(CONTINUED):
            said.append(line.removeprefix("--"))
        elif said:
            break
    return " ".join(part.strip() for part in said)


def _listed(lines: list[str], title: str) -> tuple[str, ...]:
    said = _said(lines, f"-- {title}:")
    return tuple(part.strip() for part in said.split(",")) if said else ()


def _forms(verb: str, said: str) -> Mapping[str, Form]:
    """The forms of an answer by their words. Only one that is the only one may lack a word."""
    if "{" not in said:
        return {"": Form("", (_part(verb, said),), is_bare=True)}
    forms = [_form(verb, form.strip()) for form in said.split("|")]
    by_word = {form.word: form for form in forms}
    if len(by_word) < len(forms) or (len(forms) > 1 and "" in by_word):
        raise InvalidHeader(f"{verb}.lua returns forms that no word distinguishes")
    return by_word


def _form(verb: str, said: str) -> Form:
    if not (said.startswith("{") and said.endswith("}")):
        raise InvalidHeader(f"{verb}.lua: {said!r} is no form of an answer")
    first, *others = [part.strip() for part in said[1:-1].split(",")]
    if ":" in first:
        return Form("", tuple(_part(verb, part) for part in (first, *others)))
    return Form(first, tuple(_part(verb, part) for part in others))


def _part(verb: str, said: str) -> Part:
    match = ARGUMENT.fullmatch(said)
    if not match:
        raise InvalidHeader(f"{verb}.lua: {said!r} is no part of an answer")
    return Part(match[1], match[2], is_optional=bool(match[3]))


def _argument(verb: str, said: str) -> Argument:
    match = ARGUMENT.fullmatch(said)
    if not match or match[2] not in KINDS:
        raise InvalidHeader(f"{verb}.lua: {said!r} is no argument with a known kind")
    return Argument(match[1], KINDS[match[2]], is_optional=bool(match[3]))
