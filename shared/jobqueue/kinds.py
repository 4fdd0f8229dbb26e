"""What a script's argument may be in Python, and how it is written for Lua.

The kinds tell most arguments apart: a caller that mixes up two arguments of different kinds gets a TypeError before
anything is sent. A ``?`` behind a kind in a header allows None, which is written as ''.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from shared.frozen import dataclass

Value = str | bool | int | float | timedelta | None | Sequence[str] | Sequence[int] | Mapping[str, str | int | None]

FIRST_MOMENT = 10**12  # ms; September 2001. A smaller number is a count or a duration, and no moment


@dataclass(frozen=True)
class Kind:
    """``fits`` says whether a value is of this kind; ``write`` gives its text, or its texts if it ``is_rest``."""

    name: str
    fits: Callable[[Any], bool]
    write: Callable[[Any], list[str]]
    is_rest: bool = False  # all arguments from its place on


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list(value: object, of: Callable[[Any], bool]) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(of(part) for part in value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_pairs(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and (part is None or isinstance(part, str) or _is_int(part))
        for name, part in value.items()
    )


def _text(value: object) -> list[str]:
    return ["" if value is None else str(value)]


def _in(unit: timedelta) -> Callable[[timedelta], list[str]]:
    return lambda duration: [str(round(duration / unit))]


KINDS = {
    kind.name: kind
    for kind in (
        Kind("name", lambda value: _is_text(value) and value != "", _text),
        Kind("text", _is_text, _text),
        Kind("json", lambda value: _is_text(value) and value[:1] in ("{", "["), _text),
        Kind("flag", lambda value: isinstance(value, bool), lambda value: ["1" if value else "0"]),
        Kind("count", lambda value: _is_int(value) and 0 <= value < FIRST_MOMENT, _text),
        Kind("moment", lambda value: _is_int(value) and value >= FIRST_MOMENT, _text),  # ms since 1970
        Kind("number", _is_int, _text),  # a score or the bound of a range: anything whole
        Kind("fraction", lambda value: isinstance(value, float) and 0 <= value < 1, lambda value: [f"{value:.4f}"]),
        # Both take a timedelta: Lua calculates in ms, and EXPIRE takes seconds.
        Kind("milliseconds", lambda value: isinstance(value, timedelta), _in(timedelta(milliseconds=1))),
        Kind("seconds", lambda value: isinstance(value, timedelta), _in(timedelta(seconds=1))),
        Kind("numbers", lambda value: _is_list(value, _is_int), lambda value: [",".join(map(str, value))]),
        Kind("names...", lambda value: _is_list(value, _is_text), list, is_rest=True),
        Kind(
            "pairs...",
            _is_pairs,
            lambda value: [text for name, part in value.items() for text in (name, *_text(part))],
            is_rest=True,
        ),
    )
}


@dataclass(frozen=True)
class Argument:
    """One argument as a header declares it."""

    name: str
    kind: Kind
    is_optional: bool = False

    def written(self, value: Value) -> list[str]:
        """The value as the script takes it: one text, or many for the last of some scripts.

        Raises TypeError for a value of another kind; its message does not hold the value.
        """
        if value is None and self.is_optional:
            return [""]
        if not self.kind.fits(value):
            raise TypeError(f"{self.name} takes a {self.kind.name}, and this {type(value).__name__} is none")
        return self.kind.write(value)
