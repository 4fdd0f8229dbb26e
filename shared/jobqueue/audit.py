"""The audit stream: what operators did, and who was erased; the newest entries, up to a number."""

from collections.abc import Mapping

from shared.frozen import dataclass
from shared.jobqueue.scripted import Scripted

NEWEST = "+"


@dataclass(frozen=True)
class AuditEntry:
    """An entry's place in the stream, and its fields as text."""

    place: str
    fields: Mapping[str, str]


class Audit(Scripted):
    """Appends to the stream, and reads it."""

    async def append(self, fields: Mapping[str, str], most: int) -> None:
        """Appends an entry and drops the oldest beyond about ``most``; one command.

        If an answer is lost, the store's client repeats it, and the entry may be there twice.
        """
        flat = [part for pair in fields.items() for part in pair]
        await self._store.execute("XADD", self.keys.audit, "MAXLEN", "~", str(most), "*", *flat)

    async def page(self, before: str | None, count: int) -> list[AuditEntry]:
        """The newest entries, or the newest of those before a place; one command."""
        high = NEWEST if before is None else f"({before}"
        rows = await self._store.execute("XREVRANGE", self.keys.audit, high, "-", "COUNT", str(count))
        return [AuditEntry(place, dict(zip(flat[::2], flat[1::2], strict=True))) for place, flat in rows]
