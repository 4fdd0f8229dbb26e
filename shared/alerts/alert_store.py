"""What the store keeps of alerts, and what it can tell of troubles. Each verb is one script, one call.

looked_at   when a process looked last
state       which alerts stand, what was told of them, and what is still to be sent; see standing.py
silences    what the operator does not want to be told; see silences.py
"""

from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Literal

from shared.frozen import dataclass
from shared.jobqueue.answers import Forms
from shared.jobqueue.reads import ProviderPause
from shared.jobqueue.replies import Done, Reply
from shared.jobqueue.scripted import Scripted

VERBS = ("alert_look", "alert_put")
FOLDER = Path(__file__).parent / "scripts"
Field = Literal["state", "silences"]
FIELDS: tuple[Field, Field] = ("state", "silences")


@dataclass(frozen=True)
class Early(Reply):
    """Another process has looked a short time ago."""

    words = ("early",)


@dataclass(frozen=True)
class Looked(Reply):
    """What alerts are about; times in ms. alert_look.lua says what each of them is."""

    words = ("looked",)

    known: str
    silences: str
    tick_at: int | None
    webhook_refused_at: int | None
    counters: tuple[int, ...]
    job: str
    since: int | None
    gates: dict[str, int]
    pauses: tuple[ProviderPause, ...]
    unknown: int
    lines: dict[str, int]
    dead: int
    dead_of: tuple[str, ...]
    copies: dict[str, int]
    hosts: dict[str, int]


FORMS: Forms = {"alert_look": (Looked, Early), "alert_put": (Done,)}


class AlertStore(Scripted):
    """Reads troubles, and keeps what is known of alerts."""

    folder: ClassVar[Path | None] = FOLDER
    forms: ClassVar[Forms] = FORMS

    async def look(self, gap: float, most_dead: int | None) -> Looked | None:
        """What alerts are about; None if a process has looked less than ``gap`` s ago.

        ``most_dead``: from so many dead letters on, it names their models. One call and 8 billed commands, or 2 if
        another process has looked; in trouble up to 70 more.
        """
        reply = await self._run("alert_look", Reply, gap=timedelta(seconds=gap), most_dead=most_dead)
        return reply if isinstance(reply, Looked) else None

    async def last_tick_at(self) -> int | None:
        """When the last tick ran (ms), None if there was none; one command."""
        value = await self._store.execute("HGET", self.keys.stats, "tick_at")
        return int(value) if value else None

    async def read(self) -> tuple[str, str, int | None]:
        """Returns the state and the silences as text, and when a process looked last (ms); one command."""
        state, silences, at = await self._store.execute("HMGET", self.keys.alerts, *FIELDS, "looked_at")
        return state or "", silences or "", int(at) if at else None

    async def put(self, field: Field, seen: str, value: str) -> bool:
        """Writes a field that is as ``seen``; False if it is no longer. One call and 3 billed commands."""
        return (await self._run("alert_put", Done, field=field, seen=seen, value=value)).has_changed
