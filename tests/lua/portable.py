"""Finds in a script what stock Redis' Lua and gopher-lua, which Upstash seems to run, read differently.

Only what the text shows. strict.py finds the rest while scripts run.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from shared.jobqueue.lua import without_comments

_STRING = re.compile(r"'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"")


@dataclass(frozen=True)
class Rule:
    """A pattern of the code; ``in_code`` alone, where each text is empty."""

    pattern: re.Pattern[str]
    reason: str
    in_code: bool = False


RULES = (
    Rule(re.compile(r"%q"), "%q writes control characters differently"),
    Rule(
        re.compile(r"string\.format\((?!'%\.0f', )"), "string.format has one portable form, '%.0f' of a number: text(n)"
    ),
    Rule(re.compile(r"\btostring\("), "tostring shows numbers with 14 digits, or with all: text(n)"),
    Rule(re.compile(r"""['"]-?\d+[eE][-+]?\d+['"]"""), "tonumber of an exponent without a dot is nil in gopher-lua"),
    Rule(re.compile(r"""['"][-+]?(inf|nan)['"]\s*\)"""), "tonumber of inf or nan is nil in gopher-lua"),
    Rule(
        re.compile(r"''\s*[-+*/%^]|[-+*/%^]\s*''"),
        "arithmetic on text reads '010' as 8 in gopher-lua: tonumber first",
        in_code=True,
    ),
)
# They are bounds of a ZSET's range, and no number of the script.
RANGES = re.compile(r"redis\.call\('(?:ZRANGEBYSCORE|ZREVRANGEBYSCORE|ZREMRANGEBYSCORE|ZCOUNT)'.*")


def faults_in(source: str) -> list[str]:
    """Returns a line for each rule that a line of the source breaks."""
    found = []
    for number, line in enumerate(source.splitlines(), 1):
        code = RANGES.sub("", without_comments(line))
        bare = _STRING.sub("''", code)
        found += [f"{number}: {rule.reason}" for rule in RULES if rule.pattern.search(bare if rule.in_code else code)]
    return found


def faults_of(paths: list[Path]) -> list[str]:
    """Returns a line for each fault of these scripts."""
    return [f"{path.name}:{fault}" for path in paths for fault in faults_in(path.read_text(encoding="utf-8"))]
