"""The alarm for webhooks that carry the right nonce and the wrong signature.

The nonce proves that the provider got the URL from this deployment. So the secret for its signatures may be wrong, and
then all its webhooks are refused. Jobs still end, but late: polls and ticks find their ends.

A log of a proxy may hold old URLs, with their nonces. So a webhook that verifies weighs more: while some do, others
that do not are forged, and no alarm.
"""

import time
from collections.abc import Callable

from shared.errors import StoreError
from shared.jobqueue import Controls
from shared.log import log

QUIET = 60.0  # s between two alarms of a process: a flood of webhooks costs one command a minute
TRUSTED_FOR = 900.0  # s after a webhook that verified; as long as an alarm counts for health


class WebhookAlarm:
    """Logs an error, and notes the time in the store, where each process's health looks."""

    def __init__(self, controls: Controls, clock: Callable[[], float] = time.monotonic) -> None:
        self._controls = controls
        self._clock = clock
        self._quiet_until = 0.0
        self._trusted_until: dict[str, float] = {}
        self._rung: set[str] = set()

    async def ring(self, provider: str) -> None:
        """Rings unless it has rung lately, or the provider's secret has verified a webhook lately.

        A store that does not answer costs only the note.
        """
        now = self._clock()
        if now < self._quiet_until:  # mutant: quiet alarm
            return
        if now < self._trusted_until.get(provider, 0.0):  # mutant: forged webhooks
            return
        self._quiet_until = now + QUIET
        self._rung.add(provider)
        log.error("webhook_secret_wrong", provider=provider, setting=f"{provider.upper()}_WEBHOOK_SECRET")
        try:
            await self._controls.note_refused_webhook()
        except StoreError as error:
            log.warning("webhook_alarm_failed", code=error.code, cause=error.cause)

    async def end(self, provider: str) -> None:
        """Ends the alarm, because the provider's secret has verified a webhook. Costs a command only if it has rung."""
        self._trusted_until[provider] = self._clock() + TRUSTED_FOR
        if provider not in self._rung:
            return
        try:
            await self._controls.forget_refused_webhook()
        except StoreError as error:
            log.warning("webhook_alarm_failed", code=error.code, cause=error.cause)
        else:
            self._rung.discard(provider)
