"""What is the same in each alert of a name: its title, how grave it is, and how long it must last to count."""

from collections.abc import Mapping
from typing import Literal

from shared.config.alerts import AlertName
from shared.config.settings import Settings
from shared.frozen import dataclass

Severity = Literal["critical", "warning"]
RUNBOOK = "docs/runbook.md"
EASED = 0.7  # a standing alert ends below this part of its threshold, so that a figure next to it does not flap


@dataclass(frozen=True)
class Kind:
    """``holds`` is for how many periods of looks a finding must last before it is told.

    ``tells_more``: while it stands, a further model, owner or reason is told of.
    """

    title: str
    severity: Severity = "warning"
    holds: int = 0
    tells_more: bool = False


KINDS: Mapping[AlertName, Kind] = {
    "schedule_silent": Kind("No tick comes", "critical"),
    "jobs_not_started": Kind("Jobs could start and do not", "critical", holds=1),
    "oldest_wait": Kind("Jobs wait long"),
    "dead_letters": Kind("Jobs fail for good"),
    "provider_refuses": Kind("A provider refuses submissions", "critical", tells_more=True),
    "circuit_open": Kind("A model fails", tells_more=True),
    "webhooks_refused": Kind("A provider's webhooks have a wrong signature"),
    "submissions_unknown": Kind("Unknown submissions hold slots"),
    "copy_overdue": Kind("Files are not stored", "critical"),
    "hooks_failing": Kind("Hooks are not delivered", tells_more=True),
    "slots_healed": Kind("Lost jobs were put back"),
    "store_slow": Kind("The store is slow", holds=2),
    "failure_rate": Kind("A model fails often", tells_more=True),
    "commands_near_end": Kind("The month's commands are nearly used up", "critical"),
}


def title_of(name: str) -> str:
    """Returns the alert's title; its name, if only another release knows it."""
    kind = {**KINDS}.get(name)  # type: ignore[call-overload]
    return kind.title if kind else name


def runbook_of(name: str, settings: Settings) -> str:
    """Returns where the alert's section is: under ALERT_RUNBOOK_URL, else in this project."""
    return f"{settings.alert_runbook_url or RUNBOOK}#{name.replace('_', '-')}"
