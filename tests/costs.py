"""The cost of each operation by DESIGN.md's table; tests compare it with counts at the REST server."""

import re

from tests.project import ROOT

DESIGN = ROOT / "DESIGN.md"
ROW = re.compile(r"^\| ([^|]+?) \| (\d+) \| (\d+) \|", re.M)


def budget_table() -> dict[str, tuple[int, int]]:
    """The table under DESIGN.md's heading "What an operation costs": operation -> HTTP calls, billed commands."""
    section = DESIGN.read_text().split("## What an operation costs", 1)[1].split("\n## ", 1)[0]
    return {name: (int(calls), int(commands)) for name, calls, commands in ROW.findall(section)}


COSTS = budget_table() if DESIGN.exists() else {}
