"""Whether this deployment works, from one look at the store that all callers share for a moment.

Anybody may ask, so an answer is kept for KEPT seconds: no flood of questions costs more than one call in that time.
"""

import time
from dataclasses import dataclass, replace

from shared.cache import Cache
from shared.clock import Clock
from shared.config.providers import NUMBERS
from shared.config.settings import Settings
from shared.documents.operating import Health, Trouble
from shared.jobqueue import Facts, Records

KEPT = 5.0  # s
CACHE_KEY = ":health"  # no job has such an id
LOOK_AGAIN = 1.0  # s; a job that another call is about to start is no sign of trouble
LATE_AFTER_PERIODS = 3  # a healthy schedule may miss a run, or begin one late


@dataclass(frozen=True)
class Look:
    """What one look at the store has found, and how long it took (ms)."""

    facts: Facts
    latency: float


class HealthCheck:
    """Answers whether the deployment works."""

    def __init__(self, records: Records, cache: Cache, settings: Settings, clock: Clock) -> None:
        self._records = records
        self._cache = cache
        self._settings = settings
        self._clock = clock
        self._late_after = LATE_AFTER_PERIODS * settings.tick_period

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
        bounds: dict[Trouble, bool] = {
            "jobs_not_started": startable_age is not None and startable_age > self._late_after,
            "provider_paused": bool(paused),
            "circuit_open": circuits > 0,
            "submissions_unknown": facts.unknown >= self._most_unknown,
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
        }

    @property
    def _most_unknown(self) -> int:
        """A quarter of the slots."""
        return max(1, self._settings.max_concurrent_tasks // 4)

    async def _look(self) -> Look:
        began = time.monotonic()
        facts = await self._records.health()
        latency = round((time.monotonic() - began) * 1000, 1)
        if facts.since is not None and self._clock.now() - facts.since > self._late_after * 1000:
            await self._clock.sleep(LOOK_AGAIN)
            again = await self._records.health()
            facts = again if again.job == facts.job else replace(again, job="", since=None)
        return Look(facts, latency)


def _age(moment: int | None, now: int) -> int | None:
    return None if moment is None else max(0, (now - moment) // 1000)
