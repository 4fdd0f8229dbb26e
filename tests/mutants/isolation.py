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
        "a claim gives one API key all slots", "claim",
        "slots of a key", "if false then return true end",
        f"{SHARES}a_key_has_no_more_slots_than_it_may_and_the_others_start_behind_its_jobs[memory]",
    ),
    lua(
        "a submit gives one API key all slots", "shares",
        "slots of a key at submit", "return false",
        f"{SHARES}a_submit_of_a_key_with_all_its_slots_waits[memory]",
    ),
    lua(
        "an end makes all held jobs ready", "shares",
        "one held job", "",
        f"{SHARES}held_jobs_whose_list_is_lost_or_stale_start_all_the_same[memory]",
    ),
    lua(
        "an end leaves held jobs held", "shares",
        "held job released", "do return end",
        f"{SHARES}a_slot_that_a_key_leaves_goes_to_its_best_held_job[memory-finish]",
    ),
    lua(
        "a job that starts counts as waiting", "claim",
        "share of a slot", "false",
        f"{SHARES}a_share_follows_its_job_from_the_submit_to_the_end[memory]",
        part="true",
    ),
)  # fmt: skip
