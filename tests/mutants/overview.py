"""Mutants of what the operator sees and does across API keys."""

from tests.mutants.mutant import lua, python

JOBS = "tests/http/test_all_jobs.py::test_"
FOUND = f"{JOBS}jobs_are_found_by_where_they_are_and_by_what_they_are[memory]"
PRICE = f"{JOBS}a_page_walks_past_a_bounded_part_and_reads_only_what_may_fit"
BULK = "tests/http/test_bulk.py::test_"
LIMITS = "tests/http/test_limits.py::test_"

MUTANTS = (
    lua("the operator's list reads jobs of other queues", "browse", "queue", "", PRICE),
    lua("the operator's list reads jobs of other providers", "browse", "provider", "return true", PRICE),
    lua("the operator's list reads jobs of other users", "browse", "history", "return id", PRICE),
    lua("the operator's list shows jobs of every status", "browse", "status", "return true", FOUND),
    lua("the operator's list shows live jobs of every age", "browse", "created", "", FOUND),
    lua(
        "the operator's list goes on half a ms too early", "browse",
        "half a ms in a cursor", "''",
        f"{JOBS}pages_of_running_jobs_show_each_once[memory]",
        part="rows[used].score > score and '.5' or ''",
    ),
    lua(
        "a user's own limit is listed with its day", "user_limits",
        "own limit", "(tonumber(score) - SPECIAL)",
        "tests/http/test_user_limits.py::test_own_limits_are_listed_and_gone_once_they_are_unset[memory]",
        part="(tonumber(score) - SPECIAL) % LIMIT_SPAN",
    ),
    python(
        "jobs that are to be cancelled start between two calls", "shared/jobs/bulk.py",
        "between calls", "may_start = True",
        f"{BULK}what_waits_is_cancelled_before_what_runs_so_that_no_job_starts_in_its_place[memory]",
    ),
    python(
        "each application reads what every owner has", "shared/config/access.py",
        "reader", "True",
        "tests/http/test_inspection.py::test_a_strangers_read_after_the_operators_finds_nothing[memory]",
        part="owner is not None and caller in (owner, EVERY_OWNER)",
    ),
    python(
        "a page that was not finished counts as done", "shared/jobs/bulk.py",
        "unfinished page", "",
        f"{BULK}a_purge_stops_at_a_storage_that_does_not_answer_and_keeps_the_job",
        part="following = start",
    ),
    python(
        "a circuit that is over waits for longer again", "shared/jobs/limits.py",
        "over circuit", "now",
        f"{LIMITS}a_users_own_circuit_is_probed_early_and_an_over_one_is_not_put_off[memory]",
        part="min(standing[name], now)",
    ),
)  # fmt: skip
