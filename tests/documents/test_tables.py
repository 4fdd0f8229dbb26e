"""The tables of the documents agree with the code."""

import re
from collections.abc import Iterator
from typing import get_args

import pytest
from pydantic import BaseModel

from bench import fairness, isolation
from bench.trouble import troubles
from shared.alerts import errors as of_alerts
from shared.application import CODES
from shared.config.hooks import Event
from shared.config.limits import MAX_JOBS
from shared.config.settings import Settings
from shared.errors import InvalidRequest, Problem
from shared.hooks.event import MAX_BYTES as MAX_EVENT
from shared.jobs.batches import MAX_RESULTS, BatchRequest
from shared.jobs.listing import JobsQuery, LetterFilter
from shared.jobs.request import SubmitRequest
from shared.mail import errors as of_mail
from shared.providers.failures import ERROR_CLASSES, KNOWN_CLASSES
from shared.providers.wavespeed import WaveSpeedSettings
from shared.rates import errors as of_rates
from shared.storage.files import MAX_FILES, FileError, MediaError
from shared.verification import errors as of_codes
from tests.log_events import events
from tests.project import ROOT

DOCS = ROOT / "docs"
API, HOOKS, LIMITS = (
    (DOCS / page).read_text() for page in ("api.md", "results-and-hooks.md", "limits.md")
)  # fmt: skip
LEVELS = {"Errors": {"error", "exception"}, "Warnings": {"warning"}, "What is done": {"info", "debug"}}
CHOSEN_LATER = {"tick"}  # its level depends on what it did
# Times that follow from this one are shown as they are then.
FUNCTION_OF_60_S = {"function_max_duration": 60.0, "timing_scale": 1.0}


def section(text: str, heading: str) -> str:
    """The text of a document below a heading, up to the next heading."""
    level = heading.partition(" ")[0]
    return re.split(rf"\n#{{1,{len(level)}}} ", text.split(f"\n{heading}\n", 1)[1], maxsplit=1)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of each row of the tables of a text."""
    return [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]


def names(text: str, column: int = 0) -> set[str]:
    """All names in code in a column of the tables of a text."""
    return {found for row in rows(text) for found in re.findall(r"`([\w.-]+)`", row[column])}


def test_the_settings_table_is_the_settings() -> None:
    page = (DOCS / "settings.md").read_text()
    listed = [row[:2] for row in rows(page) if row[0].startswith("`")]
    shown = {name.strip("`"): default.strip("`") for name, default in listed}
    fields = {
        name.upper(): field for name, field in {**Settings.model_fields, **WaveSpeedSettings.model_fields}.items()
    }
    assert len(listed) == len(shown) and set(shown) == set(fields), set(shown) ^ set(fields)
    # The tables say these in words.
    in_words = {"QUEUE_PREFIX", "QUEUE_CONCURRENCY", "MAX_USER_QUEUED", "QUEUE_OPTIONS", "HOOKS"}
    for name, field in fields.items():
        if name not in in_words:
            default = field.get_default(call_default_factory=True, validated_data=FUNCTION_OF_60_S)
            text = "" if default is None else str(default)
            assert shown[name] == (text.lower() if isinstance(default, bool) else text), name
    assert len(names(section(page, "## The ten that everybody needs"))) == 10


async def test_the_calls_table_names_every_route() -> None:
    from functions.index import ROUTERS

    shown = re.findall(r"^\| `(GET|POST|PUT|PATCH|DELETE) (/api/[^`]+)` \|", section(API, "## Calls"), re.M)
    operations = [operation for router in ROUTERS for operation in router.operations()]
    # A GET that answers HEAD too is one call.
    assert len(shown) == len(set(shown)) and set(shown) == {
        (method, path.replace("{job_id}", "{id}").replace(":path}", "}"))
        for method, path in operations
        if method != "HEAD"
    }


def test_the_reference_names_every_field_that_a_request_may_have() -> None:
    models: tuple[tuple[type[BaseModel], str], ...] = (
        (SubmitRequest, "## Submit"), (BatchRequest, "## Batches"), (JobsQuery, "## List"),
    )  # fmt: skip
    for model, heading in models:
        assert set(model.model_fields) - names(section(API, heading)) == set(), heading
    assert set(LetterFilter.model_fields) <= names(section(API, "## Operator"), 1)


def problems(kind: type[Problem] = Problem) -> Iterator[type[Problem]]:
    for made in kind.__subclasses__():
        yield made
        yield from problems(made)


def test_the_errors_table_is_every_error() -> None:
    assert of_mail and of_codes and of_rates and of_alerts, "loaded, so that their errors are known"
    shown = [(row[0].strip("`"), row[1], row[3]) for row in rows(section(API, "## Errors")) if row[0].startswith("`")]
    expected = {(code, str(status), "no") for status, code in CODES.items()} | {("internal_error", "500", "yes")}
    expected |= {(InvalidRequest.code, "400, 408, 411, 413, 415, 422", "no"), ("not_completed", "409", "yes or no")}
    for problem in (kind for kind in problems() if hasattr(kind, "code")):
        if problem.code not in ("invalid_request", "not_completed") and problem.__module__.startswith("shared."):
            expected.add((problem.code, str(problem.http_status), "yes" if problem.retryable else "no"))
    assert set(shown) == expected and len(shown) == len(expected)


def test_the_classes_table_is_every_class_and_its_codes() -> None:
    table = section(API, "### Error classes")
    assert names(table) == set(KNOWN_CLASSES)
    own = {code.strip("`"): of_class.strip("`") for of_class, _, _, code in rows(table) if code.startswith("`")}
    assert own == ERROR_CLASSES


def test_the_tables_of_a_files_errors_are_every_error() -> None:
    _, of_copy, of_media = re.split(r"^\| `(?:media_)?error` \| why \|$", section(HOOKS, "## Results"), flags=re.M)
    of_files = {error for kind in get_args(FileError) for error in get_args(kind)}
    assert len(of_files) > 5 and names(of_copy.strip().split("\n\n", 1)[0]) == of_files
    assert names(of_media.strip().split("\n\n", 1)[0]) == set(get_args(MediaError))


def test_the_events_table_is_every_event() -> None:
    assert names(section(HOOKS, "### Events")) == set(get_args(Event))


def test_the_log_has_the_events_that_operating_lists_and_no_others() -> None:
    """A new event needs a row in the table of its level; the row says what happened, and what to do."""
    page = section((DOCS / "operating.md").read_text(), "## The log")
    written = events()
    assert len(written) > 80
    for heading, levels in LEVELS.items():
        at_level = {name for name, at in written.items() if at & levels}
        listed = names(section(page, f"### {heading}"))
        for start in [name for name in at_level if name.endswith("_")]:  # the rest of the name is a verb
            at_level = (at_level - {start}) | {name for name in listed if name.startswith(start)}
        assert at_level - listed == set(), heading
        assert listed - at_level <= CHOSEN_LATER, heading


def test_every_counter_has_a_row() -> None:
    scripts = "\n".join(path.read_text() for path in (ROOT / "shared/jobqueue/scripts").glob("*.lua"))
    counted = set(re.findall(r"'HINCRBY', [^,]*(?:stats|'st'), '(\w+)'", scripts))
    table = section((DOCS / "operating.md").read_text(), "## What to watch").split("| counter |", 1)[1]
    assert len(counted) > 5 and counted <= names("| counter |" + table.split("\n\n", 1)[0])


def test_the_limits_are_the_codes() -> None:
    for line in (
        f"| jobs of a batch | {MAX_JOBS} |",
        f"| results of a batch in one answer | {MAX_RESULTS} |",
        f"| files of one output that are copied | {MAX_FILES};",
        f"| body | {MAX_EVENT // 1000} KB;",
    ):
        assert line in LIMITS, line


@pytest.mark.exhaustive
@pytest.mark.timeout(600)  # a thousand jobs, ten times
async def test_the_fairness_table_is_what_the_bench_counts_and_meets_its_targets() -> None:
    measured, _ = await fairness.measure(fairness.JOBS)
    assert all(is_met for row in measured for is_met in row.targets().values())
    counted = {
        (row.scenario, row.policy.strip("()"), row.cap): (str(row.first_serve), f"{row.jain:.3f}", f"{row.ratio:.3f}")
        for row in measured
    }
    text = section((DOCS / "costs.md").read_text(), "## Fairness")
    shown = re.findall(r"^\| ([a-z0-9 ]+) \| `?(\w+)`? \| (\w+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \|$", text, re.M)
    assert len(shown) == 10
    for scenario, policy, cap, *figures in shown:
        assert counted[scenario, policy, cap] == tuple(figures), scenario


@pytest.mark.exhaustive
@pytest.mark.timeout(600)  # three hundred jobs, eight times
async def test_the_isolation_tables_are_what_the_bench_counts_and_meet_its_targets() -> None:
    measured = await isolation.measure(troubles(fairness.ISOLATION_JOBS))
    assert all(is_met for row in measured for is_met in row.targets().values())
    expected = {
        (row.scenario, "yes" if row.is_guilty else "no"): [
            f"{row.first_start:.0f} s", f"{row.mean:.1f} s", f"{row.p95:.0f} s", f"{row.longest:.0f} s",
            "" if row.full_again is None else f"{row.full_again:.0f} s",
        ]
        for row in measured
    }  # fmt: skip
    page = rows(section((DOCS / "costs.md").read_text(), "## Isolation"))[1:]
    assert {(scenario, is_there): figures for scenario, is_there, *figures in page} == expected
    short = rows(section((ROOT / "README.md").read_text(), "## The promise"))[1:]
    assert {scenario: figures for scenario, *figures in short} == {
        row.scenario: [f"{without.mean:.1f} s", f"{row.mean:.1f} s", f"{without.longest:.0f} s", f"{row.longest:.0f} s"]
        for without, row in zip(measured[::2], measured[1::2], strict=True)
    }
