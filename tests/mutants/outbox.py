"""Mutants of the follow-ups of ended jobs: the outbox' scripts, and the Python that delivers."""

from tests.mutants.mutant import Mutant, attempts, lua, python

SCOPE = "shared/outbox/scope.py"
DELIVERY = "shared/hooks/delivery.py"


def verbs(name: str) -> str:
    """A test of the outbox' verbs, on memory mode."""
    return f"tests/hooks/test_outbox.py::test_{name}[memory]"


def wire(name: str) -> str:
    """A test of the requests that are sent."""
    return f"tests/hooks/test_outbox_wire.py::test_{name}"


def scope(name: str) -> str:
    """A test of the follow-ups that a call handles before its answer."""
    return f"tests/hooks/test_call_scope.py::test_{name}"


def batches(name: str) -> str:
    """A test of the events of batches, on memory mode."""
    return f"tests/hooks/test_outbox_batches.py::test_{name}[memory]"


FOR_ANOTHER = "what_a_call_ends_for_another_user_is_stored_and_delivered_by_the_next_tick"

GIVEN_BACK = (
    python(
        "what a call does not do for others stays leased", SCOPE,
        "given back", "",
        scope(f"{FOR_ANOTHER}[memory-submit--every minute]"),
    ),
    lua(
        "files of another turn are given back", "outbox_release",
        "release turn", "if f.storing ~= '1' then return 0 end",
        scope("a_row_that_another_caller_has_leased_since_is_not_given_back[memory]"),
    ),
    lua(
        "an event that another caller has leased is given back", "outbox_release",
        "release lease", "if not due then return 0 end",
        scope("a_row_that_another_caller_has_leased_since_is_not_given_back[memory]"),
    ),
)  # fmt: skip

ADDED = (
    lua(
        "owners get events that they did not ask for", "outbox",
        "subscribed", "return true",
        verbs("only_requested_events_reach_the_outbox"),
    ),
    lua(
        "an event's lane is not listed", "outbox",
        "lane listed", "",
        verbs("an_end_leases_its_event_to_the_call_that_ended_the_job_and_to_no_other"),
    ),
    lua(
        "a new event puts off all others of its lane", "outbox",
        "lane listed", "",
        verbs("a_later_event_does_not_put_off_an_earlier_one_of_its_lane"),
        part="'LT', ",
    ),
    lua(
        "an event is not leased to its caller", "outbox",
        "lease", "",
        verbs("an_end_leases_its_event_to_the_call_that_ended_the_job_and_to_no_other"),
        part=" + HOOK_LEASE",
    ),
    lua(
        "a URL that is gone gets events", "outbox",
        "gone", "",
        verbs("a_url_that_is_gone_gets_no_more_events_and_others_of_its_host_do"),
    ),
    lua(
        "a host that is left alone gets new events at once", "outbox",
        "host left alone", "if is_leased then",
        verbs("one_row_of_a_failing_host_is_handed_out_as_a_probe"),
    ),
    lua(
        "each attempt sends the first run's event", "outbox",
        "first run", "",
        verbs("the_first_run_sends_one_event_and_later_attempts_send_none"),
    ),
    lua(
        "a backoff delays no event", "outbox",
        "backoff", "local due = tonumber(first[2])",
        verbs("a_host_that_fails_again_is_left_alone_for_twice_as_long"),
    ),
    lua(
        "the end is delivered before the files are stored", "ending",
        "event after files", "end\ndo",
        verbs("the_event_follows_only_once_the_files_are_kept"),
    ),
    lua(
        "files are not stored", "finish",
        "files", "local store_lease = nil",
        verbs("the_event_follows_only_once_the_files_are_kept"),
    ),
    lua(
        "every event of a script is leased to its caller", "ending",
        "one lease", "true",
        batches("only_the_first_of_several_events_is_leased_to_the_call_that_caused_them"),
        part="#follow_ups == 0",
    ),
    lua(
        "a batch ends twice", "ending",
        "batch ends once", "local has_event = close_batch(f, b)",
        batches("a_batch_whose_last_end_stopped_half_way_ends_once"),
    ),
    lua(
        "a batch that ends again is the same event", "ending",
        "batch event", "local event = 'batch'",
        batches("a_batch_sends_one_event_each_time_it_ends"),
    ),
    lua(
        "a job is deleted before its events can be delivered", "ending",
        "ttl", "nil",
        verbs("a_job_is_kept_for_as_long_as_its_events_may_be_retried").replace("[memory]", ""),
        part="has_follow_up",
    ),
)  # fmt: skip

HANDED_OUT = (
    lua(
        "rows are handed out without a lease", "outbox_claim",
        "lease of rows", "",
        verbs("what_is_handed_out_is_handed_to_one_until_its_lease_is_over"),
    ),
    lua(
        "a lane is handed to two", "outbox_claim",
        "lease of the lane", "schedule_lane(lane.name)",
        verbs("what_is_handed_out_is_handed_to_one_until_its_lease_is_over"),
    ),
    lua(
        "a host that fails gets all its rows", "outbox_claim",
        "failing host", "",
        verbs("one_row_of_a_failing_host_is_handed_out_as_a_probe"),
    ),
    lua(
        "a job's files are handed out without a lease", "outbox_claim",
        "lease of files", "",
        verbs("each_holder_of_a_jobs_files_has_its_own_turn"),
    ),
    lua(
        "all holders of a job's files have the same turn", "outbox_claim",
        "turn", "local turn = redis.call('HGET', job_key(job.id), 'turn')",
        verbs("each_holder_of_a_jobs_files_has_its_own_turn"),
    ),
    lua(
        "a repeated delete takes one turn more", "delete",
        "repeated hold", "f.storing == '1'",
        "tests/model/test_found.py::test_a_repeated_delete_takes_the_turn_of_a_copier_once",
        part="f.storing == '1' and f.hold_until ~= arg.hold_until",
    ),
    lua(
        "a job that is gone stays in the outbox", "outbox_claim",
        "gone", "",
        verbs("files_of_a_job_that_is_gone_are_forgotten"),
    ),
    lua(
        "files of unknown hosts are not counted", "finish",
        "foreign", "",
        *attempts("files_of_foreign_hosts_are_counted_once_and_hold_nothing_up"),
    ),
    lua(
        "a repeated keep is refused", "outbox_keep",
        "repeat", "",
        verbs("a_repeated_keep_is_not_taken_for_refused"),
    ),
    lua(
        "files of another turn are kept", "outbox_keep",
        "turn", "",
        verbs("each_holder_of_a_jobs_files_has_its_own_turn"),
    ),
    lua(
        "a job whose files are kept stays in the outbox", "outbox_keep",
        "outbox", "",
        verbs("each_holder_of_a_jobs_files_has_its_own_turn"),
    ),
    lua(
        "no event follows once the files are kept", "outbox_keep",
        "event", "write_fields(key.job, fields) local to_do = ''",
        verbs("the_event_follows_only_once_the_files_are_kept"),
    ),
    lua(
        "an owner who knows of the end gets no news of the rest", "outbox_keep",
        "event", "local to_do = announce('completed')",
        verbs("an_owner_is_notified_while_a_file_is_still_tried_and_of_that_one_later"),
    ),
    lua(
        "each note of a file that fails is news", "outbox_keep",
        "notified once", "local is_first, to_do = true, ''",
        verbs("an_owner_is_notified_while_a_file_is_still_tried_and_of_that_one_later"),
    ),
    python(
        "an owner is notified at the first failure of a file", "shared/outbox/storing.py",
        "news", "is_news = True",
        "tests/files/test_late_files.py::test_one_lost_file_holds_the_news_for_minutes_only[memory]",
    ),
)  # fmt: skip

NOTED = (
    lua(
        "a success is refused when others have tried", "outbox_note",
        "tries", "has_others_tried",
        verbs("a_success_always_counts_and_a_failure_only_from_a_caller_that_knows_all_tries"),
        part="word ~= 'delivered' and has_others_tried",
    ),
    lua(
        "a failure counts from a caller that does not know all tries", "outbox_note",
        "tries", "",
        verbs("a_success_always_counts_and_a_failure_only_from_a_caller_that_knows_all_tries"),
    ),
    lua(
        "a delivered event is delivered again", "outbox_note",
        "row removed", "",
        verbs("what_was_delivered_stays_delivered"),
    ),
    lua(
        "a delivered event counts another success", "outbox_note",
        "delivered", "",
        verbs("what_was_delivered_stays_delivered"),
    ),
    lua(
        "a host that fails again is left alone as shortly", "outbox_note",
        "backoff", "local doubled = FIRST_BACKOFF",
        verbs("a_host_that_fails_again_is_left_alone_for_twice_as_long"),
    ),
    lua(
        "Retry-After does not lengthen a host's backoff", "outbox_note",
        "pause", "backoff",
        verbs("a_host_that_fails_again_is_left_alone_for_twice_as_long"),
        part="math.max(backoff, asked)",
    ),
    lua(
        "a probe's success does not end its host's backoff", "outbox_note",
        "success", "",
        verbs("one_row_of_a_failing_host_is_handed_out_as_a_probe"),
    ),
    lua(
        "a URL that is gone is not remembered", "outbox_note",
        "gone", "",
        verbs("a_url_that_is_gone_gets_no_more_events_and_others_of_its_host_do"),
    ),
    lua(
        "undelivered events are not listed", "outbox_note",
        "undelivered", "",
        verbs("what_is_given_up_is_listed_until_it_is_delivered_after_all"),
    ),
    lua(
        "a late success leaves its event among the undelivered", "outbox_note",
        "late success", "",
        verbs("what_is_given_up_is_listed_until_it_is_delivered_after_all"),
    ),
    lua(
        "a redelivery goes on where the ladder ended", "outbox_redeliver",
        "tries", "",
        verbs("a_redelivery_restarts_the_ladder_and_is_leased_to_its_caller"),
        part=", count, '0'",
    ),
    lua(
        "any application may redeliver", "outbox_redeliver",
        "owner", "if not f.owner then return { 'not_found' } end",
        verbs("only_the_owner_redelivers_and_only_events_that_happened"),
    ),
    lua(
        "a URL that was gone stays so when it is redelivered to", "outbox_redeliver",
        "gone", "",
        verbs("a_url_that_is_gone_gets_no_more_events_and_others_of_its_host_do"),
    ),
)  # fmt: skip

PYTHON = (
    python(
        "the ladder is one step too long", DELIVERY,
        "end of the ladder", "if tries >= len(LADDER):",
        wire("ten_tries_and_the_waits_between_them_are_the_ladder"),
    ),
    python(
        "each wait is the one before", DELIVERY,
        "next wait", "tries", wire("ten_tries_and_the_waits_between_them_are_the_ladder"),
        part="tries + 1",
    ),
    python(
        "a redirect is a success", DELIVERY,
        "success", "400", wire("a_redirect_is_no_success_and_is_not_followed"),
        part="300",
    ),
    python(
        "Retry-After is not obeyed", DELIVERY,
        "retry after", "asked = 0",
        wire("a_host_that_asks_for_an_hour_gets_it"),
    ),
    python(
        "an address is checked at submit only", DELIVERY,
        "guard", "True", wire("an_address_is_checked_when_it_is_called_and_not_only_at_submit"),
        part="self._settings.allow_loopback",
    ),
    python(
        "the signature is of another body", "shared/hooks/event.py",
        "signatures", 'body + b"\\n"', wire("both_secrets_sign_what_is_sent"),
        part="body",
    ),
    python(
        "the second secret does not sign", "shared/hooks/event.py",
        "signatures", "secrets_of(settings, owner)[:1]", wire("both_secrets_sign_what_is_sent"),
        part="secrets_of(settings, owner)",
    ),
    python(
        "a call with time to spare follows up only at its end", SCOPE,
        "at once", "None", scope("a_webhook_notifies_the_owner_while_it_starts_the_next_job"),
        part="None if is_waited_for else self._begin",
    ),
    python(
        "a call that failed drops what it caused", SCOPE,
        "failed call", "", scope("a_call_that_fails_still_follows_up_what_it_has_ended"),
        part=" or isinstance(error, Exception)",
    ),
    python(
        "a poll follows up other jobs than its own", SCOPE,
        "own", "True",
        scope("what_a_call_ends_for_another_user_is_stored_and_delivered_by_the_next_tick[memory-poll--every minute]"),
        part='row.id == self.about or row.id.startswith(f"{self.about}_")',
    ),
    python(
        "a call is answered before its follow-ups are done", SCOPE,
        "all done", "pass", scope("a_poll_shows_the_follow_ups_of_its_own_job[memory]"),
    ),
    python(
        "a late caller delivers at the same time as others", "shared/outbox/worker.py",
        "lease left", "if budget.left < self._needs:",
        wire("a_late_caller_leaves_its_follow_ups_to_others"),
    ),
    lua(
        "the list of undelivered events ends with its first page", "outbox_undelivered",
        "end of the page", "return { found, '', '' }",
        "tests/hooks/test_delivery_log.py::test_the_operator_sees_what_was_given_up_page_by_page[memory]",
    ),
)  # fmt: skip

MUTANTS: tuple[Mutant, ...] = GIVEN_BACK + ADDED + HANDED_OUT + NOTED + PYTHON
