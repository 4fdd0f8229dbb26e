"""Mutants of what is done about a script that stopped half-way, and about a full store; breakages.py has more."""

from tests.mutants.mutant import lua, python

STOPPED = "tests/queue/test_stopped_scripts.py::test_"
ROOM = "tests/http/test_make_room.py::test_"

MUTANTS = (
    lua(
        "a job that is over but still in the index is started", "claim",
        "over", "elseif false then",
        "tests/queue/test_stopped_scripts.py::test_a_ready_job_that_is_over_is_not_started_and_leaves_the_index[memory]",
    ),
    lua(
        "a submission is made again although its job was cancelled after a claim that stopped", "claim",
        "cancelled submission", "return f.state == 'running'",
        f"{STOPPED}a_cancelled_submission_among_the_ready_jobs_is_not_made_again[memory]",
    ),
    lua(
        "a repeated claim answers a job that was cancelled meanwhile", "claim",
        "replay of a cancelled job", "if f.state == 'submitting' then",
        f"{STOPPED}a_repeated_claim_passes_over_what_was_cancelled_meanwhile",
    ),
    lua(
        "the repeat of an end makes a dead letter of a job that was redriven", "ending",
        "redriven meanwhile", "if f.outcome == 'failed' and may_be_dead then bury(id) end",
        f"{STOPPED}a_repeated_end_makes_no_dead_letter_of_a_job_that_was_redriven[memory]",
    ),
    lua(
        "what a stopped retry has left fails the job in its place", "rehome",
        "replaced in batch", "if true then",
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
