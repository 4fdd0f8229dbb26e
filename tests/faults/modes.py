"""The webhook modes under which each scenario runs."""

import pytest

from tests.faults.outbox_scenarios import (
    CROWD,
    DELETED,
    ERASED,
    FILED,
    FLAKY,
    LATE_FILE,
    NOTIFIED,
    NOTIFIED_BATCH,
    OUTBOX_SCENARIOS,
    REDELIVERED,
    REVOKED,
    SOURCE_DOWN,
    SOURCE_GONE,
    STORAGE_DOWN,
    TWO_FILES,
    UNDELIVERED,
)
from tests.faults.pushback_scenarios import CIRCUIT, OWN_CIRCUIT, PAUSED, REFUSED, REOPENED
from tests.faults.scenario import WEBHOOK_MODES, WebhookMode
from tests.faults.scenarios import (
    ALL_OR_NOTHING,
    BACKLOG,
    BATCH,
    BATCH_CANCELED,
    CONTROLLED,
    EXPIRING,
    HEIRS,
    HELD,
    LAGGING,
    LEAVING,
    LIMITED,
    PARTIAL,
    RACES,
    REDRIVEN,
    RESUBMITTED,
    RETRY_UNKNOWN,
    SCENARIOS,
    TROUBLED,
    TWINS,
    UNKNOWN,
    UNLISTED,
    YIELDED,
)

# Each scenario runs under the modes that matter most to it, since all modes would take too long: the first ones under
# all or most, the later ones under one or two.
MODES: dict[str, tuple[WebhookMode, ...]] = {
    UNKNOWN.name: ("ok", "lost", "belated", "overtaking"),
    RETRY_UNKNOWN.name: ("ok", "lost", "belated", "overtaking"),
    TROUBLED.name: ("ok", "lost", "duplicate"),
    TWINS.name: ("ok", "lost", "overtaking"),
    UNLISTED.name: ("ok", "lost", "belated"),
    BACKLOG.name: ("ok", "late"),
    LIMITED.name: ("ok", "lost"),
    HEIRS.name: ("ok", "duplicate"),
    HELD.name: ("ok", "lost"),
    RACES.name: ("ok", "overtaking"),
    PAUSED.name: ("ok", "overtaking"),
    REFUSED.name: ("ok", "overtaking"),
    CIRCUIT.name: ("ok",),
    OWN_CIRCUIT.name: ("ok",),
    REOPENED.name: ("lost",),
    EXPIRING.name: ("ok", "lost"),
    CONTROLLED.name: ("ok",),
    YIELDED.name: ("ok",),
    BATCH.name: ("ok", "overtaking"),
    ALL_OR_NOTHING.name: ("ok", "lost"),
    BATCH_CANCELED.name: ("ok", "duplicate"),
    REDRIVEN.name: ("ok", "lost"),
    LAGGING.name: ("ok", "lost", "belated"),
    PARTIAL.name: ("ok", "lost"),
    LEAVING.name: ("ok",),
    RESUBMITTED.name: ("ok", "belated"),
    FILED.name: ("ok", "lost", "overtaking"),
    TWO_FILES.name: ("ok",),
    NOTIFIED.name: ("ok", "overtaking"),
    NOTIFIED_BATCH.name: ("ok", "lost"),
    REDELIVERED.name: ("ok",),
    CROWD.name: ("lost",),
    REVOKED.name: ("ok",),
    FLAKY.name: ("ok",),
    UNDELIVERED.name: ("ok",),
    SOURCE_DOWN.name: ("ok",),
    LATE_FILE.name: ("ok",),
    SOURCE_GONE.name: ("ok",),
    STORAGE_DOWN.name: ("ok",),
    DELETED.name: ("ok",),
    ERASED.name: ("lost",),
}
RUNS = [
    pytest.param(scenario, mode, id=f"{scenario.name}-webhooks_{mode}")
    for scenario in (*SCENARIOS, *OUTBOX_SCENARIOS)
    for mode in MODES.get(scenario.name, WEBHOOK_MODES)
]
