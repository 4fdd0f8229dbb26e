"""One prediction: the create call, and the prediction object at any moment.

    created_at         starts_at                       starts_at + seconds      completed_at + 1 h
    |--- starting -----|--------- processing ----------|--- succeeded/failed ---|--- data removed
              deadline or cancel here:  |-> canceled   (a deadline before starts_at: aborted)

The state is computed from these times and never stored, so moving the clock is enough.
"""

import asyncio
import math
import secrets
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

from local.simulator import progress
from local.simulator.behaviour import Behaviour
from local.simulator.clock import iso

Event = Literal["start", "output", "logs", "completed"]
Outcome = Literal["succeeded", "failed", "canceled", "aborted"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id() -> str:
    """Returns an id like the real ones: 26 characters of lowercase base32."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(26))


class Ending(NamedTuple):
    """When a prediction ends, and how; infinitely late if nothing ends it."""

    at: float
    status: Outcome


class Delivery(NamedTuple):
    """One webhook request that was sent: its answer's status code, or the error's name."""

    event: Event
    webhook_id: str
    at: float
    status_code: int | None
    error: str | None


@dataclass(eq=False)
class Prediction:
    """Records one create call and shows it as Replicate's API does; times are unix seconds of the simulator's clock."""

    api: ClassVar[str] = "replicate"
    retention_s: ClassVar[int] = 3600
    """Replicate's data retention page: input, output, files and logs of API predictions are removed after an hour."""

    serial: int
    origin: str
    model: str
    version: str
    deployment: str | None
    prompt: str
    input: dict[str, Any]
    webhook: str | None
    events: frozenset[Event]
    behaviour: Behaviour
    fails: bool
    created_at: float
    cancel_after: float | None
    id: str = field(default_factory=new_id)
    canceled_at: float = math.inf
    deliveries: list[Delivery] = field(default_factory=list)
    is_announced: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the terminal webhook was tried, or never will be."""

    @property
    def seconds(self) -> float:
        """The running time: 0 if its webhook is to overtake its create call."""
        return 0.0 if self.behaviour.webhook == "overtake" else self.behaviour.seconds

    @property
    def starts_at(self) -> float:
        """When the model starts, unless the prediction ends before."""
        return self.created_at + (0.0 if self.behaviour.webhook == "overtake" else self.behaviour.start_delay)

    @property
    def deadline(self) -> float:
        """When `Cancel-After` ends it."""
        return math.inf if self.cancel_after is None else self.created_at + self.cancel_after

    @property
    def ending(self) -> Ending:
        """Its first ending: by its own work, by its deadline or by a cancel."""
        stalls = self.behaviour.outcome == "stall" and not self.fails
        own = Ending(math.inf if stalls else self.starts_at + self.seconds, "failed" if self.fails else "succeeded")
        expiry = Ending(self.deadline, "canceled" if self.starts_at < self.deadline else "aborted")
        return min(own, expiry, Ending(self.canceled_at, "canceled"), key=lambda ending: ending.at)

    def is_over(self, at: float) -> bool:
        """Whether it is in a terminal status at that time."""
        return at >= self.ending.at

    def is_removed(self, at: float) -> bool:
        """Whether the retention has passed at that time."""
        return at >= self.ending.at + self.retention_s

    def has_started(self, at: float) -> bool:
        """Whether the model had started by that time, and before the prediction ended."""
        return self.starts_at <= min(at, self.ending.at) and self.ending.status != "aborted"

    def status(self, at: float) -> str:
        """Returns one of the API's six statuses."""
        if self.is_over(at):
            return self.ending.status
        return "processing" if self.has_started(at) else "starting"

    def files(self) -> list[str]:
        """Returns the names of its output files; a text has none."""
        return {"mp4": ["output.mp4"], "png": ["output.png"], "list": ["out-0.png", "out-1.png"], "text": []}[
            self.behaviour.output
        ]

    def shown(self, at: float) -> dict[str, Any]:
        """Returns the API's prediction object (its HTTP reference), as GET and webhooks show it at that time."""
        ending, over, removed = self.ending, self.is_over(at), self.is_removed(at)
        succeeded = over and ending.status == "succeeded"
        shown: dict[str, Any] = {
            "id": self.id,
            "model": self.model,
            "version": self.version,
            "input": {} if removed else self.input,
            "output": self.output() if succeeded and not removed else None,
            "error": self.behaviour.error if over and ending.status == "failed" else None,
            "logs": "" if removed else self._logs(at),
            "metrics": self._metrics() if over else {},
            "created_at": iso(self.created_at),
            "started_at": iso(self.starts_at) if self.has_started(at) else None,
            "completed_at": iso(ending.at) if over else None,
            "data_removed": removed,
            "source": "api",
            "status": self.status(at),
            "urls": self._urls(),
        }
        if self.deployment:
            shown["deployment"] = self.deployment
        if self.cancel_after is not None:
            shown["deadline"] = iso(self.deadline)
        return shown

    def output(self) -> str | list[str]:
        """Returns the output of a successful prediction: the URLs of its files, or a text."""
        urls = [f"{self.origin}/files/{self.id}/{name}" for name in self.files()]
        if self.behaviour.output == "list":
            return urls
        return urls[0] if urls else f"A simulated answer to: {self.prompt}"

    def _logs(self, at: float) -> str:
        if not self.has_started(at):
            return ""
        end = min(at, self.ending.at)
        done = (end - self.starts_at) / self.seconds if self.seconds else 1.0
        finished = self.is_over(at) and self.ending.status == "succeeded"
        return progress.log(self.serial, min(done, 1.0), self.seconds, finished)

    def _metrics(self) -> dict[str, float]:
        metrics = {"total_time": round(self.ending.at - self.created_at, 6)}
        if self.has_started(self.ending.at):
            metrics["predict_time"] = round(self.ending.at - self.starts_at, 6)
        return metrics

    def _urls(self) -> dict[str, str]:
        get = f"{self.origin}/v1/predictions/{self.id}"
        return {"get": get, "cancel": f"{get}/cancel", "web": f"https://replicate.com/p/{self.id}"}
