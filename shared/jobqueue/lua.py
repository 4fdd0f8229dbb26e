"""Lua source as text: without comments, and with names in the place of numbers."""

import re
from collections.abc import Callable

# Strings and comments come first, so that nothing inside them is taken for code.
_TOKEN = re.compile(
    r"""(?P<comment>--(?:\[\[.*?\]\]|[^\n]*))
      | (?P<string>'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|\[\[.*?\]\])
      | (?<![\w.:])(?P<table>arg|key|rest)\.(?P<name>[A-Za-z_]\w*)""",
    re.X | re.S,
)


def without_comments(source: str) -> str:
    """The code alone, without empty lines and indentation."""
    code = _TOKEN.sub(lambda token: "" if token["comment"] else token[0], source)
    return "".join(f"{line.strip()}\n" for line in code.split("\n") if line.strip())


def with_names_replaced(source: str, replacement: Callable[[str, str], str]) -> str:
    """The source with ``replacement("arg", "now")`` for ``arg.now``, and so for ``key`` and ``rest``."""
    return _TOKEN.sub(lambda token: replacement(token["table"], token["name"]) if token["table"] else token[0], source)
