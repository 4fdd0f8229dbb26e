"""How much of a function's time is left."""

import time

from shared.config.settings import Settings
from shared.config.timing import ANSWER_MARGIN


class Budget:
    """Counts down the seconds a function may still spend, the margin for answering already taken off."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    @classmethod
    def of_function(cls, settings: Settings) -> "Budget":
        """What a request may spend before the platform ends its function."""
        return cls(settings.function_max_duration - settings.timing_scale * ANSWER_MARGIN)

    def at_most(self, seconds: float) -> "Budget":
        """The same with no more than so many seconds left."""
        return Budget(min(seconds, self.left))

    @property
    def left(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def allows_submission(self, settings: Settings) -> bool:
        """Whether a claim, a provider call with its full timeout and the record of its outcome still fit."""
        # The same sum as in timing.py, where it is checked against the budgets.
        return self.left >= 2 * settings.store_total_timeout + settings.provider_timeout
