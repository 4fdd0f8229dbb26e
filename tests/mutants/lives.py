"""Mutants of what keeps a deleted job apart from the next one with its id."""

from tests.mutants.mutant import Mutant, lua, python

INCARNATIONS = "tests/queue/test_incarnations.py::test_"
NONCE = "tests/http/test_signatures.py::test_a_nonce_fits_one_attempt_of_one_incarnation_at_one_provider"

MUTANTS: tuple[Mutant, ...] = (
    lua(
        "a write for a deleted job counts for the next one with its id", "prelude",
        "incarnation", "local function is_replaced() return false end",
        f"{INCARNATIONS}a_write_for_a_deleted_job_changes_nothing_of_the_next_one[memory-finish]",
    ),
    lua(
        "a deleted job's prediction is adopted by the next one with its id", "prelude",
        "attempt", "''",
        f"{INCARNATIONS}the_next_job_does_not_adopt_a_prediction_that_was_made_for_a_deleted_one[memory-record]",
        part="arg.incarnation",
    ),
    python(
        "a webhook's nonce is one for every provider", "shared/signing/derived.py",
        "nonce", "",
        NONCE,
        part="provider, ",
    ),
    python(
        "a webhook's nonce is one for every incarnation", "shared/signing/derived.py",
        "nonce", "str(attempt))",
        NONCE,
        part="str(attempt), incarnation)",
    ),
    lua(
        "a batch keeps records of an earlier one with its id", "batch_create",
        "earlier batch", "",
        f"{INCARNATIONS}a_batch_with_the_id_of_an_earlier_one_has_nothing_of_it[memory]",
    ),
)  # fmt: skip
