"""Plays a scenario: jobs arrive, take a slot for as long as they need, and whoever orders them says who is next."""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bench.scenarios import Scenario, Work
from shared.clock import ManualClock
from shared.config.settings import Settings
from shared.jobqueue import JobQueue
from shared.jobs.request import SubmitRequest
from shared.store import Store


@dataclass
class History:
    """What happened, in order: who arrived and who was given a slot; and when the last job ended, ms."""

    events: list[tuple[str, str]] = field(default_factory=list)
    makespan: int = 0


class Order(Protocol):
    """Decides who gets a slot; each call answers with the jobs that start now."""

    async def submit(self, work: Work, now: int) -> Sequence[Work]:
        """A job arrives."""

    async def end(self, work: Work, now: int) -> Sequence[Work]:
        """A job that was started has ended."""


class Fifo:
    """First come, first served; what the queue is measured against."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: deque[Work] = deque()

    async def submit(self, work: Work, now: int) -> Sequence[Work]:
        self._waiting.append(work)
        return self._start()

    async def end(self, work: Work, now: int) -> Sequence[Work]:
        self._free += 1
        return self._start()

    def _start(self) -> list[Work]:
        count = min(self._free, len(self._waiting))
        self._free -= count
        return [self._waiting.popleft() for _ in range(count)]


class Sluice:
    """The queue itself, moved as a submit and an ending webhook move it."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._clock = ManualClock()
        self._began = self._clock.now()
        self._settings = settings
        self._queue = JobQueue(store, settings, self._clock)
        self._works: dict[str, Work] = {}

    async def submit(self, work: Work, now: int) -> Sequence[Work]:
        self._clock.true_now = self._began + now
        self._works[work.id] = work
        request = SubmitRequest.model_validate(
            {"model": "acme/video", "input": {"prompt": "a lighthouse"}, "user_id": work.user, "tier": work.tier}
        )
        score, cost = request.standing(self._settings, self._clock.now())
        fields = request.fields(self._settings, "app", self._settings.queue_list[0], self._clock.now())
        admitted = await self._queue.enqueue(work.id, request.fingerprint(), fields, score=score, cost=cost, start=True)
        if admitted.word == "started":
            return [work]
        return await self._claim() if admitted.attention else []

    async def end(self, work: Work, now: int) -> Sequence[Work]:
        self._clock.true_now = self._began + now
        # No attempt was recorded: an end may overtake its record, and nothing here looks at the difference.
        ended = await self._queue.finish(work.id, 1, f"p-{work.id}", "completed", {"output": "[]"})
        assert ended.word == "finished", ended
        return await self._claim() if ended.waiting else []

    async def _claim(self) -> list[Work]:
        claim = await self._queue.claim(self._settings.max_concurrent_tasks)
        assert not (claim.overdue or claim.missing or claim.expired or claim.parked), claim
        assert all(job.attempt == 1 for job in claim.started), claim
        return [self._works[job.id] for job in claim.started]


async def play(scenario: Scenario, order: Order) -> History:
    """Everything that happens until the last job has ended; ends come before arrivals of the same moment."""
    history, running, arriving = History(), list[tuple[int, int, Work]](), deque(scenario.works)
    begun = 0
    while arriving or running:
        if running and (not arriving or running[0][0] <= arriving[0].at):
            now, _, work = heapq.heappop(running)
            history.makespan = now
            started = await order.end(work, now)
        else:
            work = arriving.popleft()
            now = work.at
            history.events.append(("arrival", work.user))
            started = await order.submit(work, now)
        for job in started:
            begun += 1
            history.events.append(("grant", job.user))
            heapq.heappush(running, (now + job.took, begun, job))
    assert begun == len(scenario.works), f"{scenario.name}: {begun} of {len(scenario.works)} jobs were started"
    return history


def first_serve(history: History, user: str) -> int:
    """With which grant after his arrival a user's first job starts; 1 is the very next."""
    arrived = history.events.index(("arrival", user))
    served = history.events.index(("grant", user))
    return sum(kind == "grant" for kind, _ in history.events[arrived : served + 1])


def shares(history: History, crowd: Sequence[str]) -> dict[str, int]:
    """Each user's grants while all of the crowd had jobs waiting."""
    waiting, granted = dict.fromkeys(crowd, 0), dict.fromkeys(crowd, 0)
    for kind, user in history.events:
        if user not in waiting:
            continue
        if kind == "arrival":
            waiting[user] += 1
        else:
            if all(waiting.values()):
                granted[user] += 1
            waiting[user] -= 1
    return granted


def jain(values: Sequence[float]) -> float | None:
    """Jain's index: 1 when all are equal, 1/n when one has everything; None when nobody has anything."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else None
