"""Mutants of what keeps the order of jobs over a change of the settings, and late calls from creating any."""

from tests.mutants.mutant import Mutant, lua, python

NUMBERING = "tests/queue/test_numbering.py::test_"
LATE = "tests/queue/test_late_copies.py::test_"
HANDOVER = "tests/queue/test_handover.py::test_"
LONG = "tests/queue/test_long_queues.py::test_"
CHANGE = "tests/queue/test_policy_change.py::test_"

MUTANTS: tuple[Mutant, ...] = (
    lua(
        "jobs keep the scores of an earlier policy", "room",
        "scale", "return false",
        f"{CHANGE}the_sweep_gives_each_live_job_a_score_of_the_present_policy[memory]",
    ),
    lua(
        "a new score is not written into the record", "rehome",
        "new score", "",
        f"{CHANGE}the_sweep_gives_each_live_job_a_score_of_the_present_policy[memory]",
    ),
    lua(
        "a held job keeps its score among the held ones", "rehome",
        "held", "",
        f"{CHANGE}a_held_job_gets_its_new_score_when_it_is_looked_at[memory]",
    ),
    lua(
        "a claim overlooks what comes back with an earlier policy's score", "claim",
        "foreign retry", "",
        f"{CHANGE}a_held_job_gets_its_new_score_when_it_is_looked_at[memory]",
    ),
    lua(
        "no claim notes that jobs wait with its policy's scores", "claim",
        "scale in use", "",
        f"{CHANGE}claims_look_for_scores_of_another_policy_for_two_days_only[memory]",
    ),
    lua(
        "claims look for scores of another policy for ever", "claim",
        "looks end", "move(gate, gate_score(time + FOREIGN_AGE))",
        f"{CHANGE}claims_look_for_scores_of_another_policy_for_two_days_only[memory]",
    ),
    lua(
        "the gate of an earlier policy stays", "claim",
        "old scale", "return false",
        f"{CHANGE}claims_look_for_scores_of_another_policy_for_two_days_only[memory]",
    ),
    lua(
        "a claim takes no job that lives for one", "claim",
        "idle", "",
        f"{LATE}a_claim_takes_no_job_for_a_caller_that_has_gone[memory]",
    ),
    lua(
        "a claim of an empty index does not note its policy", "claim",
        "idle scale", "",
        f"{CHANGE}claims_look_for_scores_of_another_policy_for_two_days_only[memory]",
    ),
    lua(
        "a claim of an empty index removes no gate", "claim",
        "idle gates", "",
        f"{CHANGE}claims_look_for_scores_of_another_policy_for_two_days_only[memory]",
    ),
    lua(
        "a long queue that is full makes each submit claim", "enqueue",
        "hidden lanes", "if #hidden > 0 then return true end",
        f"{LONG}a_submit_to_the_full_queue_asks_for_no_claim[memory]",
    ),
    lua(
        "a worse job behind a long queue goes first", "enqueue",
        "hidden job of the lane", "",
        f"{LONG}a_worse_job_behind_the_long_queue_goes_later[memory]",
    ),
    lua(
        "a submit goes before a due retry behind a long queue", "enqueue",
        "hidden retry", "return false",
        f"{LONG}a_due_retry_behind_the_long_queue_is_left_to_a_claim[memory]",
    ),
    lua(
        "adopt reads each running job", "adopt",
        "runs", "local is_submission = true",
        f"{LONG}a_lost_submission_is_adopted_with_ten_commands_however_many_jobs_run[20]",
    ),
    lua(
        "a submission that was handed out seems to run", "prelude",
        "half a ms", "",
        f"{LONG}a_slot_whose_submission_may_be_a_twin_is_read[memory]",
    ),
    lua(
        "an end claims where nothing waits", "finish",
        "nothing to claim", "",
        f"{HANDOVER}an_end_claims_nothing_where_nothing_waits[memory]",
    ),
    lua(
        "a repeated end does not name the jobs that it has claimed", "finish",
        "claimed again", "take_next(false)",
        f"{HANDOVER}a_repeat_answers_the_same_jobs_and_takes_no_more[memory-0]",
        part="take_next(true)",
    ),
    lua(
        "an end is lost with its claim", "finish",
        "error of a claim", "true, claim()",
        f"{HANDOVER}an_end_stands_although_its_claim_fails[memory]",
        part="pcall(claim)",
    ),
    lua(
        "a repeated claim looks only at leases of late copies", "claim",
        "old ticket", "local age = tonumber(arg.patience)",
        f"{HANDOVER}jobs_of_a_lost_answer_are_found_as_long_as_they_can_be_submitted[claim-60]",
    ),
    lua(
        "an end whose claim came late says that nothing waits", "finish",
        "late with an end", "local is_late = false",
        f"{HANDOVER}a_copy_that_comes_late_takes_no_job[memory]",
    ),
    python(
        "queues take each other's numbers", "shared/jobqueue/numbering.py",
        "moved queues", "if False:",
        f"{NUMBERING}a_pause_never_holds_another_queue[memory-reordered]",
    ),
    lua(
        "no call is late", "prelude",
        "late copy", "return false",
        f"{LATE}a_submit_brings_no_deleted_job_back[memory]",
    ),
    lua(
        "a submit that waits is never late", "enqueue",
        "passed moment", "local known_time = time or 0",
        f"{LATE}a_submit_that_was_refused_creates_no_job_later[memory-False]",
    ),
    lua(
        "a claim is never late", "claim",
        "late claim", "",
        f"{LATE}a_claim_takes_no_job_for_a_caller_that_has_gone[memory]",
    ),
    lua(
        "a batch is never late", "batch_create",
        "late batch", "",
        f"{LATE}a_batch_that_was_deleted_does_not_come_back[memory]",
    ),
)  # fmt: skip
