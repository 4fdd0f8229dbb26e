"""Mutants of what a credential allows."""

from tests.mutants.mutant import Mutant, python

CALLER = "tests/access/test_caller.py::test_"

MUTANTS: tuple[Mutant, ...] = (
    python("no scope is needed", "shared/access/caller.py", "scope", "if False:", f"{CALLER}a_missing_scope_is_named"),
    python(
        "a token of one job lists jobs", "shared/access/caller.py", "only one", "if False:",
        f"{CALLER}a_token_of_one_job_reaches_that_job_alone",
    ),
    python(
        "a token of one job reads others", "shared/access/caller.py", "only job", "if False:",
        f"{CALLER}a_token_of_one_job_reaches_that_job_alone",
    ),
    python(
        "a token of one batch reads jobs of others", "shared/access/caller.py", "only job", "self.only",
        f"{CALLER}a_token_of_one_batch_reaches_that_batch_and_its_jobs_alone", part='f"{self.only}_"',
    ),
    python(
        "a token of one batch reads other batches", "shared/access/caller.py", "only batch", "if False:",
        f"{CALLER}a_token_of_one_batch_reaches_that_batch_and_its_jobs_alone",
    ),
)  # fmt: skip
