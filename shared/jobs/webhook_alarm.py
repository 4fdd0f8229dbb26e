"""The alarm for webhooks that carry the right nonce and the wrong signature.

The nonce proves that the provider got the URL from this deployment. So the secret for its signatures is wrong, and all
its webhooks are refused. Jobs still end, but late: polls and ticks find their ends.
"""

import time
from collections.abc import Callable

from shared.errors import StoreError
from shared.jobqueue import Controls
from shared.log import log

QUIET = 60.0  # s between two alarms of a process: a flood of webhooks costs one command a minute


class WebhookAlarm:
    """Logs an error, and notes the time in the store, where each process's health looks."""

    def __init__(self, controls: Controls, clock: Callable[[], float] = time.monotonic) -> None:
        self._controls = controls
        self._clock = clock
        self._quiet_until = 0.0

    async def ring(self, provider: str) -> None:
        """Rings unless it has rung lately; a store that does not answer costs only the note."""
        if self._clock() < self._quiet_until:  # mutant: quiet alarm
            return
        self._quiet_until = self._clock() + QUIET
        log.error("webhook_secret_wrong", provider=provider, setting=f"{provider.upper()}_WEBHOOK_SECRET")
        try:
            await self._controls.note_refused_webhook()
        except StoreError as error:
            log.warning("webhook_alarm_failed", code=error.code)
