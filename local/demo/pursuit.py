"""Submits the jobs and follows them as any caller would: by GET /api/status/{id} alone."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from local.demo.scenario import Order

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
        """Whether nothing will change any more."""
        return self.status in TERMINAL

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
        if not ended:
            return None
        begun = datetime.fromisoformat(self.document["created_at"])
        return (datetime.fromisoformat(ended) - begun).total_seconds()

    @property
    def note(self) -> str:
        """What went wrong, as long as the document says so; else what is special about the order."""
        error = self.document.get("error")
        if not error:
            return self.order.note
        return f"{'failed' if self.is_over else 'retry after'}: {error['detail']}"


@dataclass
class Pursuit:
    """Follows all jobs at once; tells `changed` of each new document, and `check`s the stack when a call fails."""

    client: httpx.AsyncClient
    changed: Callable[[Pursued], None]
    check: Callable[[], None]
    jobs: list[Pursued] = field(default_factory=list)

    async def submit(self, orders: Sequence[Order]) -> None:
        """Submits one after the other, so that the order of submission is the order given."""
        for order in orders:
            answer = await self.client.post("/api/submit", json=order.body())
            answer.raise_for_status()
            job = Pursued(order, answer.json()["id"], answer.json())
            self.jobs.append(job)
            self.changed(job)

    async def follow(self) -> None:
        """Returns when every job is over."""
        await asyncio.gather(*(self._follow(job) for job in self.jobs))

    async def _follow(self, job: Pursued) -> None:
        etag = ""
        while not job.is_over:
            pause = NO_ADVICE_SECONDS
            try:
                answer = await self.client.get(f"/api/status/{job.id}", headers={"If-None-Match": etag} if etag else {})
            except httpx.TransportError:
                self.check()
            else:
                etag = self._learn(job, answer) or etag
                pause = float(answer.headers.get("Retry-After", NO_ADVICE_SECONDS))
            if not job.is_over:
                await asyncio.sleep(pause)

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
