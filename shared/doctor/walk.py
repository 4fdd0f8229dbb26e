"""The doctor's walk: past all entries of the index, then past all keys of the store, some at a time.

A page costs one command for its step, and what its scripts cost; so a call costs what its limit allows, however much
the store holds. A cursor is `index.n` or `keys.n`, with the store's own cursor behind the dot. What is there from the
walk's begin to its end is met; what moves meanwhile may be met twice.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from shared.clock import Clock
from shared.config.settings import Settings
from shared.doctor.examiner import Examiner
from shared.doctor.faults import Suspect
from shared.jobqueue import keys
from shared.jobqueue.scripted import Scripted
from shared.store import Store

FIRST = "index.0"
ENTRIES = 500  # of the index that one step walks past; a job has up to four
KEYS = 200  # of the store that one step walks past
AT_ONCE = 100  # jobs in one call
FEW = 20  # users, batches or delivery lanes in one call
OF_COMPANIONS = ("!", "%")  # the alarm and the share of a job; see prelude.lua
NO_JOBS = (*OF_COMPANIONS, "@", "~", "=")
# Keys that every script which writes them gives a time to live
EXPIRING = (
    keys.PREDICTIONS,
    keys.HOSTS,
    keys.ARCHIVES,
    keys.ERASURES,
    keys.CODES,
    keys.CODE_CLIENTS,
    keys.RATES,
    keys.COMMANDS,
)
Look = Callable[[Sequence[str]], Awaitable[list[Suspect]]]
LETTERS = tuple(value for name, value in vars(keys).items() if name.isupper() and isinstance(value, str))


@dataclass
class Page:
    """What a step has met: what has faults, how many entries or keys it passed, and where the next step begins."""

    suspects: list[Suspect]
    passed: int
    following: str | None
    met: dict[str, int] = field(default_factory=dict)  # how many of each kind


class Walk(Scripted):
    """Takes one step at a time."""

    def __init__(self, store: Store, settings: Settings, clock: Clock, examiner: Examiner) -> None:
        super().__init__(store, settings, clock)
        self._examiner = examiner

    async def step(self, cursor: str) -> Page:
        """The page at a cursor."""
        place, _, at = cursor.partition(".")
        return await (self._in_index(at) if place == "index" else self._past_keys(at))

    async def examine(self, suspects: Iterable[Suspect]) -> list[Suspect]:
        """Looks again at what had faults; what has none any longer is left out."""
        by_kind: dict[str, list[Suspect]] = {}
        for suspect in suspects:
            by_kind.setdefault(suspect.kind, []).append(suspect)

        def ids(kind: str) -> list[str]:
            return list(dict.fromkeys(suspect.id for suspect in by_kind.get(kind, [])))

        return [
            *await self._jobs(ids("job")),
            *await self._few(self._examiner.users, ids("user")),
            *await self._few(self._examiner.batches, ids("batch")),
            *await self._few(self._examiner.lanes, ids("lane")),
            *await self._lasting(ids("key")),
        ]

    async def _in_index(self, at: str) -> Page:
        """Finds entries of the index without a job. The keys' walk compares those that have one.

        Three commands. One EXISTS counts the records of a page; only a page that lacks one is looked at more closely.
        """
        following, entries = await self._store.execute("ZSCAN", self.keys.index, at, "COUNT", str(ENTRIES))
        members = _members(entries)
        jobs = [member for member in members if not member.startswith(NO_JOBS)]
        alone = {member[1:] for member in members if member.startswith(OF_COMPANIONS)} - set(jobs)
        suspects = [*await self._jobs(await self._unrecorded(jobs)), *await self._jobs(await self._unindexed(alone))]
        is_last = str(following) == "0"
        return Page(suspects, len(members), "keys.0" if is_last else f"index.{following}", {"entries": len(members)})

    async def _unrecorded(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids among which a record is missing; none if all have one."""
        suspects: list[str] = []
        for first in range(0, len(ids), AT_ONCE):
            part = ids[first : first + AT_ONCE]
            if await self._store.execute("EXISTS", *(self.keys.job(job_id) for job_id in part)) < len(part):
                suspects += part
        return suspects

    async def _unindexed(self, ids: Iterable[str]) -> list[str]:
        """Those of the ids that only an alarm or a share names."""
        given = sorted(ids)
        if not given:
            return []
        scores = await self._store.execute("ZMSCORE", self.keys.index, *given)
        return [job_id for job_id, score in zip(given, scores, strict=True) if score is None]

    async def _past_keys(self, at: str) -> Page:
        """Compares the jobs, users, batches and delivery lanes of one step with all their places."""
        found = await self._store.execute("SCAN", at, "MATCH", f"{self.keys.root}*", "COUNT", str(KEYS))
        following, names = str(found[0]), [str(key).removeprefix(self.keys.root) for key in found[1]]
        of: dict[str, list[str]] = {letter: [] for letter in LETTERS}
        unknown: list[Suspect] = []
        for name in names:
            if (letter := letter_of(name)) is None:
                unknown.append(Suspect("key", name, ("unknown_key:",)))
            else:
                of[letter].append(name.removeprefix(letter))
        batches = list(dict.fromkeys([*of[keys.BATCHES], *of[keys.BATCH_QUEUES]]))
        suspects = [
            *await self._jobs(of[keys.JOBS]),
            *await self._few(self._examiner.users, of[keys.USERS]),
            *await self._few(self._examiner.batches, batches),
            *await self._few(self._examiner.lanes, of[keys.LANE_ROWS]),
            *await self._lasting([letter + name for letter in EXPIRING for name in of[letter]]),
            *unknown,
        ]
        met = {"jobs": len(of[keys.JOBS]), "users": len(of[keys.USERS]), "batches": len(batches), "keys": len(names)}
        # A step passes as many keys of others, if the database is shared.
        passed = max(len(names), KEYS)  # mutant: keys of others
        return Page(suspects, passed, None if following == "0" else f"keys.{following}", met)

    async def _jobs(self, ids: Sequence[str]) -> list[Suspect]:
        parts = [ids[first : first + AT_ONCE] for first in range(0, len(ids), AT_ONCE)]
        return [suspect for part in parts for suspect in await self._examiner.jobs(part)]

    @staticmethod
    async def _few(look: Look, names: Sequence[str]) -> list[Suspect]:
        parts = [names[first : first + FEW] for first in range(0, len(names), FEW)]
        return [suspect for part in parts for suspect in await look(part)]

    async def _lasting(self, names: Sequence[str]) -> list[Suspect]:
        """The keys that never expire although they should, or that are none of ours; one command each, in one call."""
        lasting = []
        for name, ttl in (await self._examiner.ttls(names)).items():
            if letter_of(name) is None:
                lasting.append(Suspect("key", name, ("unknown_key:",)))
            elif ttl == "-1":
                lasting.append(Suspect("key", name, ("key_without_ttl:-1",)))
        return lasting


def _members(entries: Sequence[str] | Sequence[tuple[str, float]]) -> list[str]:
    """The members of a scanned sorted set: the client of the REST API makes pairs of a flat list, memory mode none."""
    if entries and not isinstance(entries[0], str):
        return [entry[0] for entry in entries]
    return [str(entry) for entry in entries[::2]]


def letter_of(name: str) -> str | None:
    """The letters of keys.py that a name begins with, or is; None if this deployment has no such key."""
    letter, colon, _ = name.partition(":")
    return next((beginning for beginning in (letter + colon, letter) if beginning in LETTERS), None)
