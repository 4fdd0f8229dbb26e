"""What a line of the log is: JSON for machines, text for people, and never more than one line for an event."""

import json
from collections.abc import Iterator

import pytest
import structlog

from shared.log import configure_logs, log

HOSTILE = 'ada\r\n{"event": "forged"}\x1b[2J'


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    saved = structlog.get_config()
    yield
    vars(log).pop("bind", None)
    structlog.configure(**saved)


def test_production_writes_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO")
    log.warning("refused", user=HOSTILE)
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert (found["event"], found["level"], found["user"]) == ("refused", "warning", HOSTILE)
    assert found["timestamp"].endswith("Z")


def test_people_get_text_without_colours_in_a_file_and_one_line_for_an_event(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("INFO", is_for_people=True)
    log.warning("refused", user=HOSTILE, count=3)
    (line,) = capsys.readouterr().out.splitlines()
    assert "refused" in line and "count=3" in line and "\x1b" not in line
    assert line[2] == line[5] == ":"


def test_an_exception_shows_people_its_lines_and_no_variable(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", is_for_people=True)
    prompt = "canary" + "-of-a-prompt"
    try:
        _ = 1 / (len(prompt) - len(prompt))
    except ZeroDivisionError:
        log.exception("round_job_failed", job="job_1")
    written = capsys.readouterr().out
    assert "ZeroDivisionError" in written and prompt not in written
