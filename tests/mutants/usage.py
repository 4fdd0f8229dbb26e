"""Mutants of the own count of commands."""

from tests.mutants.mutant import Mutant, python

COUNTING = "tests/usage/test_counting.py::test_"
USAGE = "tests/usage/test_usage.py::test_"

MUTANTS: tuple[Mutant, ...] = (
    python(
        "each process counts its first call", "shared/usage/counting.py", "random first", "left = 0",
        f"{COUNTING}a_sample_has_the_bill_on_average_though_each_process_lives_for_one_call",
    ),
    python(
        "a process counts one call of an operation alone", "shared/usage/counting.py", "each so many",
        "self._left[operation] = left - 1", f"{COUNTING}a_sample_of_a_process_that_stays_is_even",
    ),
    python(
        "a command that is no script is counted once, however many it stands for", "shared/usage/counting.py",
        "stands for", "billed = 2",
        f"{COUNTING}a_sample_has_the_bill_on_average_though_each_process_lives_for_one_call",
    ),
    python(
        "a first day of counting is taken for a whole one", "shared/usage/usage.py", "part of a day",
        "whole = [day for day in days if day >= first]",
        f"{USAGE}the_forecast_goes_by_the_last_week[memory-counts2-20001]",
    ),
    python(
        "days without a command leave the week", "shared/usage/usage.py", "empty days",
        "return counted / max(len(by_day), 1)", f"{USAGE}the_forecast_goes_by_the_last_week[memory-counts3-1807]",
    ),
)  # fmt: skip
