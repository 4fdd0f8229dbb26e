"""Mutants of the Python around the scripts."""

from tests.mutants.mutant import Mutant, python, targeted, unknown

REST = "shared/store/rest.py"
STORE = "tests/queue/test_store.py::test_"
FUNCTIONS = "tests/http/test_functions.py::test_"
WATCHING = "tests/queue/test_watching.py::test_"
UNREAD_INPUT = (
    "tests/providers/test_replicate_list.py"
    "::test_an_input_that_cannot_be_read_leaves_doubt_only_if_the_model_is_the_same"
)
AGAIN_TWICE = """\
try:
    return await self._again(command, lost)
except StoreUncertain as twice:
    return await self._again(command, twice)"""
CREATED_AGAIN = """\
try:
    response = await self._creator.post(path, json=body, headers=headers)
except httpx.HTTPError:
    return Unknown(type(error).__name__)"""

MUTANTS: tuple[Mutant, ...] = (
    python(
        "a receipt says that a refused job runs", "shared/jobs/admission.py",
        "refused", "return receipt",
        "tests/http/test_submit.py::test_a_receipt_says_what_the_submission_came_to[memory-outcome2-pending]",
    ),
    python(
        "a list holds a member of any size", "shared/providers/listing.py",
        "large member", "self._is_cut = False", f"{UNREAD_INPUT}[large]",
    ),
    python(
        "a member that cannot be read hides a whole list", "shared/providers/listing.py",
        "unread member", "raise", f"{UNREAD_INPUT}[deep]",
    ),
    python(
        "a listed webhook of null is another one's", "shared/providers/replicate_list.py",
        "null webhook", 'if wanted.mark and "webhook" in entry:',
        "tests/providers/test_replicate_list.py::test_the_webhook_decides_where_the_list_shows_it[None-alike]",
    ),
    python(
        "a search that raises comes again at each look", "shared/dispatch/reconciler.py",
        "search", "except ZeroDivisionError as error:",
        "tests/queue/test_waiting.py"
        "::test_a_search_that_raises_proves_nothing_and_its_slot_is_free_in_the_end[memory]",
    ),
    python(
        "an error at one user's seats ends a tick", "shared/dispatch/dispatcher.py",
        "stuck user", "moved = [await self._rehome(user) for user in claim.stuck]",
        "tests/queue/test_yielding.py"
        "::test_a_user_whose_jobs_cannot_be_read_holds_up_no_other_and_ends_no_tick[memory]",
    ),
    python(
        "an outbox that cannot be read cancels creates", "shared/dispatch/tick.py",
        "failure of the outbox", "except ZeroDivisionError as error:",
        "tests/queue/test_store_trouble.py::test_an_outbox_that_cannot_be_read_cancels_no_dispatch",
    ),
    python(
        "each process sweeps on its own", "shared/dispatch/tick.py",
        "last sweep", "is_recent = False",
        "tests/queue/test_sweep.py::test_processes_that_tick_in_turn_sweep_once_in_a_quarter_of_an_hour",
    ),
    python(
        "a create is sent again after a timeout", "shared/providers/calls.py",
        "no repeat of a create", CREATED_AGAIN,
        "tests/providers/test_providers.py::test_only_a_create_that_was_never_sent_is_surely_not_created[ReadTimeout-False]",
    ),
    python(
        "a create that timed out counts as surely not sent", "shared/providers/calls.py",
        "never sent", "except httpx.HTTPError as error:",
        "tests/providers/test_providers.py::test_only_a_create_that_was_never_sent_is_surely_not_created[ReadTimeout-False]",
    ),
    python(
        "a create uses a kept connection", "shared/providers/calls.py",
        "fresh connection", "return self._client",
        "tests/providers/test_connections.py::test_a_create_has_a_connection_of_its_own_and_other_calls_share_one",
    ),
    python(
        "a model that is not found is not tried again", "shared/providers/calls.py",
        "not found", "", "tests/providers/test_providers.py::test_a_404_is_tried_once_more",
        part=", may_pass=True",
    ),
    python(
        "all of an answer is read", "shared/providers/calls.py",
        "cap", "if False:", "tests/providers/test_reading.py::test_no_more_of_an_answer_is_taken_than_its_cap",
    ),
    python(
        "an answer that cannot be read is tried again", "shared/dispatch/reconciler.py",
        "unreadable", "retryable=True,",
        "tests/http/test_unreadable.py::test_a_poll_ends_what_cannot_be_read_and_frees_its_slot",
    ),
    python(
        "what fits is adopted in an account that others use too", "shared/dispatch/reconciler.py",
        "own account", 'alike: Candidacy = "alike"',
        unknown("what_fits_is_not_adopted_unless_the_account_is_the_deployments_own"),
    ),
    python(
        "the store client never repeats", REST, "one repeat", "raise",
        f"{STORE}one_lost_answer_is_survived_by_one_repeat[streams-apply_then_drop]",
    ),
    python(
        "the store client repeats twice", REST, "one repeat", AGAIN_TWICE,
        f"{STORE}two_lost_answers_are_uncertain[streams-drop_before]",
    ),
    python(
        "the store client takes a repeat's failure for the whole call's", REST,
        "first try may have been applied", "raise",
        f"{STORE}a_lost_answer_followed_by_a_refused_connection_is_still_uncertain[streams]",
    ),
    python(
        "the store client reads no status", "shared/store/client.py",
        "status", "if True:",
        f"{STORE}one_lost_answer_is_survived_by_one_repeat[streams-json_500]",
    ),
    python(
        "trouble of the server counts as an error of the script", "shared/store/refusals.py",
        "trouble", "if False:",
        f"{STORE}one_lost_answer_is_survived_by_one_repeat[streams-json_500]",
    ),
    python(
        "a script that was refused a command counts as not applied", "shared/store/refusals.py",
        "partly applied", "is_partial = False",
        f"{STORE}a_script_that_was_refused_a_command_may_be_applied_and_is_not_repeated",
    ),
    python(
        "a webhook's nonce is not compared", "functions/webhook.py",
        "nonce", "if not given:",
        f"{FUNCTIONS}a_webhook_of_another_attempt_is_401_and_changes_nothing[nonce=00]",
    ),
    python(
        "a webhook's age is not checked", "shared/signing/webhooks.py",
        "age", "if False:",
        "tests/http/test_signatures.py::test_a_replay_outside_the_tolerance_is_refused",
    ),
    python(
        "the status cache does not look at the owner", "shared/jobs/status.py",
        "owner", "if False:",
        f"{FUNCTIONS}anothers_job_and_an_unknown_one_get_the_same_404[memory]",
    ),
    python(
        "a place is never read anew", "shared/jobs/status.py",
        "place", "return True",
        f"{WATCHING}a_place_is_shared_for_two_pauses_and_read_again_when_its_job_changes",
    ),
    python(
        "a place outlives a change of its job", "shared/jobs/status.py",
        "place of another state", "return is_same",
        f"{WATCHING}a_place_is_shared_for_two_pauses_and_read_again_when_its_job_changes",
    ),
    python(
        "a stranger's ETag says how long runs take", "shared/jobs/status.py",
        "hint of a stranger", "is_own = True",
        f"{WATCHING}a_strangers_etag_says_nothing_to_the_owner",
    ),
    python(
        "an outlook outlives its job", "shared/jobs/status.py",
        "another job of this id", "is_same = True",
        f"{WATCHING}a_new_job_of_a_deleted_ones_id_has_its_own_estimate",
    ),
    python(
        "an ETag without times is a hint", "shared/jobs/status.py",
        "hint of nothing", "if not found:",
        f"{WATCHING}an_etag_without_times_hides_no_estimate",
    ),
    python(
        "a poll looks for room as often while there is none", "shared/jobs/status.py",
        "no room", "patience = s.waiting_check_interval * 1000",
        f"{WATCHING}a_wait_is_watched_at_a_bounded_price[known]",
    ),
    python(
        "a poller comes rarely near the end", "shared/jobs/pace.py",
        "near its end", "if age < (soonest := 2.0 * outlook.p50):",
        "tests/queue/test_pace.py::test_a_run_near_its_usual_end_is_polled_each_two_seconds",
    ),
    python(
        "a poller far back comes as often as one at the front", "shared/jobs/pace.py",
        "far back", "most = MAX_PAUSE",
        f"{WATCHING}who_waits_far_back_is_asked_to_come_rarely[4-40.0-30]",
    ),
    python(
        "a late run is asked about as rarely as another", "shared/jobs/pace.py",
        "late run", "return max(least, gap)",
        "tests/queue/test_pace.py::test_a_late_run_is_asked_about_soon",
    ),
    python(
        "a question that comes before the webhook raises a doubt", "shared/dispatch/webhooks.py",
        "webhook in time", "if not self.are_expected(job.provider):",
        f"{WATCHING}an_end_that_a_question_finds_before_its_webhook_raises_no_doubt",
    ),
    python(
        "a submission begins though its lease is nearly over", "shared/dispatch/dispatcher.py",
        "lease left", "if False:",
        targeted("a_frozen_callers_claim_is_put_back_and_not_submitted"),
    ),
    python(
        "an unrecorded prediction is left running", "shared/dispatch/dispatcher.py",
        "late prediction", "if recorded.cancel_requested:",
        targeted("a_prediction_that_came_too_late_is_cancelled"),
    ),
)  # fmt: skip
