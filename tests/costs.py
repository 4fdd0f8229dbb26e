"""What each operation may cost, as DESIGN.md's table says; tests count the rest at the REST server."""

import re

from tests.project import ROOT

DESIGN = ROOT / "DESIGN.md"
ROW = re.compile(r"^\| ([^|]+?) \| (\d+) \| (\d+) \|", re.M)


def budget_table() -> dict[str, tuple[int, int]]:
    """The table under DESIGN.md's heading "What an operation costs": operation -> HTTP calls, billed commands."""
    section = DESIGN.read_text().split("## What an operation costs", 1)[1].split("\n## ", 1)[0]
    return {name: (int(calls), int(commands)) for name, calls, commands in ROW.findall(section)}


COSTS = budget_table() if DESIGN.exists() else {}
