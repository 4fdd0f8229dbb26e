"""Submits the jobs and follows them as any caller would: by GET /api/status/{id}, and by the events it is told."""

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
NO_ADVICE_SECONDS = 1.0  # between two polls when an answer does not say how long to wait


@dataclass
class Pursued:
    """A submitted job: the last status document seen, and what following it took."""

    order: Order
    id: str
    document: dict[str, Any]  # at first the receipt of the submission, which holds less
    polls: int = 0
    unchanged: int = 0  # polls answered 304
    event: Event | None = None  # the signed one of its end
    was_told: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def status(self) -> str:
        """The public status."""
        return str(self.document["status"])

    @property
    def stage(self) -> str:
        """Where in its life it is, once a poll has told."""
        return str(self.document.get("stage", "-"))

    @property
    def is_over(self) -> bool:
        """Whether it has ended; its files may still be on their way to the storage."""
        return self.status in TERMINAL

    @property
    def is_done(self) -> bool:
        """Whether nothing will change any more."""
        return self.is_over and self.stage == "done"

    @property
    def percent(self) -> int:
        """How much of it is done, as far as known."""
        return int(self.document.get("progress") or 0)

    @property
    def attempts(self) -> int:
        """How many attempts were begun."""
        return int(self.document.get("attempts", 0))

    @property
    def seconds(self) -> float | None:
        """From submission to end."""
        ended = self.document.get("ended_at")
        return self._since(datetime.fromisoformat(ended)) if ended else None

    @property
    def seconds_told(self) -> float | None:
        """From submission to the event that tells of its end."""
        return self._since(self.event.came_at) if self.event else None

    def _since(self, moment: datetime) -> float:
        return (moment - datetime.fromisoformat(self.document["created_at"])).total_seconds()

    @property
    def note(self) -> str:
        """What went wrong, as long as the document says so; that its event came; else what is special about it."""
        error = self.document.get("error")
        if error:
            return f"{'failed' if self.is_over else 'retry after'}: {error['detail']}"
        return f"told {self.event.type}, verified" if self.event else self.order.note


@dataclass
class Pursuit:
    """Follows all jobs at once; tells `changed` of each new document, and `check`s the stack when a call fails."""

    client: httpx.AsyncClient
    hook_url: str
    changed: Callable[[Pursued], None]
    check: Callable[[], None]
    jobs: list[Pursued] = field(default_factory=list)

    async def submit(self, orders: Sequence[Order]) -> None:
        """Submits one after the other, so that the order of submission is the order given."""
        for order in orders:
            answer = await self.client.post("/api/submit", json=order.body(self.hook_url))
            answer.raise_for_status()
            job = Pursued(order, answer.json()["id"], answer.json())
            self.jobs.append(job)
            self.changed(job)

    def tell(self, event: Event) -> None:
        """Takes the event of a job's end."""
        for job in self.jobs:
            if job.id == event.about:
                job.event = event
                job.was_told.set()

    async def follow(self) -> None:
        """Returns when every job is done and its event has come."""
        await asyncio.gather(*(self._follow(job) for job in self.jobs))

    async def _follow(self, job: Pursued) -> None:
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
        await job.was_told.wait()
        self.changed(job)

    async def _pause(self, job: Pursued, seconds: float) -> None:
        """Waits as long as an answer has advised; the job's event ends the wait, as there is something to read then."""
        if job.event:
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await job.was_told.wait()

    def _learn(self, job: Pursued, answer: httpx.Response) -> str | None:
        """Takes over a new document and returns its ETag."""
        job.polls += 1
        job.unchanged += answer.status_code == httpx.codes.NOT_MODIFIED
        if answer.is_client_error:
            answer.raise_for_status()
        if answer.status_code != httpx.codes.OK:
            return None
        job.document = answer.json()
        self.changed(job)
        return str(answer.headers["ETag"])
