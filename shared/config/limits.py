"""How many jobs may wait and run, and when a failing model is paused."""

from pydantic import Field

from shared.config.environment import EnvironmentSettings
from shared.config.quantities import Seconds

MAX_JOBS = 200  # of a batch
MAX_WAITING = 1_000_000_000  # far more than a store holds; a script takes it as a count, see kinds.py


class LimitSettings(EnvironmentSettings):
    """Limits of the system, of each user and of the waiting jobs."""

    max_concurrent_tasks: int = Field(5, ge=1, le=1000)
    max_user_tasks: int = Field(3, ge=1, le=1000)  # that may be ready or at the provider
    # Tasks a user may have in all; default: MAX_USER_TASKS
    max_user_queued: int | None = Field(None, ge=1, le=MAX_WAITING)
    max_queue_size: int = Field(1000, ge=1, le=MAX_WAITING)
    # So many users' failures in a row stop a model's jobs for a while, and so many of one user that user's; 0: never
    circuit_failures: int = Field(5, ge=0, le=1_000_000)
    circuit_pause: Seconds = 30.0  # at first; doubled each time its probe fails, up to 16 times as long

    @property
    def user_queued(self) -> int:
        """How many tasks a user may have in all."""
        return max(self.max_user_queued or 0, self.max_user_tasks)
