"""What the scripts say must follow: rows of the outbox, each leased for a moment to the call that ran the script.

Each call collects its own rows, and those of the tasks that it starts, in a `Collector`; two calls in one process never
see each other's.
"""

from collections.abc import Callable
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Literal

from shared.clock import Clock


@dataclass(frozen=True)
class FollowUp:
    """Something to do for an ended job or for an event. ``noted_at`` in ms: the lease began no earlier.

    ``store``: store the files of job ``id``, as ``turn``. ``tell``: deliver ``event`` of the job or batch ``id``, whose
    host has failed before if ``is_probe``; ``is_asked_for`` by its owner, however old it is.
    """

    what: Literal["store", "tell"]
    id: str
    event: str = ""
    is_probe: bool = False
    is_asked_for: bool = False
    turn: int = 1
    noted_at: int = 0


@dataclass
class Collector:
    """The follow-ups of one call. ``is_more``: another row is due, which is leased to no caller yet.

    ``begin`` takes each row as soon as it is noted; without it, ``rows`` keeps them.
    """

    rows: list[FollowUp] = field(default_factory=list)
    is_more: bool = False
    begin: Callable[[FollowUp], None] | None = None

    def add(self, row: FollowUp) -> None:
        """Makes the row one of this call's follow-ups."""
        if self.begin is None:
            self.rows.append(row)
        else:
            self.begin(row)

    def take(self) -> list[FollowUp]:
        """The rows that were kept; they are kept no longer."""
        rows, self.rows = self.rows, []
        return rows


_of_call: ContextVar[Collector | None] = ContextVar("follow_ups", default=None)


def begin_collecting(collector: Collector) -> Token[Collector | None]:
    """From here on, also in the tasks that are started, what scripts note goes to this collector."""
    return _of_call.set(collector)


def end_collecting(token: Token[Collector | None]) -> None:
    """What scripts note goes where it went before."""
    _of_call.reset(token)


class FollowUps:
    """Hands what scripts note to the call that ran them. A row that is not done comes back when its lease ends."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._outside = Collector()  # of tests and tools, which run verbs outside any call

    @property
    def collector(self) -> Collector:
        """That of the running call."""
        return _of_call.get() or self._outside

    def note(self, follow: str) -> None:
        """Takes what a script answered; see outbox.lua: ``store|id``, ``tell|event|id``, ``probe|event|id``, ``+``."""
        now, collector = self._clock.now(), self.collector
        for row in filter(None, follow.split(",")):
            what, _, rest = row.partition("|")
            event, _, job_id = rest.partition("|")
            if what == "store":
                collector.add(FollowUp("store", rest, noted_at=now))
            elif what in ("tell", "probe", "again"):
                is_probe, is_asked_for = what != "tell", what == "again"
                collector.add(
                    FollowUp("tell", job_id, event, is_probe=is_probe, is_asked_for=is_asked_for, noted_at=now)
                )
            else:
                collector.is_more = True
