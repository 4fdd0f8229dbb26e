"""Sums that can be added up: counts by name, and histograms with fixed buckets, of all jobs and by series.

A series is ``queue|provider|model``; the series '' has what belongs to none. A name may have parts, as
``failed.timeout``. A histogram's name has its bucket behind a colon: ``wait:3``; ``wait:ms`` is the sum of its values.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping

from shared.frozen import dataclass

# s; the upper bounds of the buckets. They are final: sums in the store go by their places. One more is above them all.
BOUNDS = (
    0.25, 0.5, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 450, 600, 900,
    1800, 3600, 7200, 14400, 28800, 86400,
)  # fmt: skip
# Counters of the store's own that the sums have too: each gains when something happens that is not an end.
EVENTS = (
    "retried", "snoozed", "unknown", "reported", "adopted", "missed", "rescued", "settled", "doubled", "replaced",
    "missing", "batches", "files_stored", "files_given_up", "files_foreign", "undelivered",
)  # fmt: skip
Amounts = dict[str, int]


@dataclass(frozen=True)
class Histogram:
    """How many values fell into each bucket, and their sum in ms."""

    counts: tuple[int, ...]
    total_ms: int

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile(self, part: float) -> float | None:
        """Returns the value in s that this part of all values stay below, as far as buckets tell; None without any.

        Within its bucket it is interpolated; above the last bound it is that bound.
        """
        rank, below = part * self.count, 0
        for place, count in enumerate(self.counts):
            if count and below + count >= rank:
                if place == len(BOUNDS):
                    return float(BOUNDS[-1])
                low = BOUNDS[place - 1] if place else 0.0
                return round(low + (BOUNDS[place] - low) * (rank - below) / count, 3)
            below += count
        return None


class Sums:
    """Amounts by series. Two of them can be added, whatever they count."""

    def __init__(self, of: Mapping[str, Amounts] | None = None) -> None:
        self.of: dict[str, Amounts] = {series: dict(amounts) for series, amounts in (of or {}).items()}

    @classmethod
    def read(cls, text: str | None) -> "Sums":
        """Returns the sums that a text of ``written`` has; none of a missing text."""
        return cls(json.loads(text)) if text else cls()

    def written(self) -> str:
        return json.dumps(self.of, separators=(",", ":"))

    def count(self, series: str, name: str, number: int = 1) -> None:
        """Adds to an amount."""
        amounts = self.of.setdefault(series, {})
        amounts[name] = amounts.get(name, 0) + number

    def time(self, series: str, name: str, ms: int) -> None:
        """Adds a duration to a histogram."""
        ms = max(0, ms)
        self.count(series, f"{name}:{bisect_left(BOUNDS, ms / 1000)}")
        self.count(series, f"{name}:ms", ms)

    def add(self, other: "Sums") -> None:
        """Adds all of another one's amounts."""
        for series, amounts in other.of.items():
            for name, number in amounts.items():
                self.count(series, name, number)

    def without(self, model: str, heir: str) -> "Sums":
        """Returns the same sums, but those of a model belong to another one."""
        moved = Sums()
        for series, amounts in self.of.items():
            is_of_model = series.split("|", 2)[-1] == model
            moved.add(Sums({series.removesuffix(model) + heir if is_of_model else series: amounts}))
        return moved

    def grouped(self, by: str) -> dict[str, Amounts]:
        """The amounts of the series by their queue, provider or model; under '' the sum of them all."""
        place = ("queue", "provider", "model").index(by) if by else None
        groups = Sums()
        for series, amounts in self.of.items():
            group = series.split("|", 2)[place] if series and place is not None else ""
            groups.add(Sums({group: amounts}))
        return groups.of


def histogram(amounts: Amounts, name: str) -> Histogram:
    """Returns a histogram among amounts; an empty one if there is none."""
    counts = tuple(amounts.get(f"{name}:{place}", 0) for place in range(len(BOUNDS) + 1))
    return Histogram(counts, amounts.get(f"{name}:ms", 0))


def parts(amounts: Amounts, name: str) -> dict[str, int]:
    """Returns the amounts whose names begin so, by what follows: those of ``failed.timeout`` under ``timeout``."""
    start = f"{name}."
    return {key[len(start) :]: number for key, number in sorted(amounts.items()) if key.startswith(start)}
