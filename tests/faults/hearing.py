"""What shared/ logs as an error and goes on after: in these runs only lost answers of the store may be among it."""

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

EXPECTED = ("StoreUncertain",)
NEVER = ("slot_without_run", "event_unreadable")

_heard: list[str] = []


def heard() -> list[str]:
    """What was heard since the last time, and should not have been."""
    found = _heard[:]
    _heard.clear()
    return found


@contextmanager
def listening() -> Iterator[None]:
    """Listens to the logs, and writes none of them, until the block ends."""
    before = structlog.get_config()
    _heard.clear()
    structlog.configure(
        processors=[_hear], wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        cache_logger_on_first_use=False,
    )  # fmt: skip
    try:
        yield
    finally:
        structlog.configure(**before)


def _hear(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if event["event"] in NEVER or event.get("error", EXPECTED[0]) not in EXPECTED:
        _heard.append(f"{event['event']} {event.get('error', '')}")
    raise structlog.DropEvent
