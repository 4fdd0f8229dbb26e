"""Pages of `GET /v1/predictions`: newest first, a hundred each, linked by opaque cursors."""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from local.simulator.prediction import Prediction
from local.simulator.refusals import invalid

PAGE = 100
"""Predictions on a page (Replicate's HTTP reference)."""


def page(newest_first: Sequence[Prediction], address: str, query: dict[str, str], now: float) -> dict[str, Any]:
    """Returns one page with its `next` and `previous` URLs, null at the ends."""
    found = _between(newest_first, query)
    start = _position(found, query.get("cursor"))
    shown = found[start : start + PAGE]
    bounds = {name: query[name] for name in ("created_after", "created_before") if name in query}

    def link(cursor: str) -> str:
        return f"{address}?{urlencode(bounds | {'cursor': _encoded(cursor)})}"

    return {
        "next": link(f"older:{shown[-1].serial}") if start + PAGE < len(found) else None,
        "previous": link(f"newer:{shown[0].serial}") if shown and start > 0 else None,
        "results": [prediction.shown(now) for prediction in shown],
    }


def _between(newest_first: Sequence[Prediction], query: dict[str, str]) -> list[Prediction]:
    after = _moment(query.get("created_after"), "created_after", float("-inf"))
    before = _moment(query.get("created_before"), "created_before", float("inf"))
    return [each for each in newest_first if after <= each.created_at < before]


def _moment(given: str | None, name: str, default: float) -> float:
    if given is None:
        return default
    try:
        # An unescaped "+" of an offset arrives as a space.
        moment = datetime.fromisoformat(given.replace(" ", "+"))
    except ValueError:
        raise invalid(f"- {name}: Does not match format 'date-time'\n") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _position(found: list[Prediction], cursor: str | None) -> int:
    """Returns where the cursor's page begins; later predictions do not shift it."""
    if cursor is None:
        return 0
    try:
        direction, _, text = base64.urlsafe_b64decode(cursor).decode().partition(":")
        serial = int(text)
    except (binascii.Error, ValueError):
        raise invalid("- cursor: Invalid cursor\n") from None
    if direction == "older":
        return sum(each.serial >= serial for each in found)
    return max(0, sum(each.serial > serial for each in found) - PAGE)


def _encoded(cursor: str) -> str:
    return base64.urlsafe_b64encode(cursor.encode()).decode()
