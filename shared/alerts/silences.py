"""Silences: what the operator does not want to be told for a while, and why."""

import json
import secrets
from collections.abc import Iterable
from typing import TypedDict

from shared.alerts.order import ALL
from shared.alerts.standing import Alert

MAX_SILENCES = 50


class Silence(TypedDict):
    """``alert`` is an alert's name, its key, or ALL. Times in ms."""

    id: str
    alert: str
    until: int
    reason: str
    created_at: int


def read_silences(text: str, now: int) -> list[Silence]:
    """Returns the silences that have not ended; none for a text that cannot be read."""
    try:
        kept: list[Silence] = json.loads(text or "{}").get("silences", [])
        return [silence for silence in kept if silence["until"] > now]  # mutant: end of a silence
    except (ValueError, TypeError, KeyError, AttributeError):
        return []


def write_silences(silences: Iterable[Silence]) -> str:
    """Returns them as text, with a mark that makes the text unlike all before."""
    return json.dumps({"mark": secrets.token_hex(6), "silences": [*silences]}, separators=(",", ":"))


def silenced(alerts: Iterable[Alert], silences: Iterable[Silence]) -> dict[str, int]:
    """Returns the keys of the alerts that are not told, and until when (ms)."""
    until = {}
    for alert in alerts:
        ends = [s["until"] for s in silences if s["alert"] in (ALL, alert["name"], alert["key"])]
        if ends:
            until[alert["key"]] = max(ends)
    return until
