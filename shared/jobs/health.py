"""Whether this deployment works, from one look at the store that all callers share for a moment.

Anybody may ask, so an answer is kept for KEPT seconds: no flood of questions costs more than one call in that time.
"""

import time
from dataclasses import replace

from shared.cache import Cache
from shared.clock import Clock
from shared.config.providers import NUMBERS
from shared.config.settings import Settings
from shared.documents.operating import Health, Trouble
from shared.errors import StoreRefused, StoreScriptError
from shared.frozen import dataclass
from shared.jobqueue import Facts, JobQueue, Records

KEPT = 5.0  # s
CACHE_KEY = ":health"  # no job has such an id
LOOK_AGAIN = 1.0  # s; a job that another call is about to start is no sign of trouble
REFUSED_FOR = 60_000  # ms; for so long a refusal counts that this process has met
WEBHOOK_REFUSED_FOR = 900  # s; each further webhook that is refused begins them anew


@dataclass(frozen=True)
class Look:
    """What one look at the store has found, and how long it took (ms)."""

    facts: Facts
    latency: float
    refuses: bool = False  # the store takes no script


class HealthCheck:
    """Answers whether the deployment works."""

    def __init__(self, records: Records, queue: JobQueue, cache: Cache, settings: Settings, clock: Clock) -> None:
        self._records = records
        self._queue = queue
        self._cache = cache
        self._settings = settings
        self._clock = clock
        self._late_after = settings.late_tick_after

    async def view(self) -> Health:
        """Returns the health of the deployment; raises StoreError if the store cannot be read."""
        look = (await self._cache.remember(CACHE_KEY, KEPT, self._look)).value
        facts, now = look.facts, self._clock.now()
        # A pause or a circuit that is over stays in the index until a job has been accepted or has succeeded. It counts
        # for as long as a tick may need to try.
        closed = {gate for gate, until in facts.gates.items() if until > now - self._late_after * 1000}
        paused = [name for name in self._settings.provider_names if f"~p{NUMBERS[name]}" in closed]
        circuits = sum(gate.startswith("~o") and "|" not in gate for gate in closed)  # not those of one user
        tick_age = _age(facts.tick_at, now)
        startable_age = _age(facts.since, now)
        refused_age = _age(facts.webhook_refused_at, now)
        bounds: dict[Trouble, bool] = {
            "jobs_not_started": startable_age is not None and startable_age > self._late_after,
            "provider_paused": bool(paused),
            "circuit_open": circuits > 0,
            # One that has had no tick yet may have a schedule of once a day.
            "tick_is_late": tick_age is not None and tick_age > self._late_after,
            "store_refuses": look.refuses or self._has_met_refusal(now),
            "submissions_unknown": facts.unknown >= self._most_unknown,
            "webhooks_refused": refused_age is not None and refused_age <= WEBHOOK_REFUSED_FOR,
        }
        degraded_by = [name for name, is_beyond in bounds.items() if is_beyond]
        return {
            "status": "degraded" if degraded_by else "ok",  # mutant: degraded
            "degraded_by": degraded_by,
            "store": {"mode": self._settings.storage_mode, "reachable": True, "latency_ms": look.latency},
            "last_tick_age_seconds": tick_age,
            "tick_is_late": tick_age is None or tick_age > self._late_after,
            "oldest_startable_age_seconds": startable_age,
            "paused_providers": paused,
            "open_circuits": circuits,
            "unknown_submissions": facts.unknown,
            "webhook_refused_age_seconds": refused_age,
        }

    def _has_met_refusal(self, now: int) -> bool:
        refused_at = self._queue.refused_at
        return refused_at is not None and now - refused_at < REFUSED_FOR

    @property
    def _most_unknown(self) -> int:
        """A quarter of the slots."""
        return max(1, self._settings.max_concurrent_tasks // 4)

    async def _look(self) -> Look:
        began = time.monotonic()
        try:
            facts = await self._records.health()
        except (StoreRefused, StoreScriptError):
            # A store that refuses scripts (full, or a read-only token) still answers a plain read.
            return Look(Facts(await self._records.last_tick_at()), _ms_since(began), refuses=True)
        latency = _ms_since(began)
        if facts.since is not None and self._clock.now() - facts.since > self._late_after * 1000:
            await self._clock.sleep(LOOK_AGAIN)
            again = await self._records.health()
            facts = again if again.job == facts.job else replace(again, job="", since=None)
        return Look(facts, latency)


def _ms_since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 1)


def _age(moment: int | None, now: int) -> int | None:
    return None if moment is None else max(0, (now - moment) // 1000)
