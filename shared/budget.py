"""How much of a function's time is left."""

import time

from shared.config.settings import Settings
from shared.config.timing import ANSWER_MARGIN


class Budget:
    """Counts down the seconds that a function may still spend; they exclude the margin for its answer."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    @classmethod
    def of_function(cls, settings: Settings) -> "Budget":
        """Returns the time that a request may spend before the platform ends its function."""
        return cls(settings.function_max_duration - settings.timing_scale * ANSWER_MARGIN)

    def at_most(self, seconds: float) -> "Budget":
        """Returns a budget with the same time left, or ``seconds`` if that is less."""
        return Budget(min(seconds, self.left))

    @property
    def left(self) -> float:
        """The seconds left, never below 0."""
        return max(0.0, self._until - time.monotonic())

    def allows_submission(self, settings: Settings) -> bool:
        """Whether a claim, a provider call with its full timeout and the record of its outcome still fit."""
        # timing.py checks the same sum against the budgets.
        return self.left >= 2 * settings.store_total_timeout + settings.provider_timeout
