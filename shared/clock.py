"""The only source of time: whole milliseconds since the epoch.

Code asks a ``Clock``; no other module calls ``time.time``. Leases are the exception, because several machines compare
their deadlines: the scripts take the time from the store's clock (``TIME``). Only the clock of the tests replaces it.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol, overload

SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)


class Clock(Protocol):
    """The time, for this process and for the scripts."""

    def now(self) -> int:
        """Returns this process' time, ms since the epoch."""

    def lease_now(self) -> str:
        """Returns the time that scripts use for leases: '' for the store's clock, else ms as text."""

    async def sleep(self, seconds: float) -> None:
        """Returns after ``seconds`` have passed."""


class SystemClock:
    """The machine's clock; leases use the store's clock, because two machines' clocks may differ by minutes."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def lease_now(self) -> str:
        return ""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that a test moves by hand; scripts use it too. ``skew`` (ms) is this process' error."""

    def __init__(self, start: int = 1_800_000_000_000) -> None:
        self.true_now = start
        self.skew = 0

    def advance(self, seconds: float) -> None:
        self.true_now += round(seconds * 1000)

    def now(self) -> int:
        return self.true_now + self.skew

    def lease_now(self) -> str:
        return str(self.true_now)

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)


@overload
def iso(milliseconds: int) -> str: ...
@overload
def iso(milliseconds: None) -> None: ...
@overload
def iso(milliseconds: int | None) -> str | None: ...
def iso(milliseconds: int | None) -> str | None:
    """Returns the time as RFC 3339 text in UTC with milliseconds; None stays None."""
    if milliseconds is None:
        return None
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_retry_after(headers: Mapping[str, str], now: int) -> float | None:
    """Returns the s that an answer asks its caller to wait (RFC 9110, Retry-After); None if it asks for nothing.

    It is a number, of which some servers send fractions, or a date. A date counts from the answer's own ``Date``, so
    neither clock matters; without one from ``now`` (ms).
    """
    text = headers.get("retry-after", "").strip()
    if SECONDS.fullmatch(text):
        return float(text)
    until, sent = _date(text), _date(headers.get("date", ""))
    if until is None:
        return None
    return max(0.0, until - (now / 1000 if sent is None else sent))


def _date(text: str) -> float | None:
    """Returns the s since the epoch of a date in a header."""
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
