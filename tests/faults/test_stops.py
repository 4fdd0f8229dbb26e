"""A script that stops at one of its commands, as on an engine that judges each command alone, leaves what others find.

The store refuses one command of one script; those before it are kept. Its caller gets an error and goes on as after any
lost answer. Until the traces are gone, data may contradict each other. Then every invariant holds, and until then no
job is lost, started twice or changed after its end.

In each scenario, each path of a verb, which is the sequence of its commands, is stopped at each of its writes.
"""

import pytest

from shared.jobqueue.script import VERBS
from tests.faults.engines import MemoryEngine
from tests.faults.enumeration import every_stop, report
from tests.faults.exploration import Exploration
from tests.faults.modes import MODES, RUNS
from tests.faults.outbox_scenarios import OUTBOX_SCENARIOS
from tests.faults.plan import stops_at
from tests.faults.scenario import WEBHOOK_MODES, Scenario, WebhookMode
from tests.faults.scenarios import SCENARIOS

# Verbs that write at most once in each scenario: those that read, those of the operator, and repairs. A new verb that
# writes more than once needs a scenario.
NEVER_STOPPED = {
    "progress", "explain", "stats", "batch_read", "list", "letters", "browse", "user_limits", "outbox_undelivered",
    "check", "outbox_restore", "outbox_release", "key_put", "health", "forget_runs", "erase", "reclaim",
}  # fmt: skip


@pytest.mark.parametrize(("scenario", "mode"), RUNS)
async def test_a_script_that_stops_at_any_command_is_survived(
    scenario: Scenario, mode: WebhookMode, memory: MemoryEngine
) -> None:
    exploration = Exploration(scenario, mode, memory)
    await every_stop(exploration)
    report(exploration)


async def test_every_verb_that_writes_twice_is_stopped(memory: MemoryEngine) -> None:
    stopped = set()
    for scenario in (*SCENARIOS, *OUTBOX_SCENARIOS):
        base = await Exploration(scenario, MODES.get(scenario.name, WEBHOOK_MODES)[0], memory).base()
        stopped |= {path.verb for path in base.plan.paths.values() if stops_at(1, path)}
    assert set(VERBS) - stopped == NEVER_STOPPED
