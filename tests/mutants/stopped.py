"""Mutants of what is done about a script that stopped half-way; tests/faults/breakages.py has more."""

from tests.mutants.mutant import lua

MUTANTS = (
    lua(
        "a job that is over but still in the index is started", "claim",
        "over", "elseif false then",
        "tests/queue/test_stopped_scripts.py::test_a_ready_job_that_is_over_is_not_started_and_leaves_the_index[memory]",
    ),
)  # fmt: skip
