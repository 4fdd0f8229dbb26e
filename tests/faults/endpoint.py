"""The owners' endpoint: verifies each event with third-party code, and answers as the scenario says."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from shared.config.settings import Settings
from shared.hooks.event import secrets_of
from shared.signing.derived import event_id_for
from tests.faults.books import Books
from tests.faults.clients import CALLER
from tests.faults.process import Passage, Process
from tests.faults.scenario import Scenario
from tests.invariants import State

STATUS = {"ok": 204, "down": 500, "gone": 410}
TOLERANCE = 300.0  # s; the maximum age of a timestamp


class Surroundings(Protocol):
    """What the endpoint needs of the simulation."""

    books: Books
    settings: Settings
    scenario: Scenario

    def state_now(self) -> State:
        """Returns the store's data at this moment."""

    def complain(self, fault: str) -> None:
        """Reports a broken invariant."""


class Verifier(Webhook):
    """Accepts the simulation's timestamps."""

    def _Webhook__verify_timestamp(self, header: str) -> datetime:
        return datetime.fromtimestamp(float(header), tz=UTC)


@dataclass
class Response:
    """An answer without a body."""

    status_code: int
    headers: dict[str, str] = field(default_factory=dict)

    async def aiter_raw(self, chunk_size: int | None = None) -> AsyncGenerator[bytes, None]:
        for nothing in (b"",):
            yield nothing


class FaultyEndpoint:
    """A client of the endpoint. The scenario's ``endpoint`` lists the results of its POSTs, in order."""

    process: Process

    def __init__(self, world: Surroundings) -> None:
        self._world = world
        self._verifier = Verifier(secrets_of(world.settings, CALLER)[0])

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, *, content: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator[Response]:
        process = self.process

        async def posted(passage: Passage) -> Response:
            loss = passage.loss
            if loss is not None and loss.when == "before":
                raise TimeoutError
            response = self._receive(content, dict(headers), process)
            if loss is not None:
                if loss.kind == "stale_repeat":
                    await process.freeze(loss)
                raise TimeoutError
            return response

        yield await process.io("hook:post", posted)

    async def aclose(self) -> None:
        """Nothing to close."""

    def _receive(self, body: bytes, headers: dict[str, str], process: Process) -> Response:
        world = self._world
        outside, ways = world.books.outside, world.scenario.endpoint
        if world.books.now / 1000 - int(headers["webhook-timestamp"]) > TOLERANCE:
            return Response(401)  # signed before its process froze; any verifier refuses it
        count = outside.asked["posts"] = outside.asked.get("posts", 0) + 1
        try:
            said = self._verifier.verify(body, headers)
        except WebhookVerificationError as error:
            world.complain(f"I6 a delivery cannot be verified: {error}")
            return Response(401)
        row = self._judge(said, headers["webhook-id"])
        state = world.state_now()
        leased_until = [rows[row] for rows in state.rows.values() if row in rows]
        if leased_until and leased_until[0] <= world.books.now and not process.was_frozen:
            world.complain(f"I3 {row} is delivered without a lease")
        way = ways[min(count, len(ways)) - 1]
        if way == "hangs":
            raise TimeoutError
        if way == "ok":
            outside.received[row] = outside.received.get(row, 0) + 1
        return Response(STATUS[way])

    def _judge(self, said: Any, event_id: str) -> str:
        """Checks that an event is true. Returns its row, as in the outbox."""
        world, state = self._world, self._world.state_now()
        kind, holder, data = said["type"], said["data"]["id"], said["data"]
        key = world.settings.signing_key
        if kind == "batch.completed":
            fields = state.batches.get(holder, {})
            events = [name[2:] for name in fields if name.startswith("s:batch")]
            incarnation = fields.get("incarnation", "")
            event = next((name for name in events if event_id_for(key, holder, incarnation, name) == event_id), "")
            if not event:
                world.complain(f"I6 {holder} has no batch end with the event id {event_id}")
            return f"{event}|{holder}"
        event = kind.removeprefix("job.")
        fields = state.jobs.get(holder, {})
        incarnations = [life for job_id, life in state.deleted if job_id == holder] + [fields.get("incarnation", "")]
        if event_id not in (event_id_for(key, holder, life, event) for life in incarnations):
            world.complain(f"I6 {kind} of {holder} has the id {event_id}")
        outcome = "completed" if event == "files" else event
        is_true = bool(fields.get("started_at")) if event == "processing" else fields.get("outcome") == outcome
        if not is_true and outcome not in (end for (job_id, _), end in state.deleted.items() if job_id == holder):
            world.complain(f"I6 {event} of {holder} is sent, but it is {fields.get('state')} {fields.get('outcome')}")
        for file in data.get("files") or []:
            key_of = file["url"].removeprefix("https://kept.test/")
            is_there = (
                file["state"] != "stored"
                or key_of in world.books.outside.objects
                or holder in world.books.outside.erasing
            )
            is_late = file["state"] == "pending" and not (event == "completed" and file["error"])
            if is_late or not is_there:
                world.complain(f"I6 {event} of {holder} is sent, but a file is {json.dumps(file)}")
        return f"{event}|{holder}"
