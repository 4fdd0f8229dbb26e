"""Mutants of what keeps API keys and users apart."""

from tests.mutants.mutant import Mutant, lua

SHARES = "tests/queue/test_shares.py::test_"

MUTANTS: tuple[Mutant, ...] = (
    lua(
        "an API key fills the whole queue", "shares",
        "waiting of a key", "do return nil end",
        f"{SHARES}a_key_that_fills_its_part_gets_429_and_the_other_key_is_admitted[memory]",
    ),
    lua(
        "the jobs of batches do not count for their user", "shares",
        "waiting of a user", "do return nil end",
        f"{SHARES}a_users_limit_of_waiting_jobs_counts_single_jobs_and_those_of_batches[memory]",
    ),
    lua(
        "a job that starts counts as waiting", "claim",
        "share of a slot", "false",
        f"{SHARES}a_share_follows_its_job_from_the_submit_to_the_end[memory]",
        part="true",
    ),
)  # fmt: skip
