"""Submits the jobs and follows them as any caller would: by GET /api/status/{id}, and by the events it receives."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from local.demo.scenario import Order
from local.receiver import Event

TERMINAL = ("completed", "failed", "canceled")
NO_ADVICE_SECONDS = 1.0  # between two polls if an answer has no Retry-After


@dataclass
class FollowedJob:
    """A submitted job, its latest status document and event, and how many polls they took."""

    order: Order
    id: str
    document: dict[str, Any]  # at first the answer to the submit, which holds less
    polls: int = 0
    unchanged: int = 0  # polls answered 304
    event: Event | None = None  # of its end
    has_event: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def status(self) -> str:
        """The public status."""
        return str(self.document["status"])

    @property
    def stage(self) -> str:
        """The finer status, once a poll has shown it."""
        return str(self.document.get("stage", "-"))

    @property
    def is_over(self) -> bool:
        """Whether it has ended; its files may not be stored yet."""
        return self.status in TERMINAL

    @property
    def is_done(self) -> bool:
        """Whether its document is final."""
        return self.is_over and self.stage == "done"

    @property
    def percent(self) -> int:
        """How many percent are done, as far as the provider reports it."""
        return int(self.document.get("progress") or 0)

    @property
    def attempts(self) -> int:
        """How many attempts have begun."""
        return int(self.document.get("attempts", 0))

    @property
    def seconds(self) -> float | None:
        """The time from submission to end."""
        ended = self.document.get("ended_at")
        return self._since(datetime.fromisoformat(ended)) if ended else None

    @property
    def seconds_to_event(self) -> float | None:
        """The time from submission to the event of its end."""
        return self._since(self.event.came_at) if self.event else None

    def _since(self, moment: datetime) -> float:
        return (moment - datetime.fromisoformat(self.document["created_at"])).total_seconds()

    @property
    def note(self) -> str:
        """The document's error if it has one, else the event that came, else the order's note."""
        error = self.document.get("error")
        if error:
            return f"{'failed' if self.is_over else 'retry after'}: {error['detail']}"
        return f"received {self.event.type}, verified" if self.event else self.order.note


@dataclass
class Follower:
    """Follows all jobs at once; calls `changed` for each new document, and `check`s the stack if a call fails."""

    client: httpx.AsyncClient
    hook_url: str
    changed: Callable[[FollowedJob], None]
    check: Callable[[], None]
    jobs: list[FollowedJob] = field(default_factory=list)

    async def submit(self, orders: Sequence[Order]) -> None:
        """Submits the jobs one after another, in the given order."""
        for order in orders:
            answer = await self.client.post("/api/submit", json=order.body(self.hook_url))
            answer.raise_for_status()
            job = FollowedJob(order, answer.json()["id"], answer.json())
            self.jobs.append(job)
            self.changed(job)

    def receive(self, event: Event) -> None:
        """Takes the event of a job's end."""
        for job in self.jobs:
            if job.id == event.subject:
                job.event = event
                job.has_event.set()

    async def follow(self) -> None:
        """Returns once every job is done and its event has come."""
        await asyncio.gather(*(self._follow(job) for job in self.jobs))

    async def _follow(self, job: FollowedJob) -> None:
        etag = ""
        while not job.is_done:
            pause = NO_ADVICE_SECONDS
            try:
                answer = await self.client.get(f"/api/status/{job.id}", headers={"If-None-Match": etag} if etag else {})
            except httpx.TransportError:
                self.check()
            else:
                etag = self._learn(job, answer) or etag
                pause = float(answer.headers.get("Retry-After", NO_ADVICE_SECONDS))
            if not job.is_done:
                await self._pause(job, pause)
        await job.has_event.wait()
        self.changed(job)

    async def _pause(self, job: FollowedJob, seconds: float) -> None:
        """Waits as long as the answer's Retry-After says, or until the job's event comes."""
        if job.event:
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await job.has_event.wait()

    def _learn(self, job: FollowedJob, answer: httpx.Response) -> str | None:
        """Keeps a new document and returns its ETag."""
        job.polls += 1
        job.unchanged += answer.status_code == httpx.codes.NOT_MODIFIED
        if answer.is_client_error:
            answer.raise_for_status()
        if answer.status_code != httpx.codes.OK:
            return None
        job.document = answer.json()
        self.changed(job)
        return str(answer.headers["ETag"])
