"""Delivers events to their owners' endpoints: one try at a time; the outbox records each try and what follows."""

import asyncio
import functools
import json
import random
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

from shared import tracing
from shared.clock import Clock, read_retry_after
from shared.config.limits import MAX_JOBS
from shared.config.settings import Settings
from shared.documents.event import batch_event, job_event
from shared.hooks.event import NotedTry, attributes_of_answer, event_body, headers, traced
from shared.jobqueue import FollowUp, Outbox, Tried
from shared.jobqueue.batch import BatchRecord
from shared.jobqueue.outbox import Lane
from shared.jobqueue.record import JobRecord
from shared.json_value import Json
from shared.log import log
from shared.mailboxes import is_mailto
from shared.signing.derived import event_id_for
from shared.storage.bucket import Bucket
from shared.storage.files import gone_before

if TYPE_CHECKING:
    from shared.hooks.mailing import Mailing
    from shared.tally import Tally

# s before each try (Standard Webhooks, specification: "Deliverability and reliability"): ten tries in three days.
LADDER = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
MAX_RETRY_AFTER = 86_400.0  # s
MAX_ANSWER_KEPT = 500  # bytes that the log keeps
GONE, TOO_MANY = 410, 429
# Errors that leave the whole host alone for a while
OF_THE_HOST = ("timeout", "unreachable", "tls_failed", "mail_unavailable", "mail_uncertain")
NO_LANE = Lane("", ())
GIVEN_UP_AFTER = 388_800.0  # s; four and a half days, enough for all tries unless the host delays them
JOB_FIELDS = (
    "owner", "user", "queue", "provider", "model", "metadata", "state", "outcome", "attempt", "snoozes", "started_at",
    "created_at", "ended_at", "notified_at", "kept_at", "output", "files", "storing", "error_code", "error_detail",
    "error_retryable", "batch", "incarnation", "charged", "hook_url", "hook_lane", "hook_tag",
)  # fmt: skip
BATCH_FIELDS = (
    "owner", "user", "queue", "metadata", "expected", "created_at", "ended_at", "rounds", "policy", "incarnation",
    "hook_url", "hook_lane", "hook_tag", *(f"s{n}" for n in range(MAX_JOBS)),
)  # fmt: skip


class Client(Protocol):
    """The part of an ``httpx.AsyncClient`` that is used."""

    def stream(
        self, method: str, url: str, *, content: bytes, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Any]: ...

    async def aclose(self) -> None: ...


class Deliveries:
    """Sends the outbox's events to their owners, with a guarded client by default. Belongs to one event loop.

    A ``tally`` counts the tries by what came of them, and the time from what happened until its delivery.
    """

    tally: "Tally | None" = None

    def __init__(
        self, outbox: Outbox, bucket: Bucket, settings: Settings, clock: Clock, client: Client | None = None
    ) -> None:
        self._outbox = outbox
        self._bucket = bucket
        self._settings = settings
        self._clock = clock
        self._opened = client

    async def deliver(self, row: FollowUp, claimed: Lane = NO_LANE) -> bool:
        """Tries once to deliver an event; returns False if its host failed, and its lane should wait.

        ``claimed`` is the lane that handed it out. An event whose URL asked to be left alone is put off, untried.
        """
        is_batch = row.event.startswith("batch")
        names = (*BATCH_FIELDS, f"e:{row.event}") if is_batch else JOB_FIELDS
        f = await self._outbox.read(row.id, (row.event,), names)
        lane = f.get("hook_lane", claimed.name)
        tries, incarnation = int(f.get(f"n:{row.event}", "0")), f.get("incarnation", "")
        if "hook_url" not in f or f.get(f"s:{row.event}") != "pending":
            # The job was deleted, or another call has delivered the event. So the row is removed.
            await self._outbox.note(row, lane, "", -1, Tried("failed", 0, ""), incarnation=incarnation)
            return True
        held_until = await self._outbox.held_until(lane, f["hook_tag"]) if claimed.has_held else 0
        if held_until > self._clock.now():
            await self._outbox.note(
                row, lane, f["hook_tag"], tries, Tried("held", held_until, ""), incarnation=incarnation
            )
            return True
        prepared = self._prepared(row, f)
        tried = prepared if isinstance(prepared, Tried) else await self._try(row, f, tries, prepared)
        await self._outbox.note(row, lane, f["hook_tag"], tries, tried, incarnation=incarnation)
        self._count(tried, row, f)
        log.info("delivery", of=row.id, hook_event=row.event, tries=tries + 1, word=tried.word, **_reason(tried))
        if tried.word in ("failed", "disabled"):
            log.error("undelivered", of=row.id, hook_event=row.event, owner=f["owner"], word=tried.word)
        return tried.pause is None

    def _count(self, tried: Tried, row: FollowUp, f: Mapping[str, str]) -> None:
        if self.tally is None:
            return
        self.tally.count(f"deliveries.{tried.word}")
        # What is sent again by hand says nothing of how long owners wait.
        if tried.word == "delivered" and not row.is_asked_for:  # mutant: asked for again
            happened_at = int(f.get("started_at") or 0) if row.event == "processing" else _happened_at(f)
            now = self._clock.now()
            series = f"{f['queue']}|{f['provider']}|{f['model']}" if "model" in f else ""
            self.tally.time("tell", now - (happened_at or now), series=series)

    def _prepared(self, row: FollowUp, f: Mapping[str, str]) -> bytes | Tried:
        """Returns the event's body. Returns its end instead if it is too old, or if its job cannot be read."""
        now = self._clock.now()
        if now > (_happened_at(f) or now) + GIVEN_UP_AFTER * 1000 and not row.is_asked_for:
            return Tried("failed", 0, _entry(now, error="too_late"))
        try:
            return self._body(row, f)
        except (ValueError, KeyError, TypeError):
            log.error("event_unreadable", of=row.id, hook_event=row.event)
            return Tried("failed", 0, _entry(now, error="unreadable"))

    async def _try(self, row: FollowUp, f: Mapping[str, str], tries: int, body: bytes) -> Tried:
        from shared.egress import looked_up_for

        now, began = self._clock.now(), time.monotonic()
        event_id = event_id_for(self._settings.signing_key, row.id, f.get("incarnation", ""), row.event)
        sent = headers(self._settings, f["owner"], event_id, now, body)
        incarnation = f.get("incarnation", "")
        about: tracing.Attributes = {"http.request.method": "POST", "sluice.event": row.event, "sluice.try": tries + 1}
        with tracing.step("deliver", "client", row.id, incarnation, about) as span:
            if is_mailto(f["hook_url"]):
                answer, retry_after = "", 0.0
                status, error = await self._mailing.send(event_id, row.event, f["hook_url"], f.get("metadata", ""))
            else:
                trace = span.traceparent or tracing.trace_of(incarnation)
                with looked_up_for(f["owner"]):
                    status, answer, retry_after, error = await self._post(f["hook_url"], body, traced(sent, trace))
            span.set(attributes_of_answer(status, error))
        duration = round((time.monotonic() - began) * 1000)
        entry = _entry(now, status=status, duration=duration, answer=answer, error=error)
        if status is not None and 200 <= status < 300:  # mutant: success
            return Tried("delivered", 0, entry)
        if status == GONE or error == "mail_refused":  # mutant: unknown mailbox
            return Tried("disabled", 0, entry)
        is_host = error in OF_THE_HOST or (status is not None and (status >= 500 or status == TOO_MANY))
        asked = round(min(retry_after, MAX_RETRY_AFTER) * 1000)  # mutant: retry after
        # Any other answer delays this event only, and not the host's lane.
        pause = asked if is_host else None
        if tries + 1 >= len(LADDER):  # mutant: end of the ladder
            return Tried("failed", 0, entry, pause)
        # mutant: next wait
        delay = LADDER[tries + 1] * (1 + random.random() / 10) * self._settings.timing_scale  # noqa: S311 (jitter)
        return Tried("retry", now + max(round(delay * 1000), asked), entry, pause)

    async def _post(self, url: str, body: bytes, sent: Mapping[str, str]) -> tuple[int | None, str, float, str | None]:
        """Returns the status, the beginning of the answer, the wait that it asks for (s), and an error's word."""
        # It loads httpx, which functions without deliveries never need.
        from shared.egress import TOO_SLOW, UNREACHABLE, EgressRefused, is_tls_failure

        status, answer, retry_after = None, b"", 0.0
        try:
            async with asyncio.timeout(self._settings.hook_timeout):
                async with self._client.stream("POST", url, content=body, headers=sent) as response:
                    status = response.status_code
                    retry_after = read_retry_after(response.headers, self._clock.now()) or 0.0
                    async for piece in response.aiter_raw(MAX_ANSWER_KEPT):
                        answer += piece
                        if len(answer) >= MAX_ANSWER_KEPT:
                            break
        except EgressRefused as refused:
            # An unknown or slow name may be the resolver's trouble, and not the host's.
            is_unknown = refused.reason in ("unresolved", "lookup")
            return None, "", 0.0, "unresolved" if is_unknown else "address_refused"
        except TOO_SLOW:
            if status is None:
                return None, "", 0.0, "timeout"
        except UNREACHABLE as error:
            if status is None:
                log.info("hook_unreachable", error=type(error).__name__)
                return None, "", 0.0, "tls_failed" if is_tls_failure(error) else "unreachable"
        # The status decides. An error in the body only shortens the answer in the log.
        return status, answer[:MAX_ANSWER_KEPT].decode("utf-8", "replace"), retry_after, None

    @functools.cached_property
    def _mailing(self) -> "Mailing":
        from shared.hooks.mailing import Mailing  # most deployments send no mail

        return Mailing(self._settings)

    @property
    def _client(self) -> Client:
        if self._opened is None:
            from shared.egress import Guard, guarded_client

            # mutant: guard
            self._opened = guarded_client(Guard(self._settings.allow_loopback), self._settings.hook_timeout)
        return self._opened

    def _body(self, row: FollowUp, f: Mapping[str, str]) -> bytes:
        now = self._clock.now()
        if row.event.startswith("batch"):
            batch = BatchRecord(row.id, f)
            noted = [int(number) for number in f.get(f"e:{row.event}", "").split(",") if number]
            return event_body(row.event, (noted or [batch.ended_at or now])[0], batch_event(batch, noted))
        job = JobRecord(row.id, f)
        match row.event:
            case "processing":
                happened_at = job.started_at
            case "completed":
                happened_at = job.notified_at or job.kept_at or job.ended_at
            case _:
                happened_at = job.kept_at or job.ended_at

        def url_of(key: str) -> str:
            return self._bucket.url(key, now)

        data = job_event(job, row.event, url_of, gone_before=gone_before(self._settings, now))
        return event_body(row.event, happened_at or now, data)

    async def close(self) -> None:
        """Closes the connections."""
        if "_mailing" in vars(self):
            await self._mailing.close()
        if self._opened is not None:
            await self._opened.aclose()


def _reason(tried: Tried) -> dict[str, Json]:
    """What the log says of a try that failed: the status or the error, and whether its host is left alone."""
    if tried.word in ("delivered", "held"):
        return {}
    entry = json.loads(tried.entry)
    return {"status": entry["status"], "error": entry["error"], "is_host_left": tried.pause is not None}


def _happened_at(f: Mapping[str, str]) -> int:
    """Returns when what an event is about has happened (ms); 0 if that is not known."""
    return int(f.get("kept_at") or f.get("ended_at") or f.get("started_at") or 0)


def _entry(at: int, *, status: int | None = None, duration: int = 0, answer: str = "", error: str | None = None) -> str:
    """Returns a try as one line of the event's log."""
    noted: NotedTry = {"at": at, "status": status, "duration_ms": duration, "answer": answer, "error": error}
    return json.dumps(noted, separators=(",", ":"))
