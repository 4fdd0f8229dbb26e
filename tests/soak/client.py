"""A user's side of one job: submit until answered, poll, perhaps cancel. Keeps what the user observed."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.soak.deployment import API_KEY
from tests.soak.sightings import TERMINAL, Sighting, seen_in
from tests.soak.workload import Work

AUTH = {"Authorization": f"Bearer {API_KEY}"}
TIMEOUT = 9.0  # s; beyond the longest life of a function
# s before a repeat. Less than Retry-After asks, since the soak is short too; but growing, because users who wait for
# their limit must not become the load.
PAUSE, MAX_PAUSE = 0.5, 4.0
# Codes of a 503 that rules out any effect.
SURELY_NOT = ("store_unavailable", "store_refused", "queue_full")


@dataclass
class Observed:
    """What a user observed of one job. An answer is uncertain if it is lost or says itself that it does not know."""

    work: Work
    asked_at: float | None = None  # s of unix time: the first submit since the user's own limit last refused one
    tries: int = 0
    uncertain: int = 0
    gave_up: bool = False
    ids: set[str] = field(default_factory=set)
    ends: list[tuple[str, Any]] = field(default_factory=list)  # each terminal status and output that was read
    not_found: int = 0
    asked_to_cancel: bool = False
    was_canceled: bool = False

    @property
    def is_acknowledged(self) -> bool:
        """Whether a 202 arrived."""
        return bool(self.ids)


@dataclass
class Desk:
    """What all users share: the connections and the tallies of answers."""

    client: httpx.AsyncClient
    answers: Counter[str] = field(default_factory=Counter)
    surprises: Counter[str] = field(default_factory=Counter)  # answers without a known cause
    reasons: Counter[str] = field(default_factory=Counter)  # waiting reasons that polls returned
    sightings: list[Sighting] = field(default_factory=list)
    on_accepted: Callable[[Work], None] = lambda work: None  # called once for each job that a user has submitted

    async def call(self, name: str, method: str, path: str, **more: Any) -> httpx.Response | None:
        """Sends a request. Returns the answer, None if it was lost."""
        try:
            answer = await self.client.request(method, path, headers={**AUTH, **more.pop("headers", {})}, **more)
        except httpx.TransportError as error:
            self.answers[f"{name} lost"] += 1
            # Never sent: as good as a refusal.
            return httpx.Response(503, json={"code": "queue_full"}) if isinstance(error, httpx.ConnectError) else None
        self.answers[f"{name} {answer.status_code}"] += 1
        if answer.status_code not in EXPECTED[name]:
            self.surprises[f"{name} {answer.status_code}: {answer.text[:200]}"] += 1
        return answer


EXPECTED = {
    "submit": (202, 429, 503),
    "poll": (200, 503),
    "cancel": (200, 202, 409, 503),
    "tick": (200, 503),
    "doctor": (200, 503),
    "statistics": (200, 503),
    "flood": (202, 429, 503),
    "end of the guilty": (200, 202, 404, 409, 503),
}


class Pursuit:
    """Follows one work to its end."""

    def __init__(self, desk: Desk, work: Work, is_calm: Callable[[], bool]) -> None:
        self.observed = Observed(work)
        self._desk = desk
        self._work = work
        self._is_calm = is_calm

    async def run(self) -> None:
        """Returns when the user has read the job's end, or has lost interest."""
        await self._submit()
        if not self.observed.is_acknowledged:
            return
        if self._work.cancel_after is not None:
            await asyncio.sleep(self._work.cancel_after)
            await self._cancel()
        if self._work.is_watched:
            while not await self.poll():
                await asyncio.sleep(self._work.poll_every)

    async def _submit(self) -> None:
        if self._work.is_doubled:
            await asyncio.gather(self._submit_once(None), self._submit_once(None))
        patience, pause = self._work.patience, PAUSE
        while not self.observed.is_acknowledged:
            before = self.observed.uncertain
            await self._submit_once(patience)
            patience = None
            if self.observed.is_acknowledged:
                return
            if self.observed.uncertain > before and self._work.gives_up and not self._is_calm():
                self.observed.gave_up = True
                return
            await asyncio.sleep(pause)
            pause = min(MAX_PAUSE, 1.5 * pause)

    async def _submit_once(self, patience: float | None) -> None:
        self.observed.tries += 1
        if self.observed.asked_at is None:
            self.observed.asked_at = time.time()
        more: dict[str, Any] = {} if patience is None else {"timeout": patience}
        headers = {"Idempotency-Key": self._work.key}
        answer = await self._desk.call(
            "submit", "POST", "/api/submit", json=self._work.body, headers=headers, **more
        )  # fmt: skip
        if answer is not None and answer.status_code == 202:
            if not self.observed.is_acknowledged:
                self._desk.on_accepted(self._work)
            self.observed.ids.add(answer.json()["id"])
        elif uncertain(answer):
            self.observed.uncertain += 1
        elif answer is not None and _code(answer) == "user_limit_reached":
            self.observed.asked_at = None

    async def _cancel(self) -> None:
        while True:
            self.observed.asked_to_cancel = True
            answer = await self._desk.call("cancel", "POST", f"/api/jobs/{self._work.job_id}/cancel")
            if answer is not None and answer.status_code < 500:
                self.observed.was_canceled = answer.json().get("status") == "canceled" or (
                    answer.json().get("result") == "canceled"
                )
                return
            await asyncio.sleep(PAUSE)

    async def poll(self) -> bool:
        """Polls once. Returns whether the job is over, as far as this poll shows."""
        sent = time.monotonic()
        answer = await self._desk.call("poll", "GET", f"/api/status/{self._work.job_id}")
        if answer is None or answer.status_code != 200:
            self._note_sighting(sent, 0 if answer is None else answer.status_code, {})
            self.observed.not_found += answer is not None and answer.status_code == 404
            return False
        document = answer.json()
        self._note_sighting(sent, 200, document)
        if document["waiting_reason"]:
            self._desk.reasons[" ".join(document["waiting_reason"].split()[:2])] += 1
        if document["status"] in TERMINAL:
            self.observed.ends.append((document["status"], document["output"]))
            return True
        return False

    def _note_sighting(self, sent: float, code: int, document: dict[str, Any]) -> None:
        self._desk.sightings.append(
            Sighting(
                f"user of work {self._work.number}", self._work.job_id, sent, time.monotonic(), code, 0.0,
                **seen_in(document),
            )
        )  # fmt: skip


def uncertain(answer: httpx.Response | None) -> bool:
    """Whether the answer to a submit leaves open whether the job exists."""
    return answer is None or (answer.status_code >= 500 and _code(answer) not in SURELY_NOT)


def _code(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("code", ""))
    except (ValueError, AttributeError):
        return ""
