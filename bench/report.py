"""Prints measurements: first the ratios, then the versions they hold for."""

import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a Markdown table with aligned columns."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for number, line in enumerate(lines):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def print_versions(packages: Iterable[str]) -> None:
    """Prints the versions of the interpreter and of the packages that the numbers depend on."""
    print(f"Python {platform.python_version()}; " + ", ".join(f"{name} {version(name)}" for name in packages))


def verdict(ratio: float, target: float | None) -> str:
    """Returns a cell that says whether the ratio meets its target."""
    if target is None:
        return ""
    return f"at most {target:g}: {'met' if ratio <= target else 'MISSED'}"
