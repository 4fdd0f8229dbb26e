"""Mutants of the log, of reports and of traces."""

from tests.mutants.mutant import Mutant, python

REPORTS = "tests/telemetry/test_reports.py::test_"
TRACES = "tests/telemetry/test_traces.py::test_"
REASONS = "tests/http/test_reasons.py::test_"

MUTANTS: tuple[Mutant, ...] = (
    python(
        "a flood of refusals floods the log",
        "shared/log.py",
        "bounded repeats",
        "if False:",
        f"{REASONS}a_flood_of_refusals_is_one_line_in_ten_seconds_with_their_count",
    ),
    python(
        "a process remembers any number of kinds of lines",
        "shared/log.py",
        "bounded kinds",
        "pass",
        f"{REASONS}a_kind_is_written_anew_after_a_while_and_the_kinds_are_bounded",
    ),
    python(
        "beyond the kinds that are told apart each line is written",
        "shared/log.py",
        "other kinds",
        "pass",
        f"{REASONS}beyond_the_kinds_that_are_told_apart_the_rest_is_one_line",
    ),
    python(
        "each lost answer of the store is a line",
        "shared/store/rest.py",
        "bounded store repeats",
        "if count := 1:",
        f"{REASONS}lost_answers_of_the_store_are_one_line_in_ten_seconds",
    ),
    python(
        "a user's flag decides what is exported",
        "shared/runtime.py",
        "trace of a user",
        "tracing.note_caller(self._request.headers)",
        f"{TRACES}a_users_token_cannot_bring_a_trace_that_the_operator_pays_for",
    ),
    python(
        "the keys of files have the trace",
        "shared/storage/layout.py",
        "trace in a key",
        "folder, own = job_folder(completed_at, owner, user, job_id), incarnation",
        f"{TRACES}no_key_of_a_file_has_the_trace",
    ),
    python(
        "a collector's key goes to a public host without encryption",
        "shared/config/telemetry.py",
        "headers in the open",
        "if False:",
        f"{TRACES}a_wrong_setting_of_the_collector_is_named_with_all_other_faults",
    ),
    python(
        "a name that a caller made up is logged",
        "shared/requests/refusals.py",
        "field of the caller",
        "if error.field is not None:",
        f"{REASONS}a_field_that_the_caller_made_up_is_not_logged[deep]",
    ),
    python(
        "a report has the texts of foreign exceptions",
        "shared/telemetry/reports.py",
        "foreign text",
        "pass",
        f"{REPORTS}an_unhandled_error_is_there_before_the_answer_with_nothing_of_the_request",
    ),
    python(
        "a report has the variables of the code",
        "shared/telemetry/reports.py",
        "variables",
        "include_local_variables=True,",
        f"{REPORTS}an_unhandled_error_is_there_before_the_answer_with_nothing_of_the_request",
    ),
    python(
        "each answer waits for a Sentry that hangs",
        "shared/telemetry/flushing.py",
        "no patience left",
        "pass",
        f"{REPORTS}a_sentry_that_hangs_holds_one_answer_for_a_moment_and_no_other_for_a_minute",
    ),
    python(
        "each answer has a flush of its own",
        "shared/telemetry/flushing.py",
        "one flush for all",
        "if True:",
        f"{TRACES}each_answer_begins_no_flush_while_one_waits_for_its_turn",
    ),
    python(
        "after a rest, all answers try a receiver that hangs",
        "shared/telemetry/flushing.py",
        "one answer tries",
        "pass",
        f"{TRACES}after_a_minute_one_answer_tries_a_collector_that_hangs_and_the_others_go_on",
    ),
    python(
        "a busy collector counts as one that hangs",
        "shared/telemetry/spans.py",
        "ticket",
        "return self._state.wait_for(lambda: self.is_empty, seconds)",
        f"{TRACES}a_collector_that_answers_while_others_add_spans_is_none_that_hangs",
    ),
    python(
        "libraries write lines with the collector's URL",
        "shared/log.py",
        "foreign lines",
        "for name in ():",
        f"{TRACES}lost_spans_are_one_line_of_the_log_and_no_library_writes_the_url",
    ),
    python(
        "any number of spans is kept",
        "shared/telemetry/spans.py",
        "bounded spans",
        "self._spans: deque[ReadableSpan] = deque()",
        f"{TRACES}a_collector_in_trouble_delays_no_job_and_keeps_a_bounded_number_of_spans[hangs]",
    ),
)
