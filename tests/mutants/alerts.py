"""Mutants of alerts."""

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant, python

ROOM = "shared/alerts"
SENDING = "tests/alerts/test_alert_sending.py::test_"
TELLING, RULES = "tests/alerts/test_telling.py::test_", "tests/alerts/test_alert_rules.py::test_"
BOARD, COSTS = "tests/alerts/test_alert_board.py::test_", "tests/alerts/test_alert_costs.py::test_"


def lua(name: str, file: str, anchor: str, after: str, *tests: str, part: str = "") -> Mutant:
    """A mutant of a script of this room; see Edit."""
    return Mutant(name, (Edit(f"{ROOM}/scripts/{file}.lua", anchor, after, part),), tests)


MUTANTS: tuple[Mutant, ...] = (
    lua(
        "each process looks for alerts by itself", "alert_look", "turn", "",
        f"{COSTS}a_process_pays_little_where_another_has_looked",
    ),
    lua(
        "a look for alerts takes no turn", "alert_look", "turn taken", "",
        f"{COSTS}a_process_pays_little_where_another_has_looked",
    ),
    lua(
        "a lane that is about to be delivered counts as failing", "alert_look", "lanes put off", "if true then",
        f"{RULES}a_lane_that_is_being_delivered_is_not_looked_at",
    ),
    lua(
        "a process overwrites alerts that it has not read", "alert_put", "changed alerts", "",
        f"{TELLING}of_two_processes_that_saw_the_same_one_tells",
    ),
    python(
        "a process asks for the turn at each tick", f"{ROOM}/alerts.py", "looks of a process", "if False:",
        f"{COSTS}a_process_pays_little_where_another_has_looked",
    ),
    python(
        "each submit asks for the last tick", f"{ROOM}/alerts.py", "questions of submits", "if threshold is None:",
        f"{COSTS}submits_ask_for_the_last_tick_once_in_five_minutes",
    ),
    python(
        "a submit looks though ticks come", f"{ROOM}/alerts.py", "silent schedule", "if True:",
        f"{COSTS}submits_ask_for_the_last_tick_once_in_five_minutes",
    ),
    python(
        "a process tells what another one has told", f"{ROOM}/alerts.py", "told by another",
        'if not await self._store.put("state", kept, text) and not text:',
        f"{TELLING}of_two_processes_that_saw_the_same_one_tells",
    ),
    python(
        "a receiver that fails is tried for ever", f"{ROOM}/sending.py", "tries of a receiver", "elif False:",
        f"{TELLING}a_receiver_that_fails_is_tried_by_later_looks_and_then_left",
    ),
    python(
        "a receiver is tried before it wants to be", f"{ROOM}/sending.py", "wait of a receiver",
        "wait = _wait_after(tries)",
        f"{TELLING}a_receiver_is_not_tried_before_it_wants_to_be",
    ),
    python(
        "a try is counted after it alone", f"{ROOM}/sending.py", "try before the send", "pass",
        f"{SENDING}a_receiver_that_outlives_each_process_gets_a_notice_six_times",
    ),
    python(
        "a notice is struck off where another release would send it", f"{ROOM}/sending.py",
        "receiver of another process", "if True:",
        f"{SENDING}a_notice_waits_an_hour_for_a_receiver_that_this_process_does_not_have",
    ),
    python(
        "a receiver that raises harms the others", f"{ROOM}/receivers.py", "receiver that raises",
        "except OSError as error:",
        f"{SENDING}a_receiver_that_raises_lets_no_other_be_told_twice",
    ),
    python(
        "counts that fail silence all alerts", f"{ROOM}/alerts.py", "counts that fail", "except OSError as error:",
        f"{SENDING}counts_that_fail_silence_no_other_alert",
    ),
    python(
        "a critical alert waits behind ten notices", f"{ROOM}/changes.py", "urgent", "if is_urgent:",
        f"{SENDING}beyond_ten_notices_what_is_critical_is_told_and_the_rest_comes_together",
    ),
    python(
        "an alert that comes back is told at once", f"{ROOM}/changes.py", "fired again", "if False:",
        f"{SENDING}an_alert_that_comes_back_is_told_an_hour_after_its_recovery",
    ),
    python(
        "the last subjects by alphabet are known", f"{ROOM}/changes.py", "subjects told last",
        'alert["told_at"], alert["told"] = now, sorted({*earlier, *subjects})[-MAX_TOLD:]',
        f"{RULES}the_subjects_that_were_told_last_are_known",
    ),
    python(
        "the first names by alphabet are kept", f"{ROOM}/standing.py", "names that were not told",
        "return cut[:MAX_NAMES]",
        f"{RULES}a_further_model_is_told_though_ten_are_before_it_by_alphabet",
    ),
    python(
        "a refused account is well when its refusals are forgotten", f"{ROOM}/rules.py", "forgotten refusals",
        "elif False:",
        f"{RULES}a_refused_account_stands_until_a_submission_is_accepted",
    ),
    python(
        "one forbidden model is a refused account", f"{ROOM}/rules.py", "one refused model", "return True",
        f"{RULES}one_model_that_is_forbidden_once_is_no_refused_account",
    ),
    python(
        "a pause that has ended is told", f"{ROOM}/rules.py", "pause that is over", "is_on = True",
        f"{RULES}a_pause_that_has_ended_is_told_no_more",
    ),
    python(
        "a failure beside a look cuts it off", "shared/dispatch/tick.py", "failure beside a look",
        "except OSError as error:",
        f"{SENDING}a_failure_beside_a_look_cuts_off_no_notice",
    ),
    lua(
        "one owner's lanes hide those of others", "alert_look", "lanes of one owner", "taken[owner] = 1",
        f"{RULES}an_owner_of_many_lanes_hides_no_failing_host",
    ),
    python(
        "any number of notices goes out in an hour", f"{ROOM}/changes.py", "notices an hour", "return False",
        f"{TELLING}more_than_ten_notices_an_hour_wait_and_come_together",
    ),
    python(
        "another job goes on waiting where the last one has started", f"{ROOM}/changes.py", "mark",
        "is_same = known is not None",
        f"{RULES}a_job_that_a_slot_was_freed_for_just_now_is_no_alert",
    ),
    python(
        "a finding is told at once", f"{ROOM}/changes.py", "lasts", '"fired_at": fired_at or now,',
        f"{RULES}a_slow_store_is_told_after_three_looks",
    ),
    python(
        "an alert recovers at the first look without it", f"{ROOM}/changes.py", "flapping",
        'return bool(alert["clear_at"])',
        f"{TELLING}a_trouble_that_comes_and_goes_is_one_alert",
    ),
    python(
        "a silence silences nothing", f"{ROOM}/changes.py", "silenced", 'elif alert["fired_at"]:',
        f"{BOARD}a_silence_keeps_an_alert_from_being_told_until_it_ends",
    ),
    python(
        "each further model is told at once", f"{ROOM}/changes.py", "told again", 'elif alert["clear_at"]:',
        f"{RULES}a_further_model_is_told_an_hour_later_and_once",
    ),
    python(
        "a figure next to its threshold flaps", f"{ROOM}/rules.py", "eased bound", "return threshold",
        f"{RULES}a_figure_next_to_its_threshold_does_not_flap",
    ),
    python(
        "a few failures are a rate", f"{ROOM}/rules.py", "few ends",
        "rates = {model: 100 * e.failed / e.all for model, e in seen.ends.items() if e.all}",
        f"{RULES}a_few_failures_are_no_rate",
    ),
    python(
        "a silence never ends", f"{ROOM}/silences.py", "end of a silence", "return [*kept]",
        f"{BOARD}a_silence_keeps_an_alert_from_being_told_until_it_ends",
    ),
    python(
        "any number of silences is kept", f"{ROOM}/board.py", "silences", "if False:",
        f"{BOARD}silences_are_bounded",
    ),
    python(
        "a tick never looks for alerts", "shared/dispatch/tick.py", "looks beside the rest", "looks = []",
        "tests/alerts/test_receivers.py::test_receivers_that_hang_delay_no_job",
    ),
)  # fmt: skip
