"""Every I/O fails in every way, one at a time; afterwards every invariant still holds.

CI tries every fault at every I/O of every scenario. `make test` tries a sample, picked by the run's seed. Each scenario
runs under the webhook modes that matter most to it (see modes.py).

The scripts and all of shared/ are the real ones. tests/faults/ makes the processes, the provider and the faults;
tests/invariants/ says what must hold. A failure names its plan, and ``python -m tests.faults`` replays a plan and shows
each I/O.
"""

import ast
import random

import pytest

from tests.faults.engines import MemoryEngine
from tests.faults.enumeration import every_fault, faults_of, report, some_faults
from tests.faults.exploration import Exploration
from tests.faults.modes import RUNS
from tests.faults.outbox_scenarios import NOTIFIED_BATCH
from tests.faults.plan import is_store
from tests.faults.scenario import Scenario, WebhookMode
from tests.faults.scenarios import ORDINARY, TROUBLED, UNKNOWN, UNLISTED
from tests.project import ROOT

SAMPLE = 6  # of some hundred single faults in each scenario and mode
PAIRS = 1500  # of each scenario and mode
SECONDS = 25  # second faults tried after each first one


@pytest.mark.parametrize(("scenario", "mode"), RUNS)
async def test_a_sample_of_single_faults_is_survived(
    scenario: Scenario, mode: WebhookMode, memory: MemoryEngine, chance: random.Random
) -> None:
    exploration = Exploration(scenario, mode, memory)
    await some_faults(exploration, chance, SAMPLE)
    report(exploration)


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("scenario", "mode"), RUNS)
async def test_every_single_fault_is_survived(scenario: Scenario, mode: WebhookMode, memory: MemoryEngine) -> None:
    exploration = Exploration(scenario, mode, memory)
    await every_fault(exploration)
    report(exploration)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("scenario", "mode"), [(ORDINARY, "lost"), (NOTIFIED_BATCH, "duplicate")])
async def test_warm_instances_survive_every_single_fault(
    scenario: Scenario, mode: WebhookMode, memory: MemoryEngine
) -> None:
    """An instance's memory of earlier processes must not mislead it."""
    exploration = Exploration(scenario, mode, memory, is_warm=True)
    await every_fault(exploration)
    report(exploration)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("scenario", "mode"), RUNS)
async def test_pairs_of_faults_are_survived(scenario: Scenario, mode: WebhookMode, memory: MemoryEngine) -> None:
    """Tries a fixed sample: some first faults, and some second faults after each."""
    exploration = Exploration(scenario, mode, memory)
    chance = random.Random(f"{scenario.name} {mode}")
    firsts = faults_of((await exploration.base()).plan.points)
    for first in chance.sample(firsts, PAIRS // SECONDS):
        base = await exploration.base(first)
        seconds = [fault for fault in faults_of(base.plan.points) if fault.number > first.number]
        for second in chance.sample(seconds, min(SECONDS, len(seconds))):
            await exploration.disturb(base, second)
    report(exploration)


@pytest.mark.parametrize(
    ("scenario", "mode"), [(ORDINARY, "ok"), (ORDINARY, "lost"), (UNKNOWN, "ok"), (TROUBLED, "ok")]
)
async def test_an_answer_lost_once_uses_up_no_attempt(
    scenario: Scenario, mode: WebhookMode, memory: MemoryEngine
) -> None:
    """The repeat of a script returns what its first try returned, so the run goes on as without the fault."""
    exploration = Exploration(scenario, mode, memory, learns=False)
    base = await exploration.base()
    for fault in faults_of(base.plan.points):
        if fault.kind == "timeout" and is_store(base.plan.points[fault.number - 1]):
            outcome = await exploration.disturb(base, fault)
            assert outcome.is_known or outcome.attempts == base.outcome.attempts, fault
    report(exploration)


async def test_the_one_tolerated_double_creation_exists(memory: MemoryEngine) -> None:
    """The tolerated case must exist, else its bound would mean nothing."""
    exploration = Exploration(UNLISTED, "lost", memory)
    base = await exploration.base()
    assert exploration.failures == []
    assert base.outcome.doubles == 1
    assert base.outcome.ends == {"made": "completed", "next": "completed"}


def test_no_code_catches_the_end_of_a_process() -> None:
    """A crash is a BaseException; code that catches BaseException, or everything, could go on after it."""
    for path in [*(ROOT / "shared").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler):
                assert "BaseException" not in ast.unparse(node.type or ast.Name("BaseException")), path.name
            assert not (isinstance(node, ast.keyword) and node.arg == "return_exceptions"), path.name
