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
        "if False:",
        f"{REASONS}a_kind_is_written_anew_after_a_while_and_the_kinds_are_bounded",
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
        "any number of spans is kept",
        "shared/telemetry/spans.py",
        "bounded spans",
        "self._spans: deque[ReadableSpan] = deque()",
        f"{TRACES}a_collector_in_trouble_delays_no_job_and_keeps_a_bounded_number_of_spans[hangs]",
    ),
)
