"""The document of what was counted of the billed commands."""

from typing import TypedDict


class CountedMonth(TypedDict):
    """The commands counted in a month, such as ``2026-11``, and their price in dollars; by day and by operation."""

    month: str
    commands: int
    dollars: float
    by_day: dict[str, int]
    by_operation: dict[str, int]


class CommandsForecast(TypedDict):
    """The commands at the present month's end, and their price, if it goes on like the last week.

    ``quota_used`` is the part of the quota that is used up; 1 is all. ``quota_ends_at`` is null if the month's end
    comes first.
    """

    commands: int
    dollars: float
    quota: int | None
    quota_used: float | None
    quota_ends_at: str | None


class CommandPrice(TypedDict):
    """What Upstash takes for each 100,000 commands, pay as you go, and when that was read."""

    dollars: float
    commands: int
    read_on: str


class UsageDocument(TypedDict):
    """``GET /api/operate/usage``; the present month comes first."""

    is_counting: bool
    one_call_in: int
    months: list[CountedMonth]
    forecast: CommandsForecast
    price: CommandPrice
