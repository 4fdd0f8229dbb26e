"""A prediction in WaveSpeed's words: a task.

The fields follow WaveSpeed's pages on submitting, results and webhooks, the error code its page on error codes. The
answer about a failed task has status 200 like any other.
"""

import secrets
from dataclasses import dataclass, field
from typing import Any, ClassVar

from local.simulator.clock import iso
from local.simulator.prediction import Prediction

STATUSES = {
    "starting": "created",
    "processing": "processing",
    "succeeded": "completed",
    "failed": "failed",
    "canceled": "cancelled",
    "aborted": "cancelled",
}
TASK_FAILED = 1405
"""The code of a failure without a specific one."""


@dataclass(eq=False)
class Task(Prediction):
    """Records one create call at WaveSpeed."""

    api: ClassVar[str] = "wavespeed"
    retention_s: ClassVar[int] = 7 * 24 * 3600
    """WaveSpeed's page on predictions; here only the outputs are removed then."""

    id: str = field(default_factory=lambda: secrets.token_hex(16))

    def shown(self, at: float) -> dict[str, Any]:
        """Returns the task object, as creates, results and webhooks show it at that time."""
        over = self.is_over(at)
        failed = over and self.ending.status == "failed"
        outputs = self._outputs() if over and self.ending.status == "succeeded" and not self.is_removed(at) else []
        spent_ms = round((self.ending.at - self.starts_at) * 1000) if over else 0
        return {
            "id": self.id,
            "model": self.model,
            "input": self.input,
            "outputs": outputs,
            "urls": {"get": f"{self.origin}/api/v3/predictions/{self.id}/result"},
            "has_nsfw_contents": [False] * len(outputs),
            "status": STATUSES[self.status(at)],
            "created_at": iso(self.created_at),
            "code": TASK_FAILED if failed else 0,
            "error": self.behaviour.error if failed else "",
            "executionTime": spent_ms,
            "timings": {"inference": spent_ms},
        }

    def _outputs(self) -> list[str]:
        output = self.output()
        return output if isinstance(output, list) else [output]
