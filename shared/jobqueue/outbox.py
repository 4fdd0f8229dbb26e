"""The verbs of the outbox: what is left to do when a job has ended or an event has happened."""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, cast

from shared.frozen import dataclass
from shared.jobqueue.constants import HOOK_LEASE
from shared.jobqueue.follow_ups import FollowUp
from shared.jobqueue.history import PageStart
from shared.jobqueue.reads import GivenUp, Undelivered
from shared.jobqueue.replies import Done, LaneRows, OutboxClaim, Released
from shared.jobqueue.scripted import Scripted
from shared.log import log

Word = Literal["delivered", "retry", "failed", "disabled", "held"]
EventState = Literal["pending", "delivered", "failed", "disabled"]
LANE_TTL = timedelta(days=7)  # how long it is remembered that a host failed or a URL was gone
JOB_EVENTS = ("processing", "completed", "files", "failed", "canceled")
MAX_LISTED = 100


@dataclass(frozen=True)
class Lane:
    """Events to deliver to one host for one owner, handed to this caller. ``has_held``: a URL of it gets nothing."""

    name: str
    rows: tuple[FollowUp, ...]
    has_held: bool = False


@dataclass(frozen=True)
class Tried:
    """How a delivery went. Times in ms; ``pause`` is how long the host asks to be left alone, None if it is well."""

    word: Word
    due: int
    entry: str  # what the event's log keeps of it: one line of JSON
    pause: int | None = None


@dataclass(frozen=True)
class EventRecord:
    """An event as its job or batch keeps it."""

    event: str
    state: EventState
    tries: int
    entries: tuple[str, ...]


class Outbox(Scripted):
    """Claims rows of the outbox and notes what became of them; each is one script."""

    async def claim(
        self, most_jobs: int, most_lanes: int, rows: int, *, only: str = ""
    ) -> tuple[list[FollowUp], list[Lane]]:
        """Takes due jobs whose files have to be stored, and due lanes with up to ``rows`` events each.

        With ``only`` nothing but this job's files.
        """
        claim = await self._run(
            "outbox_claim", OutboxClaim, most_jobs=most_jobs, most_lanes=most_lanes, rows=rows, only=only
        )
        now = self._clock.now()
        stores = [FollowUp("store", job_id, turn=turn, noted_at=now) for job_id, turn in claim.jobs.items()]
        return stores, [self._lane(lane, now) for lane in claim.lanes]

    @staticmethod
    def _lane(found: LaneRows, now: int) -> Lane:
        split = (row.partition("|") for row in found.rows)
        is_probe = found.failures > 0
        rows = tuple(FollowUp("tell", of, ev, is_probe=is_probe, noted_at=now) for ev, _, of in split)
        return Lane(found.lane, rows, has_held=found.held_until is not None)

    async def keep(
        self,
        job_id: str,
        turn: int,
        files: str,
        *,
        retry_at: int | None = None,
        is_news: bool = False,
        stored: int = 0,
        given_up: int = 0,
        incarnation: str = "",
    ) -> bool:
        """Notes the states of a job's files; without a ``retry_at`` (ms) all are final.

        With ``is_news``, the owner is notified of the job's end before that, and of its files once all are final.
        False: it was not our turn, or the job is another ``incarnation``.
        """
        reply = await self._run(
            "outbox_keep",
            Done,
            job=self.keys.job(job_id),
            id=job_id,
            turn=turn,
            incarnation=incarnation,
            files=files,
            retry_at=retry_at,
            is_news=is_news,
            stored=stored,
            given_up=given_up,
        )
        return reply.has_changed

    async def note(
        self, row: FollowUp, lane: str, tag: str, tries: int, tried: Tried, *, incarnation: str = ""
    ) -> bool:
        """Notes how a delivery went; ``tries`` were noted before it.

        False: another caller has noted more, or the job or batch is no longer kept.
        """
        reply = await self._run(
            "outbox_note",
            Done,
            holder=self._holder(row.event, row.id),
            lane_rows=self.keys.lane_rows(lane),
            lane_state=self.keys.lane_state(lane),
            event=row.event,
            id=row.id,
            incarnation=incarnation,
            lane=lane,
            tag=tag,
            tries=tries,
            word=tried.word,
            due=tried.due,
            entry=tried.entry or None,
            was_failing=row.is_probe,
            pause=None if tried.pause is None else timedelta(milliseconds=tried.pause),
            jitter=random.random(),  # noqa: S311 (no secret)
            lane_ttl=LANE_TTL,
        )
        if reply.word == "lost":
            log.error("undelivered", of=row.id, hook_event=row.event, word="lost")
        return reply.has_changed

    async def held_until(self, lane: str, tag: str) -> int:
        """Returns until when (ms) a URL of the lane gets nothing, since it asked for that; 0 if it is free."""
        return int(await self._store.execute("HGET", self.keys.lane_state(lane), f"held:{tag}") or 0)

    async def redeliver(self, holder_id: str, event: str, owner: str) -> None:
        """Leases the event to this caller, for a delivery at once. Raises JobNotFound or NoSuchEvent."""
        holder = self._holder(event, holder_id)
        await self._run("outbox_redeliver", Done, holder=holder, event=event, id=holder_id, owner=owner)
        self.follow_ups.note(f"again|{event}|{holder_id}")

    async def restore(self, *, lane: str = "", job_id: str = "") -> bool:
        """Puts a lane, or a job whose files are not stored, back where the outbox has lost it; says whether it had."""
        reply = await self._run("outbox_restore", Done, job=self.keys.job(job_id), lane=lane, id=job_id)
        return reply.has_changed

    async def release(self, rows: Sequence[FollowUp]) -> int:
        """Gives back rows that are leased to this caller, so that the next claim finds them; returns how many were.

        One call and 1 billed command; for a job's files 2 more, for an event 6.
        """
        given = [
            f"store|{row.id}|{row.turn}" if row.what == "store" else f"{row.event}|{row.id}|{row.noted_at + HOOK_LEASE}"
            for row in rows
        ]
        return (await self._run("outbox_release", Released, rows=given)).released

    async def read(self, holder_id: str, events: Sequence[str], names: Sequence[str]) -> dict[str, str]:
        """Fields of a job or, where the first event is a batch's, of a batch; empty if it is no longer kept."""
        of_events = [f"{kind}:{event}" for event in events for kind in "snl"]
        wanted = [*names, *of_events]
        values = await self._store.execute("HMGET", self._holder(events[0], holder_id), *wanted)
        return {name: value for name, value in zip(wanted, values, strict=True) if value is not None}

    async def due(self, lane: str, holder_id: str, events: Sequence[str]) -> dict[str, int]:
        """When pending events are tried next at the earliest (ms): a host that fails is left alone for longer.

        One command.
        """
        rows = [f"{event}|{holder_id}" for event in events]
        scores = await self._store.execute("ZMSCORE", self.keys.lane_rows(lane), *rows)
        return {event: int(float(at)) for event, at in zip(events, scores, strict=True) if at is not None}

    async def undelivered(self, start: PageStart) -> tuple[tuple[GivenUp, ...], PageStart | None]:
        """A page of what was given up, the last first, and where the next page begins; None after the last one.

        Two billed commands, and one for each event. Some more where more events than a page has one time.
        """
        found = await self._run(
            "outbox_undelivered", Undelivered, high=start.ms, bound=start.bound, page_size=MAX_LISTED
        )
        return found.events, None if found.high is None else PageStart(found.high, found.bound)

    def _holder(self, event: str, holder_id: str) -> str:
        return self.keys.batch(holder_id) if event.startswith("batch") else self.keys.job(holder_id)


def event_records(fields: dict[str, str], events: Sequence[str]) -> list[EventRecord]:
    """The events among the fields that have happened, with their tries, oldest first."""
    return [
        EventRecord(event, cast(EventState, fields[f"s:{event}"]), int(fields.get(f"n:{event}", "0")),
                    tuple(filter(None, fields.get(f"l:{event}", "").split("\n"))))
        for event in events
        if f"s:{event}" in fields
    ]  # fmt: skip
