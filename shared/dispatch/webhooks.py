"""Whether a provider's webhooks come, as far as this process has seen.

As long as they do, polls rarely ask the provider about a run. A wrong secret or a wrong URL keeps all webhooks away.
Then the first end that a question finds late makes this process ask as often as without webhooks, for a while.
"""

from shared.clock import Clock
from shared.config.settings import Settings
from shared.jobqueue import Overdue
from shared.log import log
from shared.providers.base import Prediction

MAX_DELAY = 10.0  # s after the end of a run; by then a webhook has come, if its function works
DOUBTED_FOR = 900.0  # s after the last end without a webhook; as long as an alarm counts for health


class Webhooks:
    """Remembers which providers' webhooks did not come."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._doubted_until: dict[str, int] = {}

    def are_expected(self, provider: str) -> bool:
        """Whether the end of a run at this provider is going to be reported."""
        return self._settings.webhooks_wanted and self._clock.now() >= self._doubted_until.get(provider, 0)

    def note_found(self, job: Overdue, prediction: Prediction) -> None:
        """Notes what a question has found; an end of some time ago should have come by a webhook.

        Only the provider's own moment of the end counts. After a cancellation the provider may send no webhook.
        """
        if prediction.status == "running" or prediction.ended_at is None or job.cancel_requested:
            return
        scale, now = self._settings.timing_scale * 1000, self._clock.now()
        age = now - prediction.ended_at
        if not self.are_expected(job.provider) or age < MAX_DELAY * scale:  # mutant: webhook in time
            return
        self._doubted_until[job.provider] = now + round(DOUBTED_FOR * scale)
        log.warning("webhook_missed", job=job.id, provider=job.provider, seconds=round(age / 1000))
