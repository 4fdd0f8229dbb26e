"""What stands, and what was told of it. The store keeps it as one JSON text, so that one write changes all of it."""

import functools
import json
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # which pydantic reads in any release of Python

from shared.alerts.catalogue import Severity
from shared.config.alerts import AlertName

ChangeWord = Literal["fired", "more", "reminder", "recovered"]
MAX_NAMES = 10  # of an alert, that are kept
MAX_NAME = 120  # characters


class Alert(TypedDict):
    """An alert that stands, or whose finding has not lasted long enough. Times in ms; 0: not yet.

    ``clear_at``: since when there is no finding. ``told``: of which subjects.
    """

    key: str
    name: AlertName
    about: str
    severity: Severity
    begun_at: int
    fired_at: int
    told_at: int
    clear_at: int
    text: str
    figures: dict[str, float]
    names: list[str]
    mark: str
    told: list[str]


class Change(TypedDict):
    """What a notice says of one alert. ``name`` may be an alert of another release, which has made the notice."""

    word: ChangeWord
    key: str
    name: str
    severity: Severity
    since: int
    text: str
    figures: dict[str, float]
    names: list[str]


class Notice(TypedDict):
    """Changes that are told together. ``left``: which receivers lack it, with how often each was tried, and when next.

    ``id`` is the same at each try.
    """

    id: str
    at: int
    changes: list[Change]
    left: dict[str, Annotated[list[int], Field(min_length=2, max_length=2)]]


class Count(TypedDict):
    """A counter as it was seen last, and its growths of the last hour by when they were seen."""

    last: int
    grown: list[list[int]]


@dataclass
class State:
    """All of it. ``notices`` are still to be sent; ``sent_at`` has when those of the last hour were made.

    ``recovered``: by key, which recoveries were told lately, and when.
    """

    began_at: int = 0
    alerts: dict[str, Alert] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    sent_at: list[int] = field(default_factory=list)
    counts: dict[str, Count] = field(default_factory=dict)
    recovered: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> "State":
        """Returns what the text holds, without what this release does not know; a new state for what is no state."""
        try:
            kept = json.loads(text or "{}")
        except ValueError:
            return cls()
        if not isinstance(kept, dict):
            return cls()
        return cls(
            kept["began_at"] if _fits(int, kept.get("began_at")) else 0,
            _fitting(Alert, kept.get("alerts")),
            [notice for notice in _listed(kept.get("notices")) if _fits(Notice, notice)],
            [at for at in _listed(kept.get("sent_at")) if _fits(int, at)],
            _fitting(Count, kept.get("counts")),
            _fitting(int, kept.get("recovered")),
        )

    def written(self) -> str:
        """Returns it as text, with a mark that makes the text unlike all before."""
        return json.dumps({"mark": secrets.token_hex(6), **vars(self)}, separators=(",", ":"))

    def is_like(self, text: str) -> bool:
        """Whether the text holds the same."""
        return bool(text) and vars(State.read(text)) == vars(self)

    @property
    def fired(self) -> list[Alert]:
        """The alerts that stand, the longest first."""
        return sorted((alert for alert in self.alerts.values() if alert["fired_at"]), key=lambda a: a["fired_at"])


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _fits(kind: Any, value: object) -> bool:
    """Whether a value of a JSON text is of this kind."""
    try:
        _adapter(kind).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def _fitting(kind: Any, values: object) -> dict[str, Any]:
    """Returns the entries whose values are of this kind."""
    return {name: value for name, value in values.items() if _fits(kind, value)} if isinstance(values, dict) else {}


def _listed(values: object) -> list[Any]:
    return values if isinstance(values, list) else []


def change_of(word: ChangeWord, alert: Alert) -> Change:
    """Returns what a notice says of an alert now."""
    return {
        "word": word,
        "key": alert["key"],
        "name": alert["name"],
        "severity": alert["severity"],
        "since": alert["begun_at"],
        "text": alert["text"],
        "figures": alert["figures"],
        "names": alert["names"],
    }


def bounded(names: Iterable[str], told: Collection[str] = ()) -> list[str]:
    """Returns names as they are kept: so many of them, each so long, in one line; first those that were not told."""
    cut = [" ".join(name.split())[:MAX_NAME] for name in names]
    return sorted(cut, key=lambda name: name in told)[:MAX_NAMES]  # mutant: names that were not told


def counted(state: State, name: str, value: int, now: int, within: int) -> int:
    """Returns by how much a counter has grown in the last ``within`` ms, and notes it."""
    count = state.counts.setdefault(name, {"last": value, "grown": []})
    grown = [pair for pair in count["grown"] if now - pair[0] < within]
    # A store that was set back has less than before: then it is counted from there on.
    if value > count["last"]:
        grown.append([now, value - count["last"]])
    state.counts[name] = {"last": value, "grown": grown}
    return sum(number for _, number in grown)
