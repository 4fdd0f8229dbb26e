"""The doctor's scripts: those that look change nothing, and those that mend look again before they write."""

import secrets
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from shared.clock import Clock
from shared.config.settings import Settings
from shared.doctor.faults import Kind, Suspect
from shared.frozen import dataclass
from shared.jobqueue.answers import Forms
from shared.jobqueue.replies import Reply
from shared.jobqueue.scripted import Scripted
from shared.store import Store

VERBS = (
    "examine_jobs", "examine_users", "examine_batches", "examine_lanes", "examine_keys",
    "mend_job", "mend_batch", "mend_lane", "mend_gates", "trial",
)  # fmt: skip
LIBRARIES = ("looks", "events", "faults", "batches", "lanes")
FOLDER = Path(__file__).parent / "scripts"
MAX_PAUSE = 150.0  # s; two minutes, and a quarter more for jitter: see pauses.lua


@dataclass(frozen=True)
class Examined(Reply):
    """Faults of jobs or batches by id, and whose these are."""

    faults: dict[str, str]
    users: dict[str, str]


@dataclass(frozen=True)
class Found(Reply):
    """Faults of delivery lanes, by name."""

    faults: dict[str, str]


@dataclass(frozen=True)
class FoundPart(Reply):
    """Faults of users by name, and how many of the users were looked at."""

    faults: dict[str, str]
    looked_at: int


@dataclass(frozen=True)
class Lifetimes(Reply):
    """The seconds that keys have left, by name; -1 for ever."""

    ttls: dict[str, str]


@dataclass(frozen=True)
class Mended(Reply):
    """How many faults a script has healed."""

    mended: int


@dataclass(frozen=True)
class Seen(Reply):
    """What came of each trial; see trial.lua."""

    seen: dict[str, str]


FORMS: Forms = {
    "examine_jobs": (Examined,), "examine_users": (FoundPart,), "examine_batches": (Examined,),
    "examine_lanes": (Found,), "examine_keys": (Lifetimes,),
    "mend_job": (Mended,), "mend_batch": (Mended,), "mend_lane": (Mended,), "mend_gates": (Mended,),
    "trial": (Seen,),
}  # fmt: skip


class Bounds:
    """What is late, by the settings: a busy system in order stays below."""

    def __init__(self, s: Settings) -> None:
        # A look may be under way for as long as its function lives, which is shorter than a lease.
        self.late_after = timedelta(seconds=s.late_tick_after + s.lease)
        self.patience = timedelta(seconds=max(s.lease, s.check_interval, s.first_check_after) + s.lease)
        self.max_gate = timedelta(seconds=2 * max(MAX_PAUSE, 16 * s.circuit_pause, s.lease))


class Examiner(Scripted):
    """Looks at jobs, users, batches and delivery lanes, and mends them; one call each."""

    folder: ClassVar[Path | None] = FOLDER
    forms: ClassVar[Forms] = FORMS

    def __init__(self, store: Store, settings: Settings, clock: Clock) -> None:
        super().__init__(store, settings, clock)
        self.bounds = Bounds(settings)

    async def jobs(self, ids: Sequence[str]) -> list[Suspect]:
        """The jobs with faults. Four billed commands for each live one, one more in a batch, and 3 for an ended one."""
        if not ids:
            return []
        found = await self._run(
            "examine_jobs", Examined, ids=ids, patience=self.bounds.patience, late_after=self.bounds.late_after
        )
        return [
            Suspect("job", id_, tuple(said.split()), found.users.get(id_, "")) for id_, said in found.faults.items()
        ]

    async def users(self, names: Sequence[str]) -> list[Suspect]:
        """The users, as `owner:user`, whose sets have faults. One command for each, and one for each member.

        Several calls, if their sets are large.
        """
        suspects: list[Suspect] = []
        while names:
            found = await self._run("examine_users", FoundPart, users=names)
            suspects += [Suspect("user", name, tuple(said.split()), name) for name, said in found.faults.items()]
            names = names[max(1, found.looked_at) :]
        return suspects

    async def ttls(self, names: Sequence[str]) -> dict[str, str]:
        """Seconds that keys have left, by name without the root; -1 for ever. A key that is gone is left out."""
        return (await self._run("examine_keys", Lifetimes, names=names)).ttls if names else {}

    async def batches(self, ids: Sequence[str]) -> list[Suspect]:
        """The batches with faults; five commands for a live one, four for an ended one, one for a pending event."""
        if not ids:
            return []
        return _suspects("batch", await self._run("examine_batches", Examined, batches=ids))

    async def lanes(self, names: Sequence[str]) -> list[Suspect]:
        """The delivery lanes with faults; 3 commands each."""
        if not names:
            return []
        found = await self._run("examine_lanes", Found, lanes=names, late_after=self.bounds.late_after)
        return [Suspect("lane", name, (said,)) for name, said in found.faults.items()]

    async def mend_job(self, job_id: str) -> int:
        """Heals what the job itself lacks; returns how many faults."""
        mended = await self._run(
            "mend_job", Mended, job=self.keys.job(job_id), id=job_id,
            patience=self.bounds.patience, late_after=self.bounds.late_after,
        )  # fmt: skip
        return mended.mended

    async def mend_batch(self, batch_id: str) -> int:
        """Heals a batch's time to live and its lost events; returns how many faults."""
        return (await self._run("mend_batch", Mended, batch=self.keys.batch(batch_id), batch_id=batch_id)).mended

    async def mend_lane(self, lane: str) -> int:
        """Makes a delivery lane due that the outbox puts off too long."""
        return (await self._run("mend_lane", Mended, lane=lane, late_after=self.bounds.late_after)).mended

    async def mend_gates(self, gates: Sequence[str]) -> int:
        """Ends pauses and circuits that would last too long."""
        return (await self._run("mend_gates", Mended, gates=gates, max_gate=self.bounds.max_gate)).mended

    async def trial(self) -> dict[str, str]:
        """Tries on this store what the scripts rely on, and leaves nothing; 15 billed commands."""
        return (await self._run("trial", Seen, trial=self.keys.trial(secrets.token_hex(8)))).seen


def _suspects(kind: Kind, found: Examined) -> list[Suspect]:
    return [Suspect(kind, of, tuple(said.split()), found.users.get(of, "")) for of, said in found.faults.items()]
