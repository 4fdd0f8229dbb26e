"""Documents about alerts and their silences, for the operator."""

from typing import Literal, TypedDict


class AlertDocument(TypedDict):
    """An alert that stands. ``names`` are what it is about, such as models; ``figures`` are numbers by name.

    ``told_at`` is null as long as nobody was told; ``clear_since``: its cause is gone, but not for long enough yet.
    """

    key: str
    alert: str
    severity: Literal["critical", "warning"]
    title: str
    text: str
    names: list[str]
    figures: dict[str, float]
    since: str
    told_at: str | None
    clear_since: str | None
    silenced_until: str | None
    runbook: str


class SilenceDocument(TypedDict):
    """A silence: for an alert by its name or key, or for all."""

    id: str
    alert: str
    until: str
    reason: str
    created_at: str


class AlertsDocument(TypedDict):
    """``GET /api/operate/alerts``.

    ``pending`` counts by receiver the notices that are still to be sent. ``webhook_secret`` signs what goes to
    ALERT_WEBHOOK_URL; null without one. ``looked_at`` is the last look of any process.
    """

    alerts: list[AlertDocument]
    silences: list[SilenceDocument]
    receivers: list[str]
    pending: dict[str, int]
    thresholds: dict[str, float]
    looked_at: str | None
    webhook_secret: str | None
