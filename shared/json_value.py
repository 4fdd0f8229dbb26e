"""JSON as Python holds it: for what a caller's input and a provider's output may be, which is anything.

Read-only by its type, so that a ``list[str]`` is one, too; what is read from text holds lists and dicts.
"""

from collections.abc import Mapping, Sequence

from typing_extensions import TypeAliasType

Json = TypeAliasType("Json", "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None")
