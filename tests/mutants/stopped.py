"""Mutants of what is done about a script that stopped half-way, and about a full store; breakages.py has more."""

from tests.mutants.mutant import lua, python

ROOM = "tests/http/test_make_room.py::test_"

MUTANTS = (
    lua(
        "a job that is over but still in the index is started", "claim",
        "over", "elseif false then",
        "tests/queue/test_stopped_scripts.py::test_a_ready_job_that_is_over_is_not_started_and_leaves_the_index[memory]",
    ),
    lua(
        "what a stopped retry has left fails the job in its place", "rehome",
        "replaced in batch", "note_in_batch(f, 'failed')",
        "tests/queue/test_batches.py::test_what_a_stopped_retry_has_left_says_nothing_of_the_job_in_its_place[memory]",
    ),
    python(
        "an ended job is deleted at once to make room", "shared/jobqueue/leftovers.py",
        "ended long ago", 'is_over = state == "done"',
        f"{ROOM}a_database_that_refuses_scripts_still_shows_jobs_and_deletes_ended_ones",
    ),
    python(
        "a job whose event is pending is deleted to make room", "shared/jobqueue/leftovers.py",
        "nothing waits", 'if not is_over or storing == "1":',
        f"{ROOM}jobs_that_anything_waits_for_stay",
    ),
)  # fmt: skip
