"""The logger of a process that serves is made once."""

from collections.abc import Iterator

import pytest
import structlog

from shared.log import configure_logs, log


@pytest.fixture(autouse=True)
def before() -> Iterator[None]:
    saved = structlog.get_config()
    yield
    vars(log).pop("bind", None)
    structlog.configure(**saved)


def test_a_final_logger_is_made_once_and_another_configuration_makes_it_anew(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("INFO", is_final=True)
    log.info("first")
    assert log.bind() is log.bind()
    configure_logs("ERROR")
    log.info("second")
    assert log.bind() is not log.bind()
    printed = capsys.readouterr().out
    assert "first" in printed and "second" not in printed
