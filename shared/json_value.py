"""The type of any JSON value: a caller's input and a provider's output may be anything.

The type is read-only, so a ``list[str]`` is a value too; values that are read from text hold lists and dicts.
"""

from collections.abc import Mapping, Sequence

from typing_extensions import TypeAliasType

Json = TypeAliasType("Json", "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None")
