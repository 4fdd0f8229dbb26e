"""Which I/O of a run fails, and how.

kind          at the store                                          at the provider, a file, the bucket, a hook
crash         the process ends                                      the same
timeout       one try is lost, its repeat is answered               the call times out
silence       both tries are lost: StoreUncertain                   same as timeout, so omitted
pause         the process is frozen past its lease                  the same
long_pause    the process is frozen past the adoption window        the same
stale_repeat  applied, frozen past the lease, lost, and repeated    made, frozen past the lease, and timed out
stop          a script ends at one of its commands; those before    never
              it are kept

The other kinds break one HTTP exchange with the store; see cutter.py. With ``tries`` 2, the repeat is broken too.

before: the command was not applied, or the call not received. after: it was, and only the answer is lost.
"""

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "crash", "timeout", "silence", "pause", "long_pause", "stale_repeat", "stop",
    "unsent", "half_sent", "unanswered", "cut_in_head", "cut_in_body", "idle", "noscript", "noscript_lost",
    "proxy_302", "proxy_502", "proxy_lost", "slow",
]  # fmt: skip
When = Literal["before", "after"]

KINDS: tuple[Kind, ...] = ("crash", "timeout", "silence", "pause", "long_pause", "stale_repeat")
WHENS: tuple[When, ...] = ("before", "after")
CUTS: tuple[Kind, ...] = (
    "unsent", "half_sent", "unanswered", "cut_in_head", "cut_in_body", "idle", "noscript", "noscript_lost",
    "proxy_302", "proxy_502", "proxy_lost", "slow",
)  # fmt: skip
CUTS_TWICE: tuple[Kind, ...] = ("unsent", "unanswered")  # neither the call nor its repeat was applied, or both were
LOSES_ANSWER = ("timeout", "silence", "stale_repeat", "stop", *CUTS)
FREEZES = ("pause", "long_pause")


class Crash(BaseException):
    """The process is gone. No ``except Exception`` may catch this."""


@dataclass(frozen=True)
class Fault:
    """What happens at one I/O. A run numbers its I/Os from 1."""

    number: int
    when: When
    kind: Kind
    command: int = 0  # the one at which a script stops
    tries: int = 1  # HTTP exchanges that break

    def __str__(self) -> str:
        if self.kind == "stop":
            return f"stop at command {self.command} of I/O {self.number}"
        return f"{self.kind} {self.when} I/O {self.number}{' twice' if self.tries > 1 else ''}"


@dataclass(frozen=True)
class Path:
    """The commands that a script ran, and the numbers of those that write."""

    verb: str
    commands: tuple[str, ...]
    writes: tuple[int, ...]


@dataclass
class FaultPlan:
    """Numbers the I/Os of one run and says which of them fail."""

    faults: tuple[Fault, ...] = ()
    points: list[str] = field(default_factory=list)  # what was done, in order
    struck: list[Fault] = field(default_factory=list)
    paths: dict[int, "Path"] = field(default_factory=dict)  # of the scripts, by the number of their I/O

    def next(self, point: str) -> Fault | None:
        """Returns the fault of the next I/O, named ``point``."""
        self.points.append(point)
        for fault in self.faults:
            if fault.number == len(self.points):
                self.struck.append(fault)
                return fault
        return None

    @property
    def has_stopped_a_script(self) -> bool:
        """Whether a script was stopped, so that its data may contradict each other for a while."""
        return any(fault.kind == "stop" for fault in self.struck)

    @property
    def has_refused_a_call(self) -> bool:
        """Whether a proxy refused a call of the store, which then was surely not applied."""
        return any(fault.kind == "proxy_302" for fault in self.struck)

    @property
    def is_over(self) -> bool:
        """Whether every fault has struck."""
        return len(self.struck) == len(self.faults)

    def __str__(self) -> str:
        named = (f"{fault} ({self._point(fault.number)})" for fault in self.faults)
        return " + ".join(named) or "no fault"

    def _point(self, number: int) -> str:
        return self.points[number - 1] if number <= len(self.points) else "never reached"


def is_of_use(point: str, when: When, kind: Kind) -> bool:
    """Whether this fault can differ, at this I/O, from the others.

    A provider call has no repeat, so its silence is its timeout. A repeat is stale only if something was applied.
    """
    if kind == "silence":
        return is_store(point)
    if point.rpartition(" ")[2].startswith("files:"):
        # A read changes nothing, so a fault before it equals a fault after the I/O before it.
        return when == "before" and kind in ("crash", "timeout", "pause")
    if point.rpartition(" ")[2].startswith("bucket:") and kind == "long_pause":
        return False  # no deadline of the bucket is longer than a lease
    return kind != "stale_repeat" or when == "after"


def is_store(point: str) -> bool:
    """Whether the I/O is a command of the store; scripts are named by their verb."""
    return point.rpartition(" ")[2].startswith("store:")


def faults_at(number: int, point: str, kinds: tuple[Kind, ...] = KINDS) -> list[Fault]:
    """Returns all faults worth trying at this I/O."""
    return [Fault(number, when, kind) for kind in kinds for when in WHENS if is_of_use(point, when, kind)]


def cuts_at(number: int) -> list[Fault]:
    """Returns the faults of the HTTP exchange of an I/O with the store."""
    once = [Fault(number, "after", kind) for kind in CUTS]
    return once + [Fault(number, "after", kind, tries=2) for kind in CUTS_TWICE]


def stops_at(number: int, path: Path) -> list[Fault]:
    """Returns the faults that keep a part of a script's writes: a stop at each write but the first one.

    A stop at a read keeps what a stop at the next write keeps. One at the first write equals a lost command, and one
    behind the last write a lost answer.
    """
    return [Fault(number, "before", "stop", command) for command in path.writes[1:]]
