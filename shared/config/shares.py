"""How many jobs of one API key may wait and run, so that no key takes the room of the others."""

import math

from pydantic import Field

from shared.config.access import AccessSettings
from shared.config.limits import MAX_JOBS, MAX_WAITING, LimitSettings
from shared.config.order import OrderSettings
from shared.signing.shares import key_number


class ShareSettings(AccessSettings, LimitSettings, OrderSettings):
    """Limits and weights of each API key, and limits of the waiting jobs of a user."""

    # Jobs of one API key that may wait; default: an equal part of MAX_QUEUE_SIZE
    max_key_queued: int | None = Field(None, ge=1, le=MAX_WAITING)
    # Jobs of one API key at the providers; default: all but one for each other key, at least an equal part
    max_key_tasks: int | None = Field(None, ge=1, le=1000)
    # Jobs of one user that may wait, those of batches too; default: a quarter of the key's, at least a full batch
    max_user_waiting: int | None = Field(None, ge=1, le=MAX_WAITING)

    @property
    def key_queued(self) -> int | None:
        """How many jobs of one API key may wait; None if one key may fill the queue."""
        part = self.max_queue_size // max(1, len(self.callers))
        return self._unless_all(self.max_key_queued or max(1, part))

    @property
    def key_tasks(self) -> int | None:
        """How many jobs of one API key may be at the providers; None if one key may have all slots."""
        slots, keys = self.max_concurrent_tasks, max(1, len(self.callers))
        limit = self.max_key_tasks or max(math.ceil(slots / keys), slots - (keys - 1))
        return limit if limit < slots else None

    @property
    def user_waiting(self) -> int | None:
        """How many jobs of one user may wait, whatever tasks they belong to; None if one user may fill the queue."""
        share = self.key_queued or self.max_queue_size
        return self._unless_all(self.max_user_waiting or min(share, max(self.user_queued, MAX_JOBS, share // 4)))

    def _unless_all(self, limit: int) -> int | None:
        return limit if limit < self.max_queue_size else None

    def faults(self) -> list[str]:
        numbers = {key_number(name) for name in self.callers}
        problems = []
        if len(numbers) < len(self.callers):
            problems.append("API_KEYS has two names that count as one; change one of them a little")
        return problems + self.unknown_names("KEY_WEIGHTS", self.weights_of_keys) + super().faults()
