"""What pollers saw: one record for each poll, which processes hand on as lines of JSON.

Times are in s of the machine's monotonic clock, which all its processes share.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

TERMINAL = ("completed", "failed", "canceled")


@dataclass(frozen=True)
class Sighting:
    """One poll of a job and its answer. ``code`` is the HTTP status, 0 if the answer was lost.

    What follows ``pause`` is of the document that the poller has then: the answer's, or after a 304 the one before.
    ``fault``: what the poller itself found wrong with the answer.
    """

    poller: str
    job: str
    sent: float
    answered: float
    code: int
    pause: float = 0.0  # s that Retry-After asked for; 0 if the answer does not say
    status: str = ""
    is_running: bool = False  # at the provider, as its stage says
    failures: int = 0  # of the job's attempts, as its document lists them
    output: Any = None
    fault: str = ""

    @property
    def is_answered(self) -> bool:
        """Whether the answer shows a job."""
        return self.code in (200, 304)

    @property
    def is_end(self) -> bool:
        """Whether the answer shows the job's end."""
        return self.is_answered and self.status in TERMINAL

    @property
    def progress(self) -> tuple[bool, int, bool]:
        """What only grows: whether the job is over, how many attempts have failed, and whether the next one runs."""
        return (True, 0, False) if self.is_end else (False, self.failures, self.is_running)


def seen_in(document: dict[str, Any]) -> dict[str, Any]:
    """Returns what a sighting keeps of a job's document; nothing of an empty one."""
    if not document:
        return {}
    return {
        "status": document["status"],
        "is_running": document["stage"] == "running",
        "failures": len(document["failed_attempts"]),
        "output": document["output"],
    }


def written(sighting: Sighting) -> str:
    """Returns a sighting as one line."""
    return json.dumps(asdict(sighting))


def read(lines: Iterable[str]) -> Iterator[Sighting]:
    """Yields the sightings of the lines."""
    return (Sighting(**json.loads(line)) for line in lines if line.strip())
