"""What the scripts have told this process to do next: rows of the outbox that are leased to it for a moment."""

from dataclasses import dataclass
from typing import Literal

from shared.clock import Clock

HOOK_LEASE = 30.0  # s; as in outbox.lua


@dataclass(frozen=True)
class FollowUp:
    """Something to do for an ended job or a told event. ``noted_at`` in ms: the lease began no earlier.

    ``store``: store the files of job ``id``, as ``turn``. ``tell``: deliver ``event`` of the job or batch ``id``, whose
    host has failed before if ``is_probe``.
    """

    what: Literal["store", "tell"]
    id: str
    event: str = ""
    is_probe: bool = False
    turn: int = 1
    noted_at: int = 0


class FollowUps:
    """Keeps them until somebody in this process has the time; whoever forgets them loses nothing but time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rows: list[FollowUp] = []
        self._more = False

    def note(self, follow: str) -> None:
        """Takes what a script answered; see outbox.lua: ``store|id``, ``tell|event|id``, ``probe|event|id``, ``+``."""
        now = self._clock.now()
        for row in filter(None, follow.split(",")):
            what, _, rest = row.partition("|")
            event, _, job_id = rest.partition("|")
            if what == "store":
                self._rows.append(FollowUp("store", rest, noted_at=now))
            elif what in ("tell", "probe"):
                self._rows.append(FollowUp("tell", job_id, event, is_probe=what == "probe", noted_at=now))
            else:
                self._more = True

    def take(self) -> tuple[list[FollowUp], bool]:
        """All that is leased to this process, and whether more waits in the outbox for whoever claims it."""
        rows, self._rows = self._rows, []
        more, self._more = self._more, False
        return rows, more
