"""What the scripts have told this process to do next: rows of the outbox that are leased to it for a moment."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from shared.clock import Clock

HOOK_LEASE = 30.0  # s; as in outbox.lua


@dataclass(frozen=True)
class FollowUp:
    """Something to do for an ended job or a told event. ``noted_at`` in ms: the lease began no earlier.

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
class Told:
    """What has been told and not yet been done. ``is_more``: something else is due, for whoever claims it."""

    rows: list[FollowUp] = field(default_factory=list)
    is_more: bool = False


# Of the request that this code runs for: nobody's submit should wait for the files of somebody else's job.
_of_request: ContextVar[Told | None] = ContextVar("told", default=None)


def begin_request() -> None:
    """From here on what the scripts tell this request, and the tasks it starts, is its own to do."""
    _of_request.set(Told())


class FollowUps:
    """Keeps them until there is time for them; whoever forgets them loses nothing but time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._of_process = Told()

    @property
    def _told(self) -> Told:
        told = _of_request.get()
        return self._of_process if told is None else told

    def note(self, follow: str) -> None:
        """Takes what a script answered; see outbox.lua: ``store|id``, ``tell|event|id``, ``probe|event|id``, ``+``."""
        now, told = self._clock.now(), self._told
        for row in filter(None, follow.split(",")):
            what, _, rest = row.partition("|")
            event, _, job_id = rest.partition("|")
            if what == "store":
                told.rows.append(FollowUp("store", rest, noted_at=now))
            elif what in ("tell", "probe", "again"):
                is_probe, is_asked_for = what != "tell", what == "again"
                told.rows.append(
                    FollowUp("tell", job_id, event, is_probe=is_probe, is_asked_for=is_asked_for, noted_at=now)
                )
            else:
                told.is_more = True

    def take(self, of: str = "") -> tuple[list[FollowUp], bool]:
        """What is leased to this request, all of it or of one job, or batch and its jobs; and whether more waits."""
        told = self._told
        rows = [row for row in told.rows if not of or row.id == of or row.id.startswith(f"{of}_")]
        told.rows = [row for row in told.rows if row not in rows]
        more, told.is_more = told.is_more, False
        return rows, more
