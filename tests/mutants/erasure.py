"""Mutants of erasures, and of what the sweep forgets."""

from tests.mutants.mutant import lua, python

COMPLETE = "tests/http/erasure/test_completeness.py::test_"
FORGETTING = "tests/queue/test_forgetting.py::test_"
MODULE = "shared/jobs/erasure.py"

MUTANTS = (
    python(
        "an erasure is complete while an upload URL of before lasts", MODULE,
        "quiet", "is_quiet = True",
        f"{COMPLETE}an_upload_url_from_before_keeps_an_erasure_open_until_it_ends[memory]",
    ),
    python(
        "an erasure is complete while jobs live", MODULE,
        "complete", '"is_complete": is_done and is_quiet,',
        f"{COMPLETE}an_erasure_waits_for_runs_that_their_provider_does_not_end[memory]",
    ),
    python(
        "an erasure does not wait for a copy under way", MODULE,
        "copy", "pass",
        f"{COMPLETE}a_copy_under_way_keeps_an_erasure_open_until_its_function_is_dead[memory]",
    ),
    python(
        "an erasure does not wait for files that are stored before the end", MODULE,
        "stored before the end", "return job.is_storing",
        f"{COMPLETE}results_of_a_job_that_ends_meanwhile_are_not_taken_for_complete[memory]",
    ),
    lua(
        "a complete erasure keeps the user's tag", "erase",
        "tag", "",
        f"{COMPLETE}a_complete_erasure_forgets_the_users_tag_and_lifts_no_limit[memory-None]",
    ),
    lua(
        "an erasure lifts the operator's limit of a user", "erase",
        "tag", "'DEL', key.user",
        f"{COMPLETE}a_complete_erasure_forgets_the_users_tag_and_lifts_no_limit[memory-0]",
        part="'ZREM', key.user, '~'",
    ),
    lua(
        "an erasure drops the entries of a job whose id is in use again", "forget_gone",
        "gone", "if true then",
        f"{FORGETTING}what_a_job_left_is_dropped_unless_its_id_is_in_use_again[memory]",
    ),
    lua(
        "a deleted job stays in the index if its end had stopped half-way", "delete",
        "entries", "redis.call('ZREM', key.index, entry)",
        f"{FORGETTING}a_deleted_job_leaves_no_entry_even_if_its_end_had_stopped_half_way[memory]",
    ),
    lua(
        "an archive grows for ever", "trim",
        "old archive", "",
        f"{COMPLETE}an_archive_lasts_as_long_as_its_jobs_are_kept[memory]",
    ),
    lua(
        "an archived job stays in the history", "trim",
        "archived", "",
        f"{COMPLETE}jobs_behind_the_history_are_erased_too[memory]",
    ),
    lua(
        "figures of a model with recent runs are forgotten", "forget_runs",
        "old runs", "if at then",
        f"{FORGETTING}how_runs_of_a_model_went_is_forgotten_30_days_after_the_last_one[memory]",
    ),
    lua(
        "a user's own limit ends though the user has jobs", "rehome",
        "limit in use", "if false then",
        f"{FORGETTING}a_users_own_limit_ends_400_days_after_the_user_last_had_a_live_job[memory]",
    ),
    lua(
        "a user's own limit never ends", "rehome",
        "old limit", "elseif false then",
        f"{FORGETTING}a_users_own_limit_ends_400_days_after_the_user_last_had_a_live_job[memory]",
    ),
    lua(
        "a deletion drops any number of events in one command", "prelude",
        "many parts", "redis.call(command, set, unpack(parts))",
        f"{FORGETTING}a_batch_that_was_retried_any_number_of_times_is_forgotten[memory]",
    ),
)  # fmt: skip
