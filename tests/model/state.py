"""The store's content, and the content that the model expects."""

from collections import Counter
from dataclasses import dataclass, field
from math import ceil
from typing import Any, NamedTuple

from shared.jobqueue.constants import (
    ALARMS,
    BAND,
    DELAYED,
    LIMIT_SPAN,
    READY,
    SEATED,
    SLOT_SHARES,
    SPECIAL,
    USERS_OF_KEY,
    WAITING_SHARES,
)
from tests.model.content import Content
from tests.model.deployment import Deployment, provider_of, queue_of

MIN_PAGE = 50  # rows of a further page of the index, besides those of the next jobs

Job = dict[str, Any]
# Fields of a job that the model ignores: given and not used, or random.
UNMODELLED = {"error_detail", "error_retryable", "history", "started_at", "ended_at", "output", "p50", "p90"}


@dataclass
class View:
    """What the store holds, read past the verbs."""

    index: dict[str, float] = field(default_factory=dict)  # score
    jobs: dict[str, dict[str, str]] = field(default_factory=dict)
    has_ttl: dict[str, bool] = field(default_factory=dict)
    sets: dict[str, dict[str, int]] = field(default_factory=dict)
    runs: dict[str, dict[str, str]] = field(default_factory=dict)
    refusals: dict[str, dict[str, str]] = field(default_factory=dict)  # of each provider
    owners: dict[str, str] = field(default_factory=dict)
    counters: dict[str, str] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    outbox: dict[str, int] = field(default_factory=dict)
    lanes: dict[str, dict[str, int]] = field(default_factory=dict)  # of each lane of the outbox
    hosts: dict[str, dict[str, str]] = field(default_factory=dict)
    undelivered: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)  # submissions of unknown outcome
    batches: dict[str, dict[str, str]] = field(default_factory=dict)
    queues: dict[str, dict[str, int]] = field(default_factory=dict)  # the live jobs of each batch
    held: dict[str, dict[str, int]] = field(default_factory=dict)  # jobs that wait for a slot of their API key
    spending: dict[str, dict[str, str]] = field(default_factory=dict)  # accounts and reservations of each month

    @classmethod
    def of(cls, content: Content, prefix: str) -> "View":
        view = cls()
        for key, (_, value, expires) in content.items():
            kind, _, name = key.removeprefix(prefix).partition(":")
            if kind == "z":
                view.index = value
            elif kind == "st":
                no_counters = ("tick_at", "swept_at", "sweep_cursor", "limits_mark")
                view.counters = {n: v for n, v in value.items() if n not in no_counters}
            elif kind == "d":
                view.dead = set(value)
            elif (kind, name) == ("x", ""):
                view.outbox = value
            elif kind == "y":
                view.undelivered = value
            elif kind == "sl":
                view.lost = value
            else:
                kept: Any = {
                    "j": view.jobs, "u": view.sets, "m": view.runs, "p": view.refusals, "o": view.owners,
                    "x": view.lanes, "h": view.hosts, "b": view.batches, "q": view.queues, "k": view.held,
                    "sp": view.spending,
                }[kind]  # fmt: skip
                kept[name] = value
                view.has_ttl |= {name: expires} if kind in ("j", "h", "b") else {}
        return view

    def live(self) -> dict[str, dict[str, str]]:
        return {name: job for name, job in self.jobs.items() if job["state"] != "done"}


class Row(NamedTuple):
    """An entry of the index, parsed."""

    id: str
    band: int
    ms: int


@dataclass
class User:
    """A user's set, parsed."""

    cap: int
    tag: int
    admitted: list[tuple[str, int]]  # best first
    waiting: list[tuple[str, int]]


@dataclass
class Room:
    """How many more jobs may start."""

    all: int
    queue: dict[int, int]
    provider: dict[int, int]
    probe: set[int]  # providers whose next submission tries whether they take any

    def has(self, lane: int) -> bool:
        return self.all > 0 and self.queue[queue_of(lane)] > 0 and self.provider[provider_of(lane)] > 0

    def take(self, lane: int) -> None:
        self.all -= 1
        self.queue[queue_of(lane)] -= 1
        self.provider[provider_of(lane)] -= 1


@dataclass
class Relaxed:
    """Invariants that a fault has suspended for a while."""

    ghosts: set[str] = field(default_factory=set)  # index entries whose job was evicted, their alarms and shares
    strays: set[tuple[str, str]] = field(default_factory=set)  # the same in users' sets, with the user
    unset: set[str] = field(default_factory=set)  # live jobs whose user's set was evicted
    unindexed: set[str] = field(default_factory=set)  # live jobs that the index has lost
    unalarmed: set[str] = field(default_factory=set)  # live jobs whose alarm the index has lost
    unpromoted: set[str] = field(default_factory=set)  # users with a waiting job that could be ready
    orphans: set[str] = field(default_factory=set)  # evicted jobs of which the outbox still holds something


@dataclass
class Model:
    """What the store should hold, as plain dicts."""

    deployment: Deployment
    jobs: dict[str, Job] = field(default_factory=dict)
    index: dict[str, float] = field(default_factory=dict)
    sets: dict[str, dict[str, int]] = field(default_factory=dict)
    runs: dict[str, Job] = field(default_factory=dict)
    refusals: dict[str, dict[str, str]] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)
    dead: set[str] = field(default_factory=set)
    outbox: dict[str, int] = field(default_factory=dict)
    lanes: dict[str, dict[str, int]] = field(default_factory=dict)
    hosts: dict[str, Job] = field(default_factory=dict)
    undelivered: dict[str, int] = field(default_factory=dict)
    held: dict[str, dict[str, int]] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    spending: dict[str, Any] = field(default_factory=dict)  # by month; see spending.py
    limits_mark: int = 0  # of the last change of limits
    relaxed: Relaxed = field(default_factory=Relaxed)

    @property
    def live(self) -> set[str]:
        return {name for name, job in self.jobs.items() if job["state"] != "done"}

    # The index

    def rows(self) -> list[Row]:
        """All of it, gates first."""
        ordered = sorted(self.index.items(), key=lambda entry: (entry[1], entry[0]))
        return [Row(name, ceil(score) // BAND, ceil(score) % BAND) for name, score in ordered]

    def head(self, more: int, kept: tuple[int, int] = (BAND, BAND)) -> tuple[list[Row], bool, int]:
        """The rows that a script sees after the gates, whether no job is behind them, and the last band that it sees.

        If it sees only some of the slots at first, it reads on behind those of the lane that are not ``kept``.
        """
        deployment, everything, seen, rank, taken = self.deployment, self.rows(), [], 0, 0
        size = min(deployment.limit + more + deployment.most_gates, deployment.most_rows)
        while True:
            page = everything[rank : rank + size]
            seen += page
            last = page[-1].band if page else seen[-1].band if seen else -1
            complete = len(page) < size or last >= ALARMS
            if complete or last >= READY:
                break
            rank += size
            number = self.index[page[-1].id] - last * BAND  # of a running job in half a ms
            if last >= 0 and not kept[0] <= number <= kept[1]:
                behind = last * BAND + (kept[0] if number < kept[0] else BAND)
                rank = sum(score < behind for score in self.index.values())
            taken = sum(0 <= row.band < READY for row in everything[:rank])
            size = min(deployment.most_rows, max(deployment.limit - taken, MIN_PAGE) + more)
        return [row for row in seen if row.band >= 0], complete, last

    def put(self, name: str, band: int, ms: int) -> None:
        self.index[name] = band * BAND + ms

    def put_slot(self, name: str, ms: int) -> None:
        """Gives a job its slot; that of a running one ends in half a ms."""
        job = self.jobs[name]
        self.index[name] = job["lane"] * BAND + ms - (0.5 if job["state"] == "running" else 0)

    def account(self, name: str) -> None:
        """Counts a job for its API key and its user: as waiting, or as being at a provider."""
        job = self.jobs[name]
        first = SLOT_SHARES if job["state"] in ("submitting", "running") else WAITING_SHARES
        self.put(f"%{name}", ALARMS, first + int(job["share"]))

    def slots_of_key(self, share: int) -> int:
        """How many slots the API key of a share has."""
        numbers = [row.ms - SLOT_SHARES for row in self.rows() if row.band == ALARMS]
        return sum(number // USERS_OF_KEY == share // USERS_OF_KEY for number in numbers)

    def slots_of_user(self, share: int) -> int:
        """How many slots the users of a share have."""
        return sum(row.band == ALARMS and row.ms == SLOT_SHARES + share for row in self.rows())

    def pop(self, name: str) -> None:
        """Takes a job out of the index, with its alarm and its share."""
        for member in (name, f"!{name}", f"%{name}"):
            self.index.pop(member, None)

    def gate(self, name: str) -> int | None:
        return int(self.index[name]) + BAND if name in self.index else None

    def set_gate(self, name: str, value: int) -> None:
        self.index[name] = value - BAND

    def slots(self) -> list[Row]:
        return [row for row in self.rows() if 0 <= row.band < READY]

    def waiting(self, now: int) -> str:
        """Whether something could be claimed, as an ending verb says."""
        low, high = READY * BAND, DELAYED * BAND + now
        return "1" if any(low <= score <= high for score in self.index.values()) else "0"

    def room(self, time: int) -> Room:
        d, slots = self.deployment, self.slots()
        of_queue = Counter(queue_of(row.band) for row in slots)
        at = Counter(provider_of(row.band) for row in slots)
        room = Room(self._limit("=s", d.limit) - len(slots), {}, {}, set())
        for k, queue in enumerate(d.queues):
            room.queue[k] = self._limit(f"=q{k}", queue.concurrency) - of_queue[k]
        for p, most in enumerate(d.at_provider):
            room.provider[p] = min(self._limit(f"=p{p}", most) - at[p], self._tokens(p, time))
            paused_until = self.gate(f"~p{p}")
            if paused_until is not None and paused_until <= time:
                room.probe.add(p)
                room.provider[p] = min(room.provider[p], 1)
            elif paused_until is not None:
                room.provider[p] = 0
        return room

    def _limit(self, gate: str, configured: int) -> int:
        live = self.gate(gate)
        return configured if live is None else live

    def _tokens(self, provider: int, time: int) -> int:
        """Each creation takes an interval's time of a bucket that holds as many intervals as the burst."""
        d = self.deployment
        behind = max(0, (self.gate(f"~r{provider}") or 0) - time)
        missing = -(-behind // d.intervals[provider])
        return max(0, d.bursts[provider] - missing)

    def take_tokens(self, provider: int, count: int, time: int) -> None:
        full_at = max(self.gate(f"~r{provider}") or 0, time)
        self.set_gate(f"~r{provider}", full_at + count * self.deployment.intervals[provider])

    # Users

    def user(self, key: str) -> User:
        user = User(self.deployment.cap, 0, [], [])
        for member, score in self.ranked(key):
            if member == "=":
                user.cap = (score - SPECIAL) % LIMIT_SPAN
            elif member == "~":
                user.tag = score - SPECIAL
            elif score < 0:
                user.admitted.append((member, score - SEATED))
            else:
                user.waiting.append((member, score))
        return user

    def ranked(self, key: str) -> list[tuple[str, int]]:
        """The set's entries in the store's order."""
        return sorted(self.sets.get(key, {}).items(), key=lambda entry: (entry[1], entry[0]))

    def seat(self, key: str, name: str, score: int) -> None:
        self.sets.setdefault(key, {})[name] = score

    def has_seat(self, key: str, name: str) -> bool:
        return name in self.sets.get(key, {})

    def unseat(self, key: str, name: str) -> None:
        self.sets.get(key, {}).pop(name, None)

    def drop(self, names: list[str]) -> None:
        """Forgets entries of the index that have no job."""
        for name in names:
            self.pop(name)
        if names:
            self.counters["missing"] += len(names)


def user_of(job: Job | dict[str, str]) -> str:
    return f"{job['owner']}:{job['user']}"
