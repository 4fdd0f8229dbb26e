"""All that a run has to remember, as plain data: so that it can be copied, gone back to, and recognised."""

import copy
import heapq
from dataclasses import dataclass, field
from typing import Any

from tests.faults.scenarios import Creation
from tests.invariants import Made, State

Event = tuple[Any, ...]  # what happens, and to what

# Chosen anew in every run, and compared only between the repeats of one call.
ARBITRARY = frozenset({"token", "cancel_token"})


@dataclass
class Outcome:
    """What a run came to."""

    violations: list[str] = field(default_factory=list)
    ends: dict[str, str] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    doubles: int = 0
    zombies: int = 0
    ticks: int = 0  # after the last fault
    is_known: bool = False  # it came to a point from which another run went on before


@dataclass
class Books:
    """The world at one moment between two events: its time, its store, its provider, its clients."""

    now: int
    next_tick: int
    steps_left: int
    state: State = field(default_factory=State)
    made: dict[str, Made] = field(default_factory=dict)
    creations: dict[str, Creation] = field(default_factory=dict)  # by prediction
    asked: dict[str, int] = field(default_factory=dict)  # creates of each job
    acknowledged: set[str] = field(default_factory=set)
    canceled: set[str] = field(default_factory=set)
    events: list[tuple[int, int, Event]] = field(default_factory=list)
    planned: int = 0  # events so far, which keeps those of one moment in order
    outcome: Outcome = field(default_factory=Outcome)

    def plan(self, seconds: float, *event: Any) -> None:
        """Makes something happen later."""
        self.planned += 1
        heapq.heappush(self.events, (self.now + round(seconds * 1000), self.planned, event))

    def copy(self) -> "Books":
        return copy.deepcopy(self)

    def fingerprint(self) -> int:
        """The same for two moments from which the same follows, if no process is under way and no more faults come."""
        state = self.state
        return hash(
            (
                self.now,
                self.next_tick,
                self.steps_left,
                frozenset(state.index.items()),
                frozenset((job_id, _content(job)) for job_id, job in state.jobs.items()),
                frozenset((user, frozenset(held)) for user, held in state.users.items()),
                frozenset(state.owners.items()),
                frozenset(state.stats.items()),
                frozenset(state.dead.items()),
                frozenset((p.id, p.job, p.attempt, p.created_at, p.status, p.is_zombie) for p in self.made.values()),
                frozenset(self.asked.items()),
                frozenset(self.acknowledged),
                frozenset(self.canceled),
                tuple((moment, event) for moment, _, event in sorted(self.events)),
            )
        )


def _content(job: dict[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(pair for pair in job.items() if pair[0] not in ARBITRARY)
