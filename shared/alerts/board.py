"""What the operator sees of alerts, and the silences that the operator makes and lifts."""

import secrets
from collections import Counter

from shared.alerts.alert_store import AlertStore
from shared.alerts.catalogue import KINDS, runbook_of
from shared.alerts.errors import SilenceNotFound, TooManySilences
from shared.alerts.order import SilenceOrder
from shared.alerts.receivers import webhook_secret
from shared.alerts.silences import MAX_SILENCES, Silence, read_silences, silenced, write_silences
from shared.alerts.standing import Alert, State
from shared.clock import Clock, iso
from shared.config.settings import Settings
from shared.documents.alerts import AlertDocument, AlertsDocument, SilenceDocument
from shared.errors import StoreUncertain

MAX_TRIES = 5  # while other changes come at the same time


class Board:
    """Shows what stands, and keeps silences."""

    def __init__(self, store: AlertStore, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    async def view(self) -> AlertsDocument:
        """Returns the alerts that stand, and the silences; one command."""
        text, kept, looked_at = await self._store.read()
        state, now = State.read(text), self._clock.now()
        silences = read_silences(kept, now)
        quiet = silenced(state.fired, silences)
        s = self._settings
        urls = {"slack": s.slack_webhook_url, "discord": s.discord_webhook_url, "webhook": s.alert_webhook_url}
        others = {**dict.fromkeys((box.identity for box in s.alert_mailboxes), True), "log": s.alert_log}
        return {
            "alerts": [self._shown(alert, quiet.get(alert["key"])) for alert in state.fired],
            "silences": [_shown(silence) for silence in silences],
            "receivers": [name for name, value in {**urls, **others}.items() if value],
            "pending": dict(Counter(name for notice in state.notices for name in notice["left"])),
            "thresholds": {name: value for name, value in s.thresholds.items()},  # noqa: C416
            "looked_at": iso(looked_at),
            "webhook_secret": webhook_secret(s) if s.alert_webhook_url else None,
        }

    def _shown(self, alert: Alert, silenced_until: int | None) -> AlertDocument:
        return {
            "key": alert["key"],
            "alert": alert["name"],
            "severity": alert["severity"],
            "title": KINDS[alert["name"]].title,
            "text": alert["text"],
            "names": alert["names"],
            "figures": alert["figures"],
            "since": iso(alert["begun_at"]),
            "told_at": iso(alert["told_at"] or None),
            "clear_since": iso(alert["clear_at"] or None),
            "silenced_until": iso(silenced_until),
            "runbook": runbook_of(alert["name"], self._settings),
        }

    async def silence(self, order: SilenceOrder) -> SilenceDocument:
        """Keeps an alert from being told for a while. Raises TooManySilences, or StoreUncertain while others write."""
        now = self._clock.now()
        made: Silence = {
            "id": f"sil_{secrets.token_hex(8)}",
            "alert": order.alert,
            "until": now + order.minutes * 60_000,
            "reason": order.reason,
            "created_at": now,
        }
        for _ in range(MAX_TRIES):
            _, kept, _ = await self._store.read()
            silences = read_silences(kept, now)
            if len(silences) >= MAX_SILENCES:  # mutant: silences
                raise TooManySilences
            if await self._store.put("silences", kept, write_silences([*silences, made])):
                return _shown(made)
        raise StoreUncertain

    async def lift(self, silence_id: str) -> None:
        """Ends a silence. Raises SilenceNotFound, or StoreUncertain while others write."""
        for _ in range(MAX_TRIES):
            _, kept, _ = await self._store.read()
            silences = read_silences(kept, self._clock.now())
            left = [silence for silence in silences if silence["id"] != silence_id]
            if len(left) == len(silences):
                raise SilenceNotFound
            if await self._store.put("silences", kept, write_silences(left)):
                return
        raise StoreUncertain


def _shown(silence: Silence) -> SilenceDocument:
    return {
        "id": silence["id"],
        "alert": silence["alert"],
        "until": iso(silence["until"]),
        "reason": silence["reason"],
        "created_at": iso(silence["created_at"]),
    }
