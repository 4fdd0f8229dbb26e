"""Plays a scenario: jobs arrive, hold a slot as long as they take, and an Order decides which job is next."""

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
    """The arrivals and grants of users, in order; and when the last job ended, in ms."""

    events: list[tuple[str, str]] = field(default_factory=list)
    makespan: int = 0


class Order(Protocol):
    """Decides which job gets a slot; each call returns the jobs that start now."""

    async def submit(self, work: Work, now: int) -> Sequence[Work]:
        """Takes a job that arrives."""

    async def end(self, work: Work, now: int) -> Sequence[Work]:
        """Takes the end of a started job."""


class Fifo:
    """First come, first served; the queue is compared with it."""

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
    """The queue itself, driven as a submit and a terminal webhook drive it."""

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
        score, cost = request.score_and_cost(self._settings, self._clock.now())
        fields = request.fields(self._settings, "app", self._settings.queue_list[0], self._clock.now())
        admitted = await self._queue.enqueue(work.id, request.fingerprint(), fields, score=score, cost=cost, start=True)
        if admitted.word == "started":
            return [work]
        return await self._claim() if admitted.attention else []

    async def end(self, work: Work, now: int) -> Sequence[Work]:
        self._clock.true_now = self._began + now
        # No attempt was recorded: an end may overtake its record, and the order is the same.
        ended = await self._queue.finish(work.id, 1, f"p-{work.id}", "completed", {"output": "[]"})
        assert ended.word == "finished", ended
        return await self._claim() if ended.waiting else []

    async def _claim(self) -> list[Work]:
        claim = await self._queue.claim(self._settings.max_concurrent_tasks)
        assert not (claim.overdue or claim.missing or claim.expired or claim.parked), claim
        assert all(job.attempt == 1 for job in claim.started), claim
        return [self._works[job.id] for job in claim.started]


async def play(scenario: Scenario, order: Order) -> History:
    """Plays the scenario until the last job has ended; at the same moment ends come before arrivals."""
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
    """Returns which grant after a user's arrival starts their first job; 1 is the next."""
    arrived = history.events.index(("arrival", user))
    served = history.events.index(("grant", user))
    return sum(kind == "grant" for kind, _ in history.events[arrived : served + 1])


def shares(history: History, crowd: Sequence[str]) -> dict[str, int]:
    """Returns each user's grants while all of the crowd had jobs waiting."""
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
    """Returns Jain's index: 1 if all are equal, 1/n if one has everything; None if all are 0."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else None
