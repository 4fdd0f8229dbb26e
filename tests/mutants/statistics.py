"""Mutants of the statistics."""

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant, lua, python

FOLD = "shared/statistics/scripts/fold.lua"
FOLDING = "tests/statistics/test_folding.py::test_"


def fold(name: str, anchor: str, after: str, test: str, part: str = "") -> Mutant:
    """A mutant of the script that writes the sums; see Edit."""
    return Mutant(name, (Edit(FOLD, anchor, after, part),), (f"{FOLDING}{test}[memory]",))


MUTANTS: tuple[Mutant, ...] = (
    lua(
        "entries are written without the setting", "entries", "statistics off", "if #models == 0 then return end",
        f"{FOLDING}without_the_setting_nothing_is_written_and_nothing_is_read",
    ),
    lua(
        "a snooze that ends its job is not in its entry", "entries", "last snooze",
        "local snoozes, rescues = f.snoozes or '0', f.rescues or '0'",
        f"{FOLDING}a_snooze_and_a_rescue_that_end_their_job_count_too[memory]",
    ),
    fold(
        "a fold overwrites another one", "another fold", "",
        "a_fold_between_the_reads_of_another_one_makes_it_begin_again",
    ),
    fold(
        "a repeated fold writes its sums again", "summed twice",
        "redis.call('HSET', key.sums, 'mark', arg.mark, 'repeats', mark, unpack(rest.fields))",
        "a_repeated_fold_script_changes_nothing",
    ),
    fold(
        "summed entries stay in the stream", "entries dropped", "",
        "a_sweep_folds_once_enough_waits",
    ),
    python(
        "a sweep folds a single entry", "shared/statistics/folding.py", "few entries", "if False:",
        f"{FOLDING}a_sweep_folds_once_enough_waits[memory]",
    ),
    python(
        "entries that a fold has left in the stream count again", "shared/statistics/folding.py", "summed before",
        "if True:", f"{FOLDING}a_fold_that_stops_before_it_drops_its_entries_counts_them_once[memory]",
    ),
    python(
        "minutes are looked for that are gone", "shared/jobs/survey.py", "minutes of a day", "if False:",
        "tests/statistics/test_survey.py::test_a_query_that_cannot_be_answered_names_the_field[query5-step]",
    ),
    python(
        "refusals wait as long as all else", "shared/statistics/sending.py", "refusals soon", "is_urgent = False",
        "tests/statistics/test_sending.py::test_refusals_count_by_their_reason_a_minute_later[memory]",
    ),
    python(
        "what a process sends twice counts twice", "shared/statistics/ledger.py", "sums of a process once", "if False:",
        "tests/statistics/test_sending.py::test_what_is_sent_twice_counts_once[memory]",
    ),
    python(
        "an entry of another release stops all folds", "shared/statistics/ledger.py", "unreadable entry",
        "except MemoryError:",
        f"{FOLDING}an_entry_that_cannot_be_read_is_counted_and_stops_no_fold[memory-e-ended|soon]",
    ),
    python(
        "a bug in a fold ends the sweep", "shared/statistics/folding.py", "bug in a fold",
        "except MemoryError as error:",
        f"{FOLDING}a_bug_in_a_fold_ends_no_sweep[memory]",
    ),
    python(
        "short functions never fold", "shared/statistics/folding.py", "time to fold",
        "while budget.left > 5 * self._settings.store_total_timeout:",
        f"{FOLDING}a_sweep_has_time_to_fold_in_each_function[60-20]",
    ),
    python(
        "a late confirmation clears what is under way", "shared/tally.py", "what was confirmed", "if True:",
        "tests/statistics/test_sending.py::test_a_late_confirmation_clears_nothing_that_was_taken_since",
    ),
    python(
        "each version of a model takes a place", "shared/statistics/models.py", "versions of a model",
        "name = model[:MAX_NAME]", f"{FOLDING}versions_of_a_model_count_as_one",
    ),
    python(
        "models that once worked keep their places", "shared/statistics/models.py", "a silent model",
        "if not completed or works:",
        f"{FOLDING}a_model_that_works_takes_the_place_of_the_one_that_has_been_silent_for_longest",
    ),
    python(
        "a fold believes a clock that is days ahead", "shared/statistics/ledger.py", "fast clock",
        "latest = self._clock_says",
        f"{FOLDING}a_fold_by_a_clock_that_is_days_ahead_drops_no_minute_of_today[memory]",
    ),
    python(
        "a fold writes as many fields as it meets", "shared/statistics/folding.py", "fields of one fold", "if False:",
        f"{FOLDING}one_fold_writes_a_bounded_number_of_fields[memory]",
    ),
    python(
        "hours are looked for that are gone", "shared/jobs/survey.py", "hours of a quarter", "if False:",
        "tests/statistics/test_survey.py::test_a_query_that_cannot_be_answered_names_the_field[query6-from]",
    ),
    python(
        "a stranger's refusals are urgent", "shared/application.py", "refused strangers",
        'sending.tally.count(f"refused.{error.code}", is_urgent=True)',
        "tests/statistics/test_sending.py::test_a_flood_without_credentials_costs_no_command",
    ),
    python(
        "sums are sent to a store that fails", "shared/statistics/sending.py", "failing store",
        "if self.is_due:",
        "tests/statistics/test_sending.py::test_nothing_is_sent_after_the_store_has_failed_or_without_time[memory]",
    ),
    python(
        "an event sent again by hand counts as late", "shared/hooks/delivery.py", "asked for again",
        'if tried.word == "delivered":',
        "tests/statistics/test_sending.py::"
        "test_what_is_told_late_or_again_counts_as_long_as_its_owner_has_waited[memory]",
    ),
)  # fmt: skip
