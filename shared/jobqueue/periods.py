"""The days and months of UTC that budgets are for."""

import math
from datetime import UTC, datetime, timedelta


def month_of(now: int) -> str:
    """The month that a moment (ms) is in, such as ``202611``."""
    return _moment(now).strftime("%Y%m")


def begins_in(period: str, now: int) -> int:
    """In how many s the next ``day`` or ``month`` begins, rounded up."""
    today = _moment(now).replace(hour=0, minute=0, second=0, microsecond=0)
    following = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    begins = following if period == "month" else today + timedelta(days=1)
    return math.ceil(begins.timestamp() - now / 1000)


def _moment(now: int) -> datetime:
    return datetime.fromtimestamp(now / 1000, UTC)
