"""Whether a provider's webhooks come, as far as this process has seen.

As long as they do, polls rarely ask the provider about a run. A wrong secret or a wrong URL keeps all webhooks away.
Then the first end that a question finds late makes this process ask as often as without webhooks, for a while.
"""

from shared.clock import Clock
from shared.config.settings import Settings
from shared.log import log

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

    def note_found(self, provider: str, ended_at: float) -> None:
        """Notes that a question, and no webhook, has brought the end of a run. ``ended_at`` (ms) is the provider's."""
        scale, now = self._settings.timing_scale * 1000, self._clock.now()
        if not self.are_expected(provider) or now < ended_at + MAX_DELAY * scale:
            return
        self._doubted_until[provider] = now + round(DOUBTED_FOR * scale)
        log.warning("webhook_missed", provider=provider, seconds=round((now - ended_at) / 1000))
