"""What folds know of those before them, and what one fold takes from the stream."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from shared.config.settings import Settings
from shared.jobqueue.constants import PROVIDERS
from shared.jobqueue.terms import provider_in
from shared.statistics.entries import OF_JOBS, read_jobs
from shared.statistics.models import OTHER, Models
from shared.sums import Sums
from shared.tally import MINUTE, Part, Sent

MAX_AHEAD = 120_000  # ms; a later time comes from a wrong clock
MAX_PROCESSES = 500  # whose last numbers are kept
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, OverflowError)  # what an entry of another form raises


@dataclass
class Ledger:
    """What folds know of those before them. Times in ms.

    ``upto``: the last entry that is summed. ``counters``: the store's own, as the last fold has met them.
    ``processes``: the last number of each that has sent sums. ``cleaned``: no minute before this one is left.
    """

    since: int
    upto: str = "0-0"
    counters: dict[str, int] = field(default_factory=dict)
    processes: dict[str, int] = field(default_factory=dict)
    models: dict[str, list[int]] = field(default_factory=dict)
    cleaned: int = 0

    @classmethod
    def read(cls, text: str) -> "Ledger":
        """Reads it by the names that this release knows: another one may write more, or fewer."""
        found, known = json.loads(text), {one.name for one in fields(cls)}
        return cls(**{"since": 0} | {name: value for name, value in found.items() if name in known})

    def written(self) -> str:
        return json.dumps(vars(self), separators=(",", ":"))


def place_of(entry: str) -> tuple[int, int]:
    """Returns an entry's id as numbers that can be compared."""
    ms, _, number = entry.partition("-")
    return int(ms), int(number)


class Batch:
    """What one fold sums; it brings the ledger up to date.

    An entry that cannot be read, as one of another release, is counted and skipped: it must not stop all folds.
    """

    def __init__(self, ledger: Ledger, settings: Settings, now: int) -> None:
        self.parts: list[Part] = []
        self.models = Models(ledger.models)
        self.unreadable = 0  # entries
        self.minutes: set[int] = set()  # that its parts belong to
        self._newest = 0  # ms; of what could be read
        self._ledger = ledger
        self._clock_says = now
        self._queues = {queue.number: queue.name for queue in settings.queue_list}

    @property
    def now(self) -> int:
        """The time (ms) as this process has it, but not long after the newest entry: its clock may be ahead.

        With a clock ahead by days, a fold would drop the minutes of today.
        """
        latest = self._newest + MAX_AHEAD if self._newest else self._clock_says  # mutant: fast clock
        return min(self._clock_says, latest)

    @property
    def cleaned_until(self) -> int:
        """The time (ms) by which a field may be too old; 0 if no entry says that it has come."""
        return self.now if self._newest else 0

    def take(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Takes an entry's fields."""
        for name, text in pairs:
            try:
                if name == OF_JOBS:
                    self._take_part(read_jobs(text, self._series_of))
                else:
                    self._take_sent(Sent.read(text))
            except UNREADABLE:  # mutant: unreadable entry
                self.unreadable += 1
        self._ledger.models = self.models.known

    def take_counters(self, counters: dict[str, int], *, is_first: bool) -> None:
        """Takes what the store's own counters have gained; of the first fold nothing, since it knows none before."""
        gained = Sums()
        for name, value in counters.items():
            before = self._ledger.counters.get(name, 0)
            # A store that was restored may count less than before.
            if value > before and not is_first:
                gained.count("", name, value - before)
        if self.unreadable:
            gained.count("", "unreadable", self.unreadable)
        self._ledger.counters = counters
        self._add(Part(self.now, gained))

    def _take_sent(self, sent: Sent) -> None:
        processes = self._ledger.processes
        last = processes.pop(sent.process, 0)
        processes[sent.process] = max(last, sent.number)  # behind all others: the first one is dropped first
        while len(processes) > MAX_PROCESSES:
            del processes[next(iter(processes))]
        if sent.number <= last:  # mutant: sums of a process once
            return
        for part in sent.parts:
            self._take_part(Part(part.at, self._bounded(part)))

    def _bounded(self, part: Part) -> Sums:
        """Returns a process' sums, with series of known models alone."""
        sums = Sums()
        for series, amounts in part.sums.of.items():
            queue, _, rest = series.partition("|")
            provider, _, model = rest.partition("|")
            name = self._name_of(model, part.at, completed=False) if series else ""
            sums.add(Sums({f"{queue}|{provider}|{name}" if series else "": amounts}))
        return sums

    def _take_part(self, part: Part) -> None:
        is_ahead = part.at > self._clock_says + MAX_AHEAD
        self._newest = max(self._newest, min(part.at, self._clock_says))
        self._add(Part(self._clock_says, part.sums) if is_ahead else part)

    def _add(self, part: Part) -> None:
        self.minutes.add(part.at // MINUTE)
        self.parts.append(part)

    def _series_of(self, lane: int, model: str, completed: bool, at: int) -> str:
        queue = self._queues.get(lane // PROVIDERS, OTHER)
        return f"{queue}|{provider_in(lane)}|{self._name_of(model, at, completed=completed)}"

    def _name_of(self, model: str, at: int, *, completed: bool) -> str:
        return self.models.name_of(model, min(at, self._clock_says), completed=completed)
