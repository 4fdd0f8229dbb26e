"""The check of all jobs and what belongs to them, and the heals of what it finds.

A finding is what two looks have seen, SECOND_LOOK apart: a script that has stopped half-way is repeated meanwhile. A
heal is one script, which looks again before it writes, or a verb that does. After the heals comes another look.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from shared.budget import Budget
from shared.clock import Clock
from shared.config.settings import Settings
from shared.dispatch.dispatcher import Dispatcher
from shared.doctor.check import Said
from shared.doctor.examiner import Examiner
from shared.doctor.faults import FAULTS, Heal, Suspect
from shared.doctor.walk import FIRST, Walk
from shared.documents.doctor import Finding
from shared.errors import StoreError, StoreUnavailable, StoreUncertain
from shared.frozen import dataclass
from shared.jobqueue import Controls, JobQueue, Outbox
from shared.jobqueue.constants import DAY
from shared.json_value import Json
from shared.log import log
from shared.outbox.worker import OutboxWorker
from shared.store import Store

SECOND_LOOK = 2.0  # s after the first one; a lost answer's repeat comes within it
MAX_SUSPECTS = 100  # that a call looks at twice, and heals

StoppedBy = Literal["out_of_time", "limit"]


@dataclass(frozen=True)
class Looked:
    """What a call has found of the jobs, and where the next one goes on."""

    said: Said
    stopped_by: StoppedBy | None
    following: str | None


class QueueCheck:
    """Walks past jobs and keys, and heals."""

    name = "queue"

    def __init__(
        self, store: Store, queue: JobQueue, controls: Controls, outbox: Outbox, dispatcher: Dispatcher,
        worker: OutboxWorker, settings: Settings, clock: Clock,
    ) -> None:  # fmt: skip
        self._store = store
        self._queue = queue
        self._controls = controls
        self._outbox = outbox
        self._dispatcher = dispatcher
        self._worker = worker
        self._settings = settings
        self._clock = clock
        self._examiner = Examiner(store, settings, clock)
        self._walk = Walk(store, settings, clock, self._examiner)

    async def run(self, cursor: str | None, limit: int, budget: Budget, *, fix: bool) -> Looked:
        """Looks at up to ``limit`` entries and keys from a cursor on, or from the first; heals if ``fix``."""
        met: dict[str, int] = {}
        suspects = [] if cursor else await self._gates()
        at, passed, stopped_by = cursor or FIRST, 0, None
        following: str | None = at
        while following is not None:
            if stopped_by := self._reason_to_stop(budget, passed, limit, len(suspects)):
                break
            page = await self._walk.step(following)
            suspects, passed, following = suspects + page.suspects, passed + page.passed, page.following
            for kind, count in page.met.items():
                met[kind] = met.get(kind, 0) + count
        confirmed = await self._confirmed(suspects)
        left, undetermined = None, []
        if fix and confirmed:
            try:
                left = await self._healed(confirmed, budget)
            except StoreError as error:  # what was found is kept
                undetermined.append(f"What is healed is not known: {error.detail} Ask again.")
        said = Said(findings(confirmed, left) if confirmed else [], undetermined, {**met})
        return Looked(said, stopped_by, following)

    def _reason_to_stop(self, budget: Budget, passed: int, limit: int, suspects: int) -> StoppedBy | None:
        # Behind the walk come two further looks and the heals.
        if budget.left < 6 * self._settings.store_total_timeout:
            return "out_of_time"
        return "limit" if passed >= limit or suspects >= MAX_SUSPECTS else None

    async def _gates(self) -> list[Suspect]:
        """Pauses that last too long: automatic ones beyond all bounds, an operator's for more than a day."""
        standing, now = (await self._controls.set_gates({})).standing, self._clock.now()
        longest = now + self._examiner.bounds.max_gate.total_seconds() * 1000
        found = [
            Suspect("gate", gate, (f"forgotten_pause:{(until - now) // 1000}",))
            for gate, until in standing.items()
            if gate.startswith(("~p", "~o")) and until > longest
        ]
        paused = [gate for gate, value in standing.items() if gate.startswith("=") and value == 0]
        known = await self._store.execute("HMGET", self._queue.keys.halts, *paused) if paused else []
        for gate, halts in zip(paused, known, strict=True):
            since = (halts or "").rpartition(",")[2]
            if since.endswith("-") and now - int(since[:-1]) > DAY:
                found.append(Suspect("gate", gate, (f"long_pause:{(now - int(since[:-1])) // 3_600_000}",)))
        return found

    async def _confirmed(self, suspects: Sequence[Suspect]) -> list[Suspect]:
        """What a second look sees too, of each thing the faults that both have seen."""
        once = {(suspect.kind, suspect.id): suspect for suspect in suspects}
        if not once:
            return []
        await self._clock.sleep(SECOND_LOOK * self._settings.timing_scale)
        confirmed = []
        for again in await self._again(once.values()):
            first = once[again.kind, again.id]
            faults = tuple(fault for fault in again.faults if fault.partition(":")[0] in first.words)  # mutant: twice
            if faults:
                confirmed.append(replace(again, faults=faults))
        return confirmed

    async def _again(self, suspects: Iterable[Suspect]) -> list[Suspect]:
        given = list(suspects)
        gates = {suspect.id for suspect in given if suspect.kind == "gate"}
        found = await self._walk.examine(given)
        return [*found, *(gate for gate in await self._gates() if gate.id in gates)] if gates else found

    async def _healed(self, confirmed: Sequence[Suspect], budget: Budget) -> list[Suspect]:
        """Heals as far as there is time; returns what is left after that."""
        wanted: set[Heal] = set()
        for suspect in confirmed:
            if budget.left < 3 * self._settings.store_total_timeout:
                break
            wanted |= suspect.heals()
            try:
                await self._heal(suspect)
            except (StoreUnavailable, StoreUncertain):
                raise
            except Exception as error:
                log.exception("heal_failed", kind=suspect.kind, error=type(error).__name__)
        if "dispatch" in wanted:
            await self._dispatcher.run(budget)
        if "deliver" in wanted:
            await self._worker.run(Budget(max(0.0, budget.left - 3 * self._settings.store_total_timeout)))
        left = await self._again(confirmed)
        healed = sum(found["healed"] is True for found in findings(confirmed, left))
        if healed:
            log.warning("doctor_healed", found=len(confirmed), healed=healed)
        return left

    async def _heal(self, suspect: Suspect) -> None:
        """Does what its faults need, each by one script that looks again."""
        heals = suspect.heals()
        if suspect.kind == "lane" and "restore" in heals:
            await self._outbox.restore(lane=suspect.id)
        if suspect.kind == "job" and "restore" in heals:
            await self._outbox.restore(job_id=suspect.id)
        if "expire" in heals:
            await self._queue.expire(suspect.id)
        if "rehome" in heals and suspect.user:
            ids = [suspect.id] if suspect.kind == "job" else self._members(suspect)
            user = self._queue.keys.users + suspect.user
            await self._queue.rehome(user, ids, whole=suspect.kind != "job")
        if "mend" in heals:
            await self._mend(suspect)

    @staticmethod
    def _members(suspect: Suspect) -> list[str]:
        """The jobs that a batch has lost, and those by which it is ended or found by its user."""
        return [job for word in ("lost_member", "not_ended", "unmarked_batch") for job in suspect.shown(word)]

    async def _mend(self, suspect: Suspect) -> None:
        match suspect.kind:
            case "job":
                await self._examiner.mend_job(suspect.id)
            case "batch":
                await self._examiner.mend_batch(suspect.id)
            case "lane":
                await self._examiner.mend_lane(suspect.id)
            case "gate":
                await self._examiner.mend_gates([suspect.id])


def findings(confirmed: Sequence[Suspect], left: Sequence[Suspect] | None) -> list[Finding]:
    """A finding for each thing and word. ``left`` is what a look after the heals has seen; None without heals."""
    remaining = None if left is None else {(one.kind, one.id, word) for one in left for word in one.words}
    found: list[Finding] = []
    for suspect in confirmed:
        for word in sorted(suspect.words):
            fault = FAULTS[word]
            is_left = None if remaining is None or not fault.heal else (suspect.kind, suspect.id, word) in remaining
            evidence: dict[str, Json] = {fault.shows: list(suspect.shown(word))}
            if suspect.user and suspect.kind != "user":
                evidence["user"] = suspect.user
            found.append(
                {
                    "code": word, "severity": fault.severity, "kind": suspect.kind, "subject": suspect.id,
                    "evidence": evidence, "text": fault.text, "advice": fault.advice,
                    "can_heal": bool(fault.heal), "healed": None if is_left is None else not is_left,
                }
            )  # fmt: skip
    return found
