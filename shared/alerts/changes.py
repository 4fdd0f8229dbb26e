"""From findings to what has changed: an alert fires once, is told again when it grows or lasts, and recovers once.

    finding ──lasts long enough──▶ fired ──told──▶ stands ──no finding for CLEAR_FOR──▶ recovered ──told──▶ gone
                  │                                  │
              gone before                    more, or a reminder

A silence keeps an alert from being told; it stands all the same, and is told when the silence ends first. A recovery
is told to those who were told of the alert.
"""

from collections.abc import Collection, Iterable

from shared.alerts.catalogue import KINDS
from shared.alerts.rules import Finding
from shared.alerts.standing import Alert, Change, State, bounded, change_of

CLEAR_FOR = 600_000  # ms without a finding, after which an alert has recovered
MORE_AFTER = 3_600_000  # ms at least between two notices about one alert that stands
REMIND_AFTER = 86_400_000  # ms; then an alert that stands is told again
HOUR = 3_600_000
MAX_NOTICES = 10  # in an hour; beyond them a new critical alert is told at once, all else later, together
MAX_TOLD = 100  # subjects of an alert that are known to be told; the newest


def is_held(now: int, state: State) -> bool:
    """Whether so many notices were made in the last hour that the next one waits."""
    return sum(now - at < HOUR for at in state.sent_at) >= MAX_NOTICES  # mutant: notices an hour


def update(state: State, found: Iterable[Finding], now: int, period: float) -> None:
    """Notes what was found in the state, and forgets what was over before it was told."""
    seen = {finding.key: finding for finding in found}
    for key, finding in seen.items():
        state.alerts[key] = _noted(state.alerts.get(key), finding, now, period)
    for key, alert in list(state.alerts.items()):
        if key in seen:
            continue
        if not alert["fired_at"] or (_has_cleared(alert, now) and not alert["told_at"]):
            del state.alerts[key]
        elif not alert["clear_at"]:
            alert["clear_at"] = now


def _noted(known: Alert | None, finding: Finding, now: int, period: float) -> Alert:
    """Returns the alert with what was found now; it fires if that has lasted long enough."""
    is_same = known is not None and (bool(known["fired_at"]) or known["mark"] == finding.mark)  # mutant: mark
    begun_at = known["begun_at"] if known is not None and is_same else now
    fired_at = known["fired_at"] if known is not None else 0
    told = known["told"] if known is not None else []
    holds = max(finding.holds, KINDS[finding.name].holds * period) * 1000
    return {
        "key": finding.key,
        "name": finding.name,
        "about": finding.about,
        "severity": KINDS[finding.name].severity,
        "begun_at": begun_at,
        "fired_at": fired_at or (now if now - begun_at >= holds else 0),  # mutant: lasts
        "told_at": known["told_at"] if known is not None else 0,
        "clear_at": 0,
        "text": finding.text,
        "figures": dict(finding.figures),
        "names": bounded(finding.names, told),
        "mark": finding.mark,
        "told": told,
    }


def _has_cleared(alert: Alert, now: int) -> bool:
    return bool(alert["clear_at"]) and now - alert["clear_at"] >= CLEAR_FOR  # mutant: flapping


def due(state: State, now: int, silenced: Collection[str], *, is_urgent: bool = False) -> list[Change]:
    """Returns what is to be told now, and notes that it was. ``silenced`` are keys of alerts that are not told.

    ``is_urgent``: only new critical alerts are told; all else waits, and is told later if it is still so.
    """
    changes: list[Change] = []
    state.recovered = {key: at for key, at in state.recovered.items() if now - at < MORE_AFTER}
    for key, alert in list(state.alerts.items()):
        if is_urgent and (alert["told_at"] or alert["severity"] != "critical"):  # mutant: urgent
            continue
        if _has_cleared(alert, now):
            changes.append(change_of("recovered", alert))
            state.recovered[key] = now
            del state.alerts[key]
        elif alert["fired_at"] and key not in silenced:  # mutant: silenced
            changes += _told(alert, now, state.recovered)
    return changes


def _told(alert: Alert, now: int, recovered: Collection[str]) -> list[Change]:
    """Returns what is to be told of an alert that stands; empty if all was told, or its recovery was told just now."""
    subjects = sorted({*alert["names"], alert["mark"]} - {""})
    if not alert["told_at"]:
        if alert["key"] in recovered:  # mutant: fired again
            return []
        change = change_of("fired", alert)
    elif alert["clear_at"] or now - alert["told_at"] < MORE_AFTER:  # mutant: told again
        return []
    elif KINDS[alert["name"]].tells_more and not set(subjects) <= set(alert["told"]):
        change = change_of("more", alert)
    elif now - alert["told_at"] >= REMIND_AFTER:
        change = change_of("reminder", alert)
    else:
        return []
    earlier = [subject for subject in alert["told"] if subject not in subjects]
    alert["told_at"], alert["told"] = now, [*earlier, *subjects][-MAX_TOLD:]  # mutant: subjects told last
    return [change]
