"""Mutants of the log, of reports and of traces."""

from tests.mutants.mutant import Mutant, python

REASONS = "tests/http/test_reasons.py::test_"

MUTANTS: tuple[Mutant, ...] = (
    python(
        "a flood of refusals floods the log",
        "shared/log.py",
        "bounded repeats",
        "if False:",
        f"{REASONS}a_flood_of_refusals_is_one_line_in_ten_seconds_with_their_count",
    ),
    python(
        "a process remembers any number of kinds of lines",
        "shared/log.py",
        "bounded kinds",
        "if False:",
        f"{REASONS}a_kind_is_written_anew_after_a_while_and_the_kinds_are_bounded",
    ),
)
