"""What this process has counted itself, until it is sent to the store.

Refusals, calls of providers, looks into the cache, copies and deliveries cost no command when they happen. A process
sends what it has counted as one entry of the statistics; see shared/statistics/sending.py for when. What a process has
not sent when it ends is lost.
"""

import json
import secrets
from collections.abc import Mapping

from shared.clock import Clock
from shared.frozen import dataclass
from shared.sums import Sums

MINUTE = 60_000  # ms
MAX_MINUTES = 60  # that wait, while the store takes nothing; later ones join the last


@dataclass(frozen=True)
class Part:
    """What belongs to one moment (ms)."""

    at: int
    sums: Sums


@dataclass(frozen=True)
class Sent:
    """What a process has counted. Its numbers grow, and each of them counts once."""

    process: str
    number: int
    parts: tuple[Part, ...]

    @classmethod
    def read(cls, text: str) -> "Sent":
        """Reads ``written``. Raises ValueError, LookupError, TypeError or AttributeError if it is something else."""
        found = json.loads(text)
        parts = tuple(Part(int(at), _amounts(of)) for at, of in found["parts"])
        return cls(str(found["process"]), int(found["number"]), parts)

    def written(self) -> str:
        parts = [[part.at, part.sums.of] for part in self.parts]
        return json.dumps({"process": self.process, "number": self.number, "parts": parts}, separators=(",", ":"))


def _amounts(of: Mapping[str, Mapping[str, int]]) -> Sums:
    return Sums({series: {name: int(number) for name, number in amounts.items()} for series, amounts in of.items()})


class Tally:
    """Counts for this process.

    ``since`` and ``urgent_since`` (ms) are when the oldest of what waits was counted, 0 for none.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._process = secrets.token_hex(6)
        self._number = 0
        self._minutes: dict[int, Sums] = {}
        self._sent: Sent | None = None
        self.since = 0
        self.urgent_since = 0

    def count(self, name: str, number: int = 1, *, series: str = "", is_urgent: bool = False) -> None:
        """Adds to an amount. What ``is_urgent`` is sent sooner."""
        self._now_of(is_urgent).count(series, name, number)

    def time(self, name: str, ms: int, *, series: str = "") -> None:
        """Adds a duration to a histogram."""
        self._now_of(False).time(series, name, ms)

    def _now_of(self, is_urgent: bool) -> Sums:
        now = self._clock.now()
        self.since = self.since or now
        if is_urgent:
            self.urgent_since = self.urgent_since or now
        minute = now // MINUTE
        if minute not in self._minutes and len(self._minutes) >= MAX_MINUTES:
            return self._minutes[max(self._minutes)]
        return self._minutes.setdefault(minute, Sums())

    def take(self) -> Sent | None:
        """Returns what has to be sent now: again what was sent without an answer, or all that waits."""
        if self._sent is None and self._minutes:
            self._number += 1
            parts = tuple(Part(minute * MINUTE, sums) for minute, sums in self._minutes.items())
            self._sent = Sent(self._process, self._number, parts)
            self._minutes, self.since, self.urgent_since = {}, 0, 0
        return self._sent

    def confirm(self, sent: Sent) -> None:
        """Notes that this has arrived; what was taken since still waits for its answer."""
        if self._sent is sent:  # mutant: what was confirmed
            self._sent = None
