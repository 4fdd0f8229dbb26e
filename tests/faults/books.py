"""The whole state of a run as plain data, so that it can be copied, restored and recognised."""

import copy
import heapq
from dataclasses import dataclass, field
from typing import Any

from shared.jobqueue.constants import BAND
from tests.faults.scenario import Creation
from tests.invariants import Made, Outside, State

Event = tuple[Any, ...]  # what happens, and to what

# Random in every run; only the repeats of one call compare them.
ARBITRARY = frozenset({"token", "cancel_token", "limits_mark"})
# For owners to read; no decision depends on it.
SHOWN = frozenset({"history", "p50", "p90"})
IGNORED = ARBITRARY | SHOWN
LOGS = "l:"  # of deliveries; they have real durations


@dataclass
class Outcome:
    """The result of a run."""

    violations: list[str] = field(default_factory=list)
    ends: dict[str, str] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    doubles: int = 0
    zombies: int = 0
    left: int = 0  # objects in the bucket that no job lists
    ticks: int = 0  # after the last fault
    is_known: bool = False  # it reached a state from which another run has gone on


@dataclass
class Books:
    """The world between two events: its time, its store, its provider, its clients."""

    now: int
    next_tick: int
    steps_left: int
    state: State = field(default_factory=State)
    made: dict[str, Made] = field(default_factory=dict)
    creations: dict[str, Creation] = field(default_factory=dict)  # by prediction
    asked: dict[str, int] = field(default_factory=dict)  # creates of each job
    outside: Outside = field(default_factory=Outside)
    acknowledged: set[str] = field(default_factory=set)
    canceled: set[str] = field(default_factory=set)
    events: list[tuple[int, int, Event]] = field(default_factory=list)
    planned: int = 0  # events so far, which keeps those of one moment in order
    outcome: Outcome = field(default_factory=Outcome)

    def plan(self, seconds: float, *event: Any) -> None:
        """Schedules an event ``seconds`` from now."""
        self.planned += 1
        heapq.heappush(self.events, (self.now + round(seconds * 1000), self.planned, event))

    def copy(self) -> "Books":
        return copy.deepcopy(self, {id(self.state): self.state})

    def fingerprint(self) -> int:
        """Returns a hash of all that decides how the run goes on, if no process is active and no more faults come."""
        state, outside = self.state, self.outside
        return hash(
            (
                self.now,
                self.next_tick,
                self.steps_left,
                frozenset(pair for pair in state.index.items() if not _is_idle(*pair, self.now)),
                frozenset((job_id, _content(job)) for job_id, job in state.jobs.items()),
                frozenset((user, frozenset(held.items())) for user, held in state.users.items()),
                frozenset((model, _counts(runs)) for model, runs in state.models.items()),
                frozenset((provider, frozenset(known.items())) for provider, known in state.refusals.items()),
                frozenset((batch, _content(fields)) for batch, fields in state.batches.items()),
                frozenset((batch, frozenset(held.items())) for batch, held in state.batch_queues.items()),
                frozenset(state.owners.items()),
                frozenset(pair for pair in state.stats.items() if pair[0] not in ARBITRARY),
                frozenset((month, frozenset(fields.items())) for month, fields in state.spending.items()),
                frozenset(state.lost.items()),
                frozenset(state.dead.items()),
                frozenset(state.outbox.items()),
                frozenset((lane, frozenset(rows.items())) for lane, rows in state.rows.items()),
                frozenset((lane, frozenset(fields.items())) for lane, fields in state.hosts.items()),
                frozenset(state.undelivered),
                frozenset(row for row in state.history if row.rpartition("|")[2] not in state.jobs),
                frozenset(state.archived),
                frozenset(state.erasures.items()),
                frozenset(state.deleted.items()),
                frozenset(outside.objects),
                frozenset(outside.received),
                frozenset(outside.erasing),
                frozenset(outside.asked.items()),
                frozenset(
                    (p.id, p.job, p.incarnation, p.attempt, p.created_at, p.status, p.is_zombie)
                    for p in self.made.values()
                ),
                frozenset(self.asked.items()),
                frozenset(self.acknowledged),
                frozenset(self.canceled),
                tuple((moment, event) for moment, _, event in sorted(self.events)),
            )
        )


def _content(fields: dict[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(pair for pair in fields.items() if pair[0] not in IGNORED and not pair[0].startswith(LOGS))


def _counts(runs: dict[str, str]) -> frozenset[tuple[str, str]]:
    """Returns what decides about a model's circuit; the durations of its runs are only shown."""
    return frozenset((name, value) for name, value in runs.items() if name[0] != "r" and name != "at")


def _is_idle(member: str, score: float, now: int) -> bool:
    """Whether an entry of the index decides nothing: one of the history, or a full token bucket."""
    return member[0] == "@" or (member[:2] == "~r" and score + BAND <= now)
