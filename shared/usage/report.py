"""What the operator sees of the count: months, the present one's end, and the bill."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from shared.clock import iso
from shared.documents.usage import CountedMonth, UsageDocument
from shared.usage.counting import PERIOD
from shared.usage.prices import COMMANDS_UNIT, Prices, load
from shared.usage.usage import Month, Usage

MAX_MONTHS = 13  # as many as are kept


def _count(value: object) -> int:
    """Returns a number in a query."""
    if not (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 3):
        raise ValueError(f"must be a number from 1 to {MAX_MONTHS}")
    return int(value)


class UsageQuery(BaseModel):
    """The query of ``GET /api/operate/usage``: how many months, the present one among them."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    months: Annotated[int, Field(ge=1, le=MAX_MONTHS), BeforeValidator(_count)] = 2


class UsageReport:
    """Shows the count, with prices of this release."""

    def __init__(self, usage: Usage, *, is_counting: bool) -> None:
        self._usage = usage
        self._is_counting = is_counting
        self._prices = load()

    async def view(self, query: UsageQuery) -> UsageDocument:
        """Returns so many months, and the forecast of the present one; a command for each month, and two at least."""
        months = [await self._usage.month(before) for before in range(max(2, query.months))]
        outlook = self._usage.outlook_of(*months[:2])
        dollars = self._prices.commands
        return {
            "is_counting": self._is_counting,
            "one_call_in": PERIOD,
            "months": [_shown(month, self._prices) for month in months[: query.months]],
            "forecast": {
                "commands": outlook.forecast,
                "dollars": round(dollars(outlook.forecast), 2),
                "quota": outlook.quota,
                "quota_used": None if outlook.used is None else round(outlook.used, 4),
                "quota_ends_at": iso(outlook.quota_ends_at),
            },
            "price": {
                "dollars": dollars(COMMANDS_UNIT),
                "commands": COMMANDS_UNIT,
                "read_on": self._prices.date.isoformat(),
            },
        }


def _shown(month: Month, prices: Prices) -> CountedMonth:
    return {
        "month": month.name,
        "commands": month.commands,
        "dollars": round(prices.commands(month.commands), 2),
        "by_day": {day.isoformat(): count for day, count in month.by_day.items()},
        "by_operation": dict(month.by_operation),
    }
