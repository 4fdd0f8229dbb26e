"""Faults while files are stored: no file is lost, and none is left behind."""

import random
from functools import partial

import pytest

from shared.storage import layout
from tests.faults.engines import MemoryEngine
from tests.faults.enumeration import every_fault, faults_of, report, some_faults
from tests.faults.exploration import Exploration
from tests.faults.outbox_scenarios import FILED, LASTING, TWO_FILES
from tests.faults.scenario import Scenario


async def test_copies_under_one_key_are_noticed(memory: MemoryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """If turns shared keys, a late turn would remove or overwrite another turn's file."""
    of_one_turn = partial(layout.result_key, turn=1)
    monkeypatch.setattr(
        "shared.storage.layout.result_key", lambda folder, n, extension, _turn=1: of_one_turn(folder, n, extension)
    )
    exploration = Exploration(FILED, "ok", memory)
    await every_fault(exploration, max_failures=1)
    assert exploration.failures


@pytest.mark.parametrize("count", [4, pytest.param(60, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("scenario", LASTING, ids=lambda scenario: scenario.name)
async def test_a_source_or_endpoint_that_never_answers_is_given_up_in_time(
    scenario: Scenario, count: int, memory: MemoryEngine, chance: random.Random
) -> None:
    """After the whole ladder, or the deadline of copies. Tries a sample of faults, since each run is days long."""
    exploration = Exploration(scenario, "ok", memory)
    await some_faults(exploration, chance, count)
    report(exploration)


async def test_a_note_of_files_that_is_answered_late_costs_no_file(memory: MemoryEngine) -> None:
    """Some files are stored and noted, the answer is lost, and the note is repeated during another process's turn."""
    exploration = Exploration(TWO_FILES, "ok", memory)
    points = (await exploration.base()).plan.points
    for first in faults_of(points):
        if first.kind == "timeout" and points[first.number - 1].rpartition(" ")[2].startswith(("files:", "bucket:")):
            base = await exploration.base(first)
            for second in faults_of(base.plan.points):
                is_note = base.plan.points[second.number - 1].endswith("store:outbox_keep")
                if is_note and second.kind == "stale_repeat" and second.number > first.number:
                    await exploration.disturb(base, second)
    report(exploration)


@pytest.mark.exhaustive
async def test_no_file_is_left_behind(memory: MemoryEngine) -> None:
    """The turn that stores a job's files last removes those of killed turns."""
    exploration = Exploration(FILED, "ok", memory)
    base = await exploration.base()
    assert base.outcome.left == 0
    left = [(await exploration.disturb(base, fault)).left for fault in faults_of(base.plan.points)]
    assert len(left) > 50 and max(left) == 0
    report(exploration)
