"""How long innocent jobs wait: from a submit to the first prediction that the provider makes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tests.soak.client import Observed
from tests.soak.evidence import Evidence


@dataclass(frozen=True)
class Waits:
    """Waits in s, shortest first."""

    sorted: tuple[float, ...]

    def at(self, share: float) -> float:
        """Returns the wait that this share of the jobs does not exceed; 0 without jobs."""
        return self.sorted[min(len(self.sorted) - 1, int(share * len(self.sorted)))] if self.sorted else 0.0

    @property
    def row(self) -> tuple[float, float, float]:
        """The median, the 95th percentile and the longest."""
        return self.at(0.5), self.at(0.95), self.at(1.0)


def waits_of(observed: Sequence[Observed], evidence: Evidence) -> Waits:
    """Returns the waits of innocent jobs.

    The time in which a user's own limit refuses the job is not counted. Jobs whose own create is made to fail are left
    out, and so are those that were cancelled before they started.
    """
    made: dict[str, float] = {}
    for (job_id, _), predictions in evidence.by_attempt().items():
        for each in predictions:
            moment = datetime.fromisoformat(each["created_at"]).timestamp()
            made[job_id] = min(moment, made.get(job_id, moment))
    found = [
        max(0.0, made[each.work.job_id] - each.asked_at)
        for each in observed
        if each.asked_at is not None and each.work.job_id in made and _is_plain(each)
    ]
    return Waits(tuple(sorted(found)))


def _is_plain(observed: Observed) -> bool:
    return not observed.work.is_guilty and "create" not in observed.work.mode.simulate
