"""Errors that shared/ logs and survives: only lost answers of the store are expected in these runs."""

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

EXPECTED = ("StoreUncertain", "StoreInterrupted")
NEVER = ("slot_without_run", "event_unreadable")

_unexpected: list[str] = []


def unexpected_errors() -> list[str]:
    """Returns the unexpected errors since the last call."""
    found = _unexpected[:]
    _unexpected.clear()
    return found


@contextmanager
def collecting_errors() -> Iterator[None]:
    """Collects logged errors, and writes no log, until the block ends."""
    before = structlog.get_config()
    _unexpected.clear()
    structlog.configure(
        processors=[_collect], wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        cache_logger_on_first_use=False,
    )  # fmt: skip
    try:
        yield
    finally:
        structlog.configure(**before)


def _collect(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if event["event"] in NEVER or event.get("error", EXPECTED[0]) not in EXPECTED:
        _unexpected.append(f"{event['event']} {event.get('error', '')}")
    raise structlog.DropEvent
