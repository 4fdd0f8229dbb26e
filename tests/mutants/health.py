"""Mutants of what health answers."""

from tests.mutants.mutant import Mutant, lua, python

MUTANTS: tuple[Mutant, ...] = (
    lua(
        "health takes a job behind an open circuit for one that could start", "startable",
        "could start", "",
        "tests/http/test_health.py::test_open_circuits_are_counted_and_their_jobs_could_not_start[memory]",
    ),
    python(
        "health is ok whatever is wrong", "shared/jobs/health.py",
        "degraded", '"ok"', "tests/http/test_health.py::test_a_paused_provider_is_named_until_it_takes_a_job[valkey]",
        part='"degraded" if degraded_by else "ok"',
    ),
)  # fmt: skip
