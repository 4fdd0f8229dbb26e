"""The API keys that the operator has made. They are one HASH; a key's secret is in none of its fields.

    <id>          a key's record, as JSON text; key_record.py of shared/jobs has its type
    <id>:used     when the key was last used, in ms; noted now and then
    @<owner>      a key of this owner was made

No key is ever removed: a revoked one that turns up somewhere can still be named.
"""

from shared.frozen import dataclass
from shared.jobqueue.replies import Done
from shared.jobqueue.scripted import Scripted

IDS = "[a-z0-9]" * 12  # a pattern that fits ids, and no other field
USED = ":used"


@dataclass(frozen=True)
class StoredKey:
    """A key's record as text, and when it was last used (ms; 0 for never)."""

    id: str
    record: str
    used_at: int


class ApiKeys(Scripted):
    """Reads and writes the records of API keys."""

    async def read(self, key_id: str) -> StoredKey | None:
        """The key; None if there is none. One command, which a full store still takes."""
        record, used = await self._store.execute("HMGET", self.keys.api_keys, key_id, key_id + USED)
        return None if record is None else StoredKey(key_id, record, int(used or 0))

    async def page(self, cursor: str, count: int) -> tuple[tuple[StoredKey, ...], str]:
        """About ``count`` keys in no order, and where the next page begins; '0' at the end. Two commands.

        A key that is there during the whole walk is on some page, and may be on two.
        """
        at, found = await self._store.execute("HSCAN", self.keys.api_keys, cursor, "MATCH", IDS, "COUNT", str(count))
        # upstash-redis makes a dict of this answer (format.py); in memory mode it is flat.
        records = found if isinstance(found, dict) else dict(zip(found[::2], found[1::2], strict=True))
        if not records:
            return (), str(at)
        used = await self._store.execute("HMGET", self.keys.api_keys, *(key_id + USED for key_id in records))
        pairs = zip(records.items(), used, strict=True)
        return tuple(StoredKey(key_id, record, int(moment or 0)) for (key_id, record), moment in pairs), str(at)

    async def put(self, key_id: str, seen: str, record: str, owner: str, more: dict[str, str] | None = None) -> bool:
        """Writes the key's record, and ``more`` records; False if its record is no longer as ``seen``.

        ``seen`` is '' for a new key. One call and 3 billed commands.
        """
        fields = {key_id: record, **(more or {}), f"@{owner}": "1"}
        return (await self._run("key_put", Done, id=key_id, seen=seen, fields=fields)).has_changed

    async def has_owner(self, owner: str) -> bool:
        """Whether a key of this owner was made; one command."""
        return bool(await self._store.execute("HEXISTS", self.keys.api_keys, f"@{owner}"))

    async def note_use(self, key_id: str) -> None:
        """Notes that the key was used now; one plain command, which may be repeated."""
        await self._store.execute("HSET", self.keys.api_keys, key_id + USED, str(self._clock.now()))
