"""Mutants of alerts."""

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant, python

ROOM = "shared/alerts"
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
        "a receiver that fails is tried for ever", f"{ROOM}/alerts.py", "tries of a receiver", "if sent.has_come:",
        f"{TELLING}a_receiver_that_fails_is_tried_by_later_looks_and_then_left",
    ),
    python(
        "a receiver is tried before it wants to be", f"{ROOM}/alerts.py", "wait of a receiver",
        "wait = RETRIES[tries - 1]",
        f"{TELLING}a_receiver_is_not_tried_before_it_wants_to_be",
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
