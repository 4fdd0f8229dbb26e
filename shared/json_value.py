"""The type of any JSON value, and its reader: a caller's input and a provider's output may be anything.

The type is read-only, so a ``list[str]`` is a value too; values that are read from text hold lists and dicts.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence

from typing_extensions import TypeAliasType

Json = TypeAliasType("Json", "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None")

# Levels of a value. Python's reader and writer give up at a depth that differs by version and by their callers, so a
# value that one function has read may be one that another cannot write.
MAX_DEPTH = 100


def read_json(text: str | bytes) -> Json:
    """Returns the JSON document; raises ValueError for one that is nested deeper than MAX_DEPTH, and for no JSON.

    NaN and infinities become null, because JSON cannot hold them.
    """
    try:
        # Not strict: a line break inside a text is no reason to lose the text.
        document: Json = json.loads(text, parse_constant=lambda _: None, parse_float=_finite, strict=False)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if _brackets(text) > MAX_DEPTH and _is_deep(document):
        raise ValueError("nested too deep")
    return document


def read_object(text: str) -> dict[str, Json]:
    """Returns the JSON object; raises ValueError as ``read_json`` does, and for any other value."""
    document = read_json(text)
    if not isinstance(document, dict):
        raise ValueError("no JSON object")
    return document


def _brackets(text: str | bytes) -> int:
    """Returns how many lists and objects the text can have at most, which few texts have more of than levels."""
    return text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")


def _is_deep(document: Json) -> bool:
    level: list[Json] = [document]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for value in level
            if isinstance(value, dict | list)
            for child in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return False
    return True


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def likeness(document: Json) -> str:
    """Returns a digest that is the same for every spelling of the same value; '' for one that is nested too deep.

    The order of members does not matter, nor whether a whole number is written as 1 or 1.0.
    """
    try:
        canonical = json.dumps(_plain(document), sort_keys=True, separators=(",", ":"))
    except RecursionError:
        return ""
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _plain(value: Json) -> Json:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return value
