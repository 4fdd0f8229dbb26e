"""Mutants of the queue's scripts."""

from tests.mutants.mutant import Mutant, attempts, backlog, batches, contract, lua, targeted, unknown

STORE = "tests/queue/test_store.py::test_"
LETTERS = "tests/http/test_dead_letters.py::test_"

FENCING = (
    lua(
        "unfenced finish: a failure or cancellation of any attempt counts", "finish",
        "attempt", "",
        *attempts("a_write_of_an_old_attempt_changes_nothing"),
    ),
    lua(
        "unfenced finish: any prediction of the attempt counts", "finish",
        "prediction", "",
        targeted("an_end_of_another_prediction_of_the_attempt_is_stale"),
    ),
    lua(
        "unfenced fail: a failure of any attempt counts", "fail",
        "attempt", "",
        targeted("a_write_of_an_attempt_before_the_last_is_stale[fail]"),
    ),
    lua(
        "unfenced fail: a failure of any prediction counts", "fail",
        "prediction", "",
        targeted("an_end_of_another_prediction_of_the_attempt_is_stale"),
    ),
    lua(
        "unfenced snooze", "snooze",
        "attempt", "if f.state ~= 'submitting' then return true end",
        targeted("a_write_of_an_attempt_before_the_last_is_stale[snooze]"),
    ),
    lua(
        "unfenced rescue", "rescue",
        "attempt", "",
        targeted("a_write_of_an_attempt_before_the_last_is_stale[rescue]"),
    ),
    lua(
        "record accepts a stale attempt", "record",
        "attempt", "local is_current = is_own",
        *attempts("a_write_of_an_old_attempt_changes_nothing"),
    ),
    lua(
        "adopt takes an earlier attempt's prediction", "prelude",
        "attempt", "''",
        targeted("a_prediction_of_an_earlier_attempt_is_not_adopted"),
        part="arg.attempt",
    ),
    lua(
        "progress of any prediction is noted", "progress",
        "prediction", "",
        *attempts("progress_is_noted_for_the_current_prediction_only"),
    ),
)  # fmt: skip

ENDS = (
    lua(
        "a job that waited too long is no dead letter", "expire",
        "dead letter", "end_job(arg.id, f, 'failed', fields)",
        f"{LETTERS}a_job_that_waited_too_long_is_a_dead_letter_and_can_be_redriven[memory]",
    ),
    lua(
        "the jobs that a batch's retry replaces stay dead letters", "batch_retry",
        "dead letters", "",
        f"{LETTERS}the_failed_jobs_of_a_batch_are_redriven_in_their_places[memory-best_effort]",
    ),
    lua(
        "finish forgets to remove from the index", "ending",
        "slot", "",
        *contract("a_job_goes_through_its_whole_life"),
    ),
    lua(
        "double completion: finish does not check whether the job is done", "finish",
        "done", "if false then",
        *attempts("every_end_of_an_attempt_is_safe_to_send_twice"),
    ),
    lua(
        "finish forgets what else to cancel when it is repeated", "finish",
        "other", "''",
        targeted("a_repeated_finish_still_names_the_prediction_to_cancel"),
        part="f.other or ''",
    ),
    lua(
        "leaked slot on cancel", "ending",
        "slot", "if outcome ~= 'canceled' then redis.call('ZREM', key.index, unpack(gone)) end",
        *contract("cancelling_a_running_job_keeps_its_slot_until_the_provider_confirms"),
    ),
    lua(
        "leaked seat at an end", "ending",
        "seat", "",
        *attempts("a_job_whose_submission_is_lost_three_times_is_a_dead_letter"),
    ),
    lua(
        "a terminal job never expires", "ending",
        "ttl", "",
        *contract("only_terminal_jobs_have_a_time_to_live"),
    ),
    lua(
        "TTL on a live job", "record",
        "check", "redis.call('EXPIRE', key.job, '604800') local check_at",
        *contract("only_terminal_jobs_have_a_time_to_live"),
        part="local check_at",
    ),
    lua(
        "a job of another application can be cancelled", "cancel",
        "owner", "if not f.state then return { 'not_found' } end",
        *contract("a_job_of_another_application_cannot_be_cancelled"),
    ),
    lua(
        "retries without end", "fail",
        "attempts", "true",
        *attempts("a_failed_attempt_waits_with_growing_backoff_and_then_becomes_a_dead_letter"),
        part="used_attempts(f) < tonumber(f.max_attempts)",
    ),
    lua(
        "a failure that may pass is tried again as often as any other", "fail",
        "once", "return true",
        *attempts("a_failure_that_is_tried_again_once_ends_the_job_the_second_time"),
    ),
)  # fmt: skip

LEASES = (
    lua(
        "a claim's lease is 0", "claim",
        "lease", "time",
        targeted("no_call_looks_at_a_submission_before_its_lease_is_over[claim]"),
        part="time + tonumber(arg.lease)",
    ),
    lua(
        "the lease of an immediate start is 0", "enqueue",
        "lease", "local lease_until = time",
        targeted("no_call_looks_at_a_submission_before_its_lease_is_over[enqueue]"),
    ),
    lua(
        "rescue before the adoption window is over", "rescue",
        "adoption window", "",
        *attempts("a_lapsed_submission_is_put_back_only_after_its_adoption_window"),
    ),
    lua(
        "rescue never gives up", "rescue",
        "gives up", "local may_go_on = true",
        *attempts("a_job_whose_submission_is_lost_three_times_is_a_dead_letter"),
    ),
    lua(
        "snooze counts an attempt", "snooze",
        "snoozes", "local snoozes = '0'",
        *attempts("a_snooze_uses_up_no_attempt"),
    ),
    lua(
        "snooze gives the attempt's number back", "snooze",
        "delayed", "fields.attempt = text(tonumber(f.attempt) - 1) fields.state,",
        *attempts("a_snooze_uses_up_no_attempt"),
        part="fields.state,",
    ),
    lua(
        "an overdue slot is handed to every caller", "claim",
        "handed to one", "",
        *attempts("an_overdue_run_is_handed_to_one_caller_only"),
    ),
    lua(
        "every poller asks", "check",
        "checked", "",
        *attempts("one_poller_asks_about_an_overdue_run_and_no_other_for_two_seconds"),
    ),
)  # fmt: skip

LIMITS = (
    lua(
        "a change of limits that comes late undoes a later one", "prelude",
        "late change", "",
        "tests/http/test_limits.py::"
        "test_a_copy_of_a_change_that_comes_after_a_later_one_changes_nothing[memory-change0]",
    ),
    lua(
        "claim ignores the queue's limit", "room",
        "queue limit", "room.queue[queue] = limit",
        targeted("a_claim_keeps_the_limit_of_a_queue_that_others_leave_room_for"),
    ),
    lua(
        "claim ignores the system's limit", "room",
        "system limit", "",
        targeted("a_claim_keeps_the_systems_limit_where_the_provider_allows_more"),
        part=" - head.slots",
    ),
    lua(
        "slots that a page leaves out are not counted", "room",
        "slots between pages", "",
        "tests/queue/test_crowd.py::test_a_crowded_system_counts_the_slots_that_it_does_not_read[memory]",
    ),
    lua(
        "an immediate start ignores the queue's limit", "room",
        "room of the queue", "",
        *contract("a_job_starts_next_to_a_full_queue"),
        part=" and of_queue > 0",
    ),
    lua(
        "an immediate start ignores better waiting jobs", "enqueue",
        "better job", "view.has_overdue",
        *contract("a_job_does_not_start_past_a_better_one"),
        part="view.is_outdone",
    ),
    lua(
        "the user's limit is one too high", "users",
        "tasks", "#user.seated - 1",
        *contract("the_fourth_live_task_of_a_user_is_refused"),
        part="#user.seated",
    ),
    lua(
        "claim takes the worst of all queues", "probes",
        "best first", "return a.score > b.score",
        *contract("the_best_job_of_all_queues_goes_first"),
        part="return a.score < b.score",
    ),
)  # fmt: skip

REPEATS = (
    lua(
        "the fingerprint of a repeated submit is not compared", "enqueue",
        "fingerprint", "",
        *contract("a_repeated_submit_gets_the_same_job_and_another_body_a_conflict"),
    ),
    lua(
        "a repeated claim takes more jobs", "claim",
        "replay", "",
        f"{STORE}a_repeated_claim_answers_the_same_jobs_and_takes_no_more",
    ),
    lua(
        "a repeated snooze counts again", "snooze",
        "repeat", "do return nil end",
        f"{STORE}a_repeated_snooze_counts_once",
    ),
    lua(
        "an index entry without its job stays", "claim",
        "lost", "",
        *contract("a_slot_whose_job_is_lost_becomes_free"),
    ),
)  # fmt: skip

SEATS = (
    lua(
        "an end forgets to promote", "ending",
        "promotion", "",
        *backlog("an_end_makes_the_next_of_its_user_ready_in_their_order"),
    ),
    lua(
        "it promotes beyond the cap", "seats",
        "cap", "<=",
        *backlog("an_end_makes_the_next_of_its_user_ready_in_their_order"),
        part="<",
    ),
    lua(
        "a job of the backlog is ready", "enqueue",
        "ready", "true",
        *backlog("jobs_beyond_a_users_limit_wait_in_the_backlog"),
        part="has_seat or worse ~= nil",
    ),
    lua(
        "a job of the backlog is started", "claim",
        "due", "part_in(head, DELAYED) or part_in(head, BACKLOG)",
        *backlog("jobs_beyond_a_users_limit_wait_in_the_backlog"),
        part="part_in(head, DELAYED)",
    ),
    lua(
        "admitted jobs get no heirs", "users",
        "heirs", "'0'",
        *backlog("a_user_limited_live_has_a_backlog_though_the_deployment_allows_none"),
        part="'1'",
    ),
    lua(
        "a paused user's ready jobs stay ready", "limit_user",
        "reseat", "promote",
        *backlog("a_paused_users_waiting_jobs_stay_until_the_user_is_resumed"),
        part="reseat",
    ),
    lua(
        "a limited user keeps seats beyond those that are read", "users",
        "many seats", "",
        targeted("a_pause_takes_the_seats_of_a_user_who_had_many"),
        part=" or #user.waiting == 0",
    ),
    lua(
        "a job keeps its place when its priority changes", "reprioritize",
        "moved", "",
        targeted("a_raised_job_starts_before_the_others"),
    ),
)  # fmt: skip

BATCHES = (
    lua(
        "an end is not counted in its batch", "ending",
        "outcome in batch", "",
        *batches("a_batch_ends_once_with_results_in_order"),
    ),
    lua(
        "a failure leaves the others of its batch alone", "ending",
        "all or nothing", "local fails_batch = false",
        *batches("under_all_or_nothing_one_failure_ends_the_rest"),
    ),
    lua(
        "a retry takes what has not failed too", "batch_retry",
        "outcome", "outcome",
        *batches("failed_jobs_are_tried_anew_in_their_places"),
        part="outcome == 'failed'",
    ),
    lua(
        "each job of a batch counts as a task", "users",
        "job of a batch", "",
        *batches("ten_images_are_one_task_and_show_their_progress"),
    ),
)  # fmt: skip

UNKNOWN = (
    lua(
        "a twin that was given up may be ignored", "adopt",
        "twin given up", "local is_twin = false",
        unknown("a_twin_that_was_cancelled_and_deleted_is_still_a_twin"),
    ),
    lua(
        "an attempt that is given up is forgotten", "lost",
        "given up", "redis.call('ZREM', lost_key(), lost_member(id, f, f.attempt))",
        unknown("a_twin_that_was_given_up_by_lists_that_lag_is_still_a_twin"),
    ),
    lua(
        "a prediction that turns up after all accounts for nothing", "lost",
        "accounted for", "",
        unknown("a_twin_whose_prediction_came_after_all_is_accounted_for"),
    ),
    lua(
        "a settled submission stays listed", "lost",
        "settled", "",
        unknown("a_webhook_settles_an_unknown_submission"),
    ),
    lua(
        "one list is proof enough", "rescue",
        "two lists", "true",
        unknown("two_lists_are_half_a_minute_apart"),
        part="time - tonumber(arg.took) >= missed_at() + tonumber(arg.list_gap)",
    ),
    lua(
        "the last attempt is missed and tried again", "rescue",
        "misses", "",
        unknown("its_last_attempt_ends_as_a_dead_letter"),
    ),
    lua(
        "the delay of a retry grows without a bound", "retry",
        "longest delay", "local longest = math.huge",
        *attempts("the_delay_of_a_retry_grows_to_an_hour"),
    ),
    lua(
        "a job waits for a retry that it would not live to see", "retry",
        "retry in time", "local function is_in_time() return true end",
        *attempts("a_job_whose_retry_would_come_after_its_time_to_live_ends_with_its_own_error"),
    ),
    lua(
        "the list is not asked before the lease is over", "trip",
        "early look", "local look_at = tonumber(f.lease_until)",
        unknown("a_submission_that_two_complete_lists_lack_has_failed_within_three_minutes"),
    ),
    lua(
        "a double payment is counted at every report of it", "finish",
        "doubled", "do",
        unknown("a_success_that_comes_after_another_one_is_counted_too"),
    ),
    lua(
        "a cancelled submission of unknown outcome keeps its seat", "seats",
        "seat left", "",
        unknown("a_cancelled_one_frees_its_seat_at_once_and_its_slot_when_two_lists_lack_it"),
    ),
    lua(
        "one user's cancelled submissions take every slot", "seats",
        "one slot more", "if not f.share then return end",
        unknown("a_user_whose_submissions_stay_unknown_has_one_slot_more_than_seats"),
    ),
)  # fmt: skip

MUTANTS: tuple[Mutant, ...] = UNKNOWN + FENCING + ENDS + LEASES + LIMITS + REPEATS + SEATS + BATCHES
